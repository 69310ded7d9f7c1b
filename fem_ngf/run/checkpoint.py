"""Checkpoints: data from outside that contain no code, and whose every entry is checked before it is used."""

from __future__ import annotations

import io
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch

from ..errors import InputError
from ..output.files import replacing
from .history import COLUMNS

CHECKPOINT = "checkpoint.pt"
FORMAT = 1
SHARE = 0.05  # of the wall time that checkpoints may take


class Saver:
    """Writes checkpoints: the first at once, then as often as they take only a small share of the time."""

    def __init__(self, folder: Path, content: Callable[[], dict]):
        self._folder, self._content = folder, content
        self._last, self._cost = float("-inf"), 0.0

    def save_if_cheap(self) -> None:
        if time.perf_counter() - self._last >= min(self._cost / SHARE, 1.0):
            self.save()

    def save(self) -> None:
        start = time.perf_counter()
        save_checkpoint(self._folder, self._content())
        self._last = time.perf_counter()
        self._cost = self._last - start


def save_checkpoint(folder: Path, content: dict) -> None:
    """Write a checkpoint, whole or not at all.

    Parameters
    ----------
    folder
        The run directory.
    content
        Nested dicts, lists and tuples of numbers, strings, None, numpy arrays and tensors.
    """
    stream = io.BytesIO()  # torch does not say why it cannot write a file
    torch.save({"format": FORMAT, **_encoded(content)}, stream)
    with replacing(folder / CHECKPOINT) as temporary:
        temporary.write_bytes(stream.getbuffer())


def load_checkpoint(folder: str | Path) -> dict:
    """Read the checkpoint of a run directory.

    Raises
    ------
    InputError
        If there is none, or it cannot be read.
    """
    path = Path(folder) / CHECKPOINT
    if not path.is_file():
        raise InputError(f"{folder} holds no {CHECKPOINT}; give the directory of an earlier run")
    try:
        content = torch.load(path, weights_only=True, map_location="cpu")
        found = content.pop("format", None)
        content = _decoded(content)
    except Exception:  # the unpickler fails in any way on bytes that are no pickle
        raise InputError(f"{path} is no readable checkpoint; it is damaged or of another program") from None
    if type(found) is not int or found != FORMAT:
        raise InputError(f"{path} has format {found}; this version reads format {FORMAT}")
    return content


def _encoded(value):
    """The same content without numpy: arrays become marked tensors, numpy's numbers Python's."""
    if isinstance(value, np.ndarray):
        return {"numpy": torch.from_numpy(np.array(value))}
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, dict):
        return {key: _encoded(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_encoded(part) for part in value)
    return value


def _decoded(value):
    if isinstance(value, dict):
        if value.keys() == {"numpy"}:
            return value["numpy"].numpy()
        return {key: _decoded(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_decoded(part) for part in value)
    return value


# ---- what a run's checkpoint holds ----------------------------------------------------------------------------------

Check = Callable[[object, str], None]  # a value and its place in the checkpoint; InputError if it cannot be used


def _of_kind(words: str, *kinds: type) -> Check:
    def check(value, place: str) -> None:
        if not isinstance(value, kinds) or isinstance(value, bool) and bool not in kinds:
            raise InputError(f"{place} is {repr(value)[:40]}; it must be {words}")

    return check


INTEGER, NUMBER, TEXT = _of_kind("an integer", int), _of_kind("a number", int, float), _of_kind("text", str)
TABLE, LIST = _of_kind("a table", dict), _of_kind("a list", list, tuple)
SETTING = _of_kind("a number, text or a list of them", int, float, str, bool, list, type(None))
VECTOR = _of_kind("an array", np.ndarray)
STATE = _of_kind("an array", np.ndarray, type(None))


def _list_of(part: Check, least: int = 0) -> Check:
    def check(value, place: str) -> None:
        LIST(value, place)
        if len(value) < least:
            raise InputError(f"{place} has {len(value)} entries; it must have {least} at least")
        for number, each in enumerate(value):
            part(each, f"{place}[{number}]")

    return check


def _table_of(part: Check) -> Check:
    def check(value, place: str) -> None:
        TABLE(value, place)
        for name, each in value.items():
            part(each, f"{place}.{name}")

    return check


def _record_of(**parts: Check) -> Check:
    def check(value, place: str) -> None:
        TABLE(value, place)
        _has_entries(value, place, tuple(parts))
        for name, each in value.items():
            if name not in parts:
                raise InputError(f"{place} has an entry {name!r}, which this version does not know")
            parts[name](each, f"{place}.{name}")

    return check


def _has_entries(value: dict, place: str, needed: Sequence[str]) -> None:
    if missing := [name for name in needed if name not in value]:
        raise InputError(f"{place} has no entry {missing[0]!r}")


def _row(value, place: str) -> None:
    """A row of the history: text where a column is text, elsewhere a number, or empty where there is none."""
    TABLE(value, place)
    _has_entries(value, place, COLUMNS)
    for name, each in value.items():
        if name in ("mesh", "event"):
            TEXT(each, f"{place}.{name}")
        elif not (isinstance(each, str) and each == ""):
            (INTEGER if name in ("step", "level", "parameters") else NUMBER)(each, f"{place}.{name}")


def _dated_files(value, place: str) -> None:
    LIST(value, place)
    if len(value) != 2:
        raise InputError(f"{place} has {len(value)} entries; it must be a time and a list of files")
    NUMBER(value[0], f"{place}[0]")
    _list_of(TEXT)(value[1], f"{place}[1]")


def _finite(value, place: str) -> None:
    NUMBER(value, place)
    if not math.isfinite(value):
        raise InputError(f"{place} is {value}; it must be finite")


def _if_any(part: Check) -> Check:
    """Of a table that may be empty."""
    return lambda value, place: TABLE(value, place) if value == {} else part(value, place)


def _curve(value, place: str) -> None:
    _table_of(_list_of(NUMBER))(value, place)
    _has_entries(value, place, ("weight",))
    _list_of(_finite)(value["weight"], f"{place}.weight")
    if len(value) < 2 or len({len(each) for each in value.values()}) > 1:
        raise InputError(f"{place} must hold two lists of one length at least")


COUNTS = _table_of(INTEGER)
CHOICE = _record_of(
    rule=TEXT, value=_finite, found=_of_kind("true or false", bool), reason=TEXT, pde_solves=INTEGER,
    cpu_seconds=_finite, curve=_curve,
    runs=_list_of(_record_of(weight=_finite, misfit=_finite, roughness=_finite, pde_solves=INTEGER), least=1))
CONTROL = _record_of(energy=_finite, pde_solves=INTEGER, pde_work=_finite, cpu_seconds=_finite, relative_gap=NUMBER)

RUN = _record_of(
    origin=_record_of(path=TEXT, folder=TEXT, flags=_list_of(TEXT), arguments=_table_of(SETTING),
                      setup_cpu_seconds=_finite, weight_choice=_if_any(CHOICE), defaults=_table_of(SETTING)),
    stage=_record_of(
        level=INTEGER, solves=_list_of(COUNTS), change=NUMBER,
        iterate=_record_of(step=INTEGER, theta=VECTOR, start_value=NUMBER, start_gradient=NUMBER, alignment=NUMBER,
                           fit=NUMBER, step_size=NUMBER, solves=COUNTS, idle=INTEGER, events=_list_of(TEXT),
                           stop_reason=TEXT, expected=NUMBER, memory=TABLE, ansatz=TABLE, warm_start=STATE)),
    rows=_list_of(_row), series=_list_of(_dated_files), cpu=_finite, wall=_finite,
    evolutions=_record_of(forward=INTEGER, adjoint=INTEGER, incremental=INTEGER), control=_if_any(CONTROL))


def load_run(folder: str | Path) -> dict:
    """The checkpoint of a run, every entry of the kind that it should be.

    Raises
    ------
    InputError
        If there is none, or an entry is missing or wrong.
    """
    content = load_checkpoint(folder)
    try:
        RUN(content, "it")
    except InputError as error:
        raise InputError(f"the checkpoint of {folder} is damaged or was edited: {error}") from None
    return content


def check_memory(memory: dict, like: dict) -> None:
    """InputError unless a flow's memory has the entries, and numbers in their places, that the flow knows."""
    _has_entries(memory, "memory", tuple(like))
    for name, value in memory.items():
        if name not in like:
            raise InputError(f"memory has an entry {name!r}, which this flow does not know")
        if isinstance(like[name], int | float) and not isinstance(value, int | float):
            raise InputError(f"memory.{name} is {repr(value)[:40]}; it must be a number")
