"""Hostile command lines: wrong flags, damaged files, edited checkpoints, broken cases, occupied directories."""

from __future__ import annotations

import io
import random
import shutil
import string
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch

CASE = Path(__file__).parents[1] / "small_case.py"
MESH = Path(__file__).parents[2] / "meshes" / "perforated_plate.msh"
QUICK = ["--cells", "4", "--levels", "1", "--iterations", "1", "--quiet", "--bare"]
REFUSED, TOLD = (2,), (0, 1, 2)


@dataclass(frozen=True)
class Attack:
    """A command line.

    Parameters
    ----------
    name
        Kind and number.
    words
        Folder -> words; it may write files into the folder first.
    codes
        Exit codes that are right: `REFUSED` for what cannot be used; `TOLD` for what may happen to be usable.
    """

    name: str
    words: Callable[[Path], list[str]]
    codes: tuple[int, ...] = REFUSED


def attacks(seed: int = 0, finished: Path | None = None) -> Iterator[Attack]:
    """All of them, the same at every call; `finished` is a run directory whose copies are damaged."""
    for make in (flags, combinations, tables, arrays, meshes, cases, directories):
        yield from make(random.Random(f"{make.__name__} {seed}"))
    if finished is not None:
        yield from checkpoints(random.Random(f"checkpoints {seed}"), finished)


def run(*words: str) -> list[str]:
    return ["run", str(CASE), *QUICK, *words]


def running(*words: str) -> Callable[[Path], list[str]]:
    """The small case with these flags."""
    return lambda folder: run(*words)


def given(flag: str, name: str, content: bytes) -> Callable[[Path], list[str]]:
    """The small case with a flag that names a file."""
    return lambda folder: run(flag, written(folder / name, content))


# ---- flags ----------------------------------------------------------------------------------------------------------

NOT_NUMBERS = ["", "x", "1,5", "1e", "--", "None ", "1 2", "0x10", "[1]", "é", "1/2", "nan", "-nan"]
NOT_INTEGERS = [*NOT_NUMBERS, "1.5", "1e3", "inf", "-inf", "true"]
NOT_POSITIVE = [*NOT_NUMBERS, "0", "-1", "-1e-3", "inf", "-inf", "1e999", "-1e308"]
INTEGERS = {"cells": ["-3", "0", "1", "100000000", "9" * 40], "levels": ["0", "-1", "3", "9" * 30],
            "iterations": ["0", "-2"], "seed": ["-1"], "threads": ["0", "-1", "99999999"], "start-width": ["0", "-4"],
            "max-parameters": ["0", "-1"], "sensors": ["-2"]}
POSITIVE = ["gamma", "length", "tolerance", "stagnation", "weight", "noise"]
WORDS = {"ansatz": [], "flow": [], "direction": [], "method": [], "sampling": [], "growth": [], "trigger": [],
         "metric": ["h3", "h-9", "hh", "h1.", "H1", "l3", "h1 "], "device": ["gpu", "cuda:x", "cpu:", "CPU", "cuda:99"],
         "side": ["", "up", "left ", "LEFT", "0"]}
WRONG_WORDS = ["", "luck", "none", "Nothing", "0", "-1", "neural,", "a b", "é", "h1h1"]


def flags(random) -> Iterator[Attack]:
    """Each flag with each value that it cannot have."""
    wrong = {name: [*NOT_INTEGERS, *values] for name, values in INTEGERS.items()}
    wrong |= dict.fromkeys(POSITIVE, NOT_POSITIVE)
    wrong |= {name: [*NOT_POSITIVE, "1", "5", "1e300"] for name in ("tolerance", "stagnation")}
    wrong |= {name: [*WRONG_WORDS, *values] for name, values in WORDS.items()}
    for name, values in wrong.items():
        for value in values:
            yield Attack(f"flag {name}={value!r}", running(f"--{name}={value}"))
    for name in [*wrong, "out", "data", "mesh"]:
        yield Attack(f"flag {name} alone", running(f"--{name}"))
        yield Attack(f"flag {name} twice", running(f"--{name}", "1", "2"))
        letters = list(name)
        letters.insert(random.randrange(len(letters) + 1), random.choice(string.ascii_lowercase))
        yield Attack(f"flag {''.join(letters)}", running(f"--{''.join(letters)}", "1"))


def combinations(random) -> Iterator[Attack]:
    """Options that do not go together, and words in any order."""
    together = [["--flow=adam", "--method=euler"], ["--flow=lbfgs", "--grow"], ["--no-grow", "--growth=random"],
                ["--trigger=fit"], ["--ansatz=finite-element", "--grow"], ["--flow=newton", "--method=euler"],
                ["--grow", "--width=5"], ["--grow=yes"], ["--quiet=1"], ["--no-cells"]]
    for number, words in enumerate(together):
        yield Attack(f"combination {number}", running(*words))
    commands = ["run", "resume", "verify", "compare", "report", "identify", "", "--version", "-x", "Run"]
    pool = [*commands, str(CASE), "nowhere.py", "--cells", "--help-me", "--budget", "--trust", "-1", "--", "=", "é\0"]
    for number in range(120):
        words = [random.choice(pool) for _ in range(random.randrange(1, 4))]
        if len(words) == 2 and words[0] in ("run", "verify", "compare") and words[1] == str(CASE):
            words.append("--cells")
        yield Attack(f"words {number} {words}", partial(lambda folder, words: list(words), words=words))


# ---- data files -----------------------------------------------------------------------------------------------------

GOOD, VALUES = np.array([[0.3, 0.4], [0.6, 0.5], [0.2, 0.7]]), np.array([0.1, 0.2, 0.3])
WRONG_ARRAYS: dict[str, list] = {
    "points": [GOOD.T, GOOD[:2], GOOD[:, :1], GOOD + 5, GOOD * np.nan, GOOD * 1e308, GOOD.astype(complex), GOOD > 0.4,
               GOOD.astype(str), GOOD.astype(object), GOOD[:0], np.zeros((3, 2)), np.zeros(()), GOOD[None], "text",
               np.zeros((3, 4)), None, {}],
    "values": [VALUES[:2], VALUES[:, None, None], VALUES * np.inf, VALUES.astype(complex), VALUES.astype(str), "text",
               VALUES.astype(object), VALUES[:0], np.zeros(()), VALUES > 0.1, np.array([None, 1, 2]), {},
               np.array([np.nan, 0, 0])],
    "std": [0.0, -1.0, np.nan, np.inf, np.zeros(3), -VALUES, VALUES[:2], VALUES.astype(complex), "x", VALUES > 0.2, {},
            VALUES.astype(str), np.zeros((3, 0))],
}


def tables(random) -> Iterator[Attack]:
    """``.csv`` files."""
    lines = ["x,y,value", "0.3,0.4,0.1", "0.6,0.5,0.2", "0.2,0.7,0.3"]
    broken = ["0.3,0.4", "0.3,0.4,nan", "0.3,0.4,inf", "0.3,0.4,1e999", "0.3,,0.1", "a,b,c", "0.3;0.4;0.1", "é,1,1",
              "0.3,0.4,0.1,0.2,0.3", "7,7,0.1", "-1,0.5,0.1", "nan,0.1,0.1", "0.3,0.4,1j", '"', "x", ""]
    for number in range(60):
        text, place, new = list(lines), random.randrange(4), random.choice(broken)
        text[place] = new
        codes = TOLD if place == 0 or new in ("x", "") else REFUSED
        content = "\n".join(text).encode()
        yield Attack(f"table {number}: line {place} is {new!r}", given("--data", "d.csv", content), codes)
    for number, content in enumerate([b"", b"\n\n", b"\xff\xfe\x00", b"x,y,value\n", b"\0" * 50, b"1,2,3" * 9, b"{}"]):
        yield Attack(f"table content {number}", given("--data", "d.csv", content))
    for name in ("d.txt", "d", "d.npy", "d.xlsx", "d.mat", "d.json", ".csv"):
        yield Attack(f"table called {name}", given("--data", name, b"1,2,3\n"))
    yield Attack("data is a directory", lambda folder: run("--data", str(folder)))


def arrays(random) -> Iterator[Attack]:
    """``.npz`` files with one wrong array, and with damaged bytes."""
    for name, bad in WRONG_ARRAYS.items():
        for number, array in enumerate(bad):
            content = zipped(**({"points": GOOD, "values": VALUES} | {name: array}))
            yield Attack(f"array {name} {number}", given("--data", "d.npz", content))
    for names in (("points",), ("values",), (), ("Points", "values"), ("points", "value")):
        yield Attack(f"arrays {names}", given("--data", "d.npz", zipped(**dict.fromkeys(names, VALUES))))
    whole = zipped(points=GOOD, values=VALUES)
    for number in range(60):
        yield Attack(f"damaged array {number}", given("--data", "d.npz", damaged(whole, random)), TOLD)


def meshes(random) -> Iterator[Attack]:
    """Mesh files with damaged bytes or a line less, and of other kinds."""
    whole = MESH.read_bytes()
    for number in range(50):
        content = damaged(whole, random)
        if number % 3 == 1:
            lines = whole.split(b"\n")
            del lines[random.randrange(len(lines))]
            content = b"\n".join(lines)
        yield Attack(f"mesh {number}", given("--mesh", "m.msh", content), TOLD)
    for name in ("m.vtu", "m.xdmf", "m.stl", "m.med", "m.inp", "m.obj", "m.e", "m", "m.mesh", "m.vtk", "m.bdf"):
        yield Attack(f"mesh called {name}", given("--mesh", name, b"<a>\n1 2\n"))


# ---- cases ----------------------------------------------------------------------------------------------------------

EDITS = {
    "torch.exp(m) *": ["np.exp(m) *", "1j * torch.exp(m) *", "torch.exp(mm) *", "m.foo *"],
    "dot(grad(u), grad(v)) - v": ["dot(grad(u), grad(v)) - 1.0", "dot(grad(u), grad(v)) - v * v",
                                  "dot(grad(u), grad(grad(v)))", "grad(v)", "torch.abs(v)", "None"],
    "linear=True": ["linear='yes', dirichlett=1", "linear=True, tolerance=-1", "linear=True, values=1j"],
    "state.get_dofs().all()": ["'lift'", "[0.5]", "[10**9]", "[-1]", "[True, False]"],
    "skfem.ElementTriP1()": ["skfem.ElementTetP1()", "skfem.ElementTriP1", "None"],
    "MLP((2, 6, 1))": ["MLP((3, 6, 1))", "MLP((2, 6, 3))", "None", "MLP((2, 6, 1), activation='abs')",
                       "MLP((2, 10**9, 10**9, 1))", "MLP((2, 6, 1), start=float('nan'))",
                       "MLP((2, 6, 1), box=((0, 0), (0, 1)))", "MLP((2, 6, 1), box=((5, 5), (6, 6)))",
                       "MLP((2, 6, 1), start=1e308)", "MLP((2, 6, 1), start=1e5)", "torch.nn.Linear(2, 1)"],
    "Tikhonov(space.stiffness, gamma)": ["Tikhonov(space.stiffness.toarray()[:3], gamma)", "None",
                                         "Tikhonov(space.stiffness, -gamma)", "Tikhonov(3, gamma)"],
    "np.full(len(values), noise)": ["np.full(3, noise)", "-noise", "'x'"],
    "points), values,": ["points), values[:-1],", "points), values * np.nan,", "points), values * 1j,"],
    '"small", tuple(levels)': ['"small", ()', '"", tuple(levels)', '"a/b", tuple(levels)', "None, tuple(levels)",
                               '"small", (1, 2)', '"small", 3'],
    '{"iterations": 4}': ['{"iteration": 4}', '{"iterations": "4"}', "[4]", '{"flow": "luck"}', '{"metric": 3}',
                          '{"seed": -1}', "None"],
    '{"share": 0.1}': ['{"share": -1}', '{"nothing": 1}', '{"tolerance": "x"}', "3"],
    "cells: int = 8": ["cells = 8", "cells: list = 8", "cells: np.ones(3) = 8", "cells: [int] = 8", "cells: 'foo' = 8",
                       "cells: tuple[[], int] = 8", "cells: __import__('typing').Literal[[]] = 8"],
    "-> Case:": ["-> Case:\n    raise SystemExit(0)", "-> Case:\n    return 1", "-> Case:\n    raise KeyError",
                 "-> Case:\n    1 / 0", "-> Case:\n    return Case"],
    "def truth(x):": ["exit()\ndef truth(x):", "import nothing\ndef truth(x):", "def truth(x: 3 4):"],
    "def case(": ["def cass(", "async def case("],
    '{"u": (state': ['{"m": (state', "{3: (state", '{"u": (None', '{"a<b": (state', "{'\"': (state", '{"": (state',
                     '{1 / 0: (state', '{exit(): (state'],
    "state.u[:, 0])": ["state.u[:3, 0])", "state.u[:, 0] * 1j)", "'x')"],
    "truth=truth(parameter.doflocs)": ["truth=truth", "truth=1j * truth(parameter.doflocs)", "truth='x'",
                                       "truth=np.nan * truth(parameter.doflocs)"],
    'title="Small': ['outcome=lambda at, folder: 1 / 0, title="Small', 'outcome=3, title="Small',
                     'outcome=lambda at, folder: {"energy": 1}, title="Small', 'start="x", title="Small',
                     'outcome=lambda at, folder: exit(), title="Small', 'length=-1, title="Small'],
}


def cases(random) -> Iterator[Attack]:
    """The small case with one edit that breaks it, and with a line less, half a line, or two lines exchanged."""
    text = CASE.read_text()
    for old, edits in EDITS.items():
        assert old in text, old
        for new in edits:
            yield Attack(f"case: {new}", edited(text.replace(old, new, 1)), (1, 2))
    wide = text.replace("MLP((2, 6, 1))", "MLP((2, 10**5, 1))")  # it grows from a few neurons unless told otherwise
    yield Attack("case: a wide network", lambda folder: [*edited(wide)(folder), "--no-grow"])
    lines = text.split("\n")
    last = lines.index("def signalling(pde, number, name):")  # what follows is for tests that interrupt
    for number in range(90):
        changed, place = list(lines), random.randrange(12, last - 2)
        if number % 3 == 0:
            del changed[place]
        elif number % 3 == 1:
            changed[place], changed[place + 1] = changed[place + 1], changed[place]
        else:
            changed[place] = changed[place][: random.randrange(len(changed[place]) + 1)]
        yield Attack(f"case line {place} {number % 3}", edited("\n".join(changed)), TOLD)
    for text in ("", "\0", "é", "def case(): pass", "case = 3", "class case: pass", "async def case(): pass",
                 "def case(*a): pass", "def case(**k): pass", "case = lambda: 0", "def case(cells: int): pass",
                 "x = " + "+".join("1" * 20000), "x = " + "-" * 20000 + "1", "x = " + "(" * 300 + ")" * 300):
        yield Attack(f"case is {text[:30]!r}", edited(text))


def edited(text: str) -> Callable[[Path], list[str]]:
    return lambda folder: ["run", written(folder / "case.py", text.encode()), *QUICK, "--out", str(folder / "out")]


# ---- directories and checkpoints -------------------------------------------------------------------------------------


def directories(random) -> Iterator[Attack]:
    """Directories of others, and what is no directory."""
    foreign = [b"", b"mine", b"PK\3\4", zipped(a=np.ones(2)), tensors({"a": 1}), tensors([1]), tensors({"format": 9})]
    for name in ("summary.json", "history.csv", "checkpoint.pt", "report.html", "fields.pvd", "fields_0.vtu", ".x"):
        for content in foreign:
            yield Attack(f"out holds {name}", partial(_into_foreign, name=name, content=content))
    for out in ("", "/proc/x", "/dev/null", "/dev/null/x", str(CASE), "a\0b", "x" * 300):
        yield Attack(f"out is {out[:12]!r}", running("--out", out))
    for word in ("resume", "report"):
        for content in foreign:
            yield Attack(f"{word} foreign", partial(_foreign, word=word, content=content))
        for where in ("", "nowhere", str(CASE), "/proc", "a\0b"):
            yield Attack(f"{word} {where[:9]!r}", partial(lambda folder, words: words, words=[word, where]))


def _into_foreign(folder: Path, name: str, content: bytes) -> list[str]:
    written(folder / "out" / name, content)
    return run("--out", str(folder / "out"))


def _foreign(folder: Path, word: str, content: bytes) -> list[str]:
    written(folder / "run" / "checkpoint.pt", content)
    return [word, str(folder / "run")]


POOL = [None, True, 0, -1, 10**12, 1.5, float("nan"), float("inf"), "", "text", "../../x", [], {}, [[1]], {"a": 1},
        torch.ones(0), torch.ones(3), torch.full((25,), float("nan")), torch.ones(2, 2), 1j, {"numpy": 3}]


def checkpoints(random, finished: Path) -> Iterator[Attack]:
    """Copies of a run directory with one entry of the checkpoint exchanged or removed, and with damaged bytes."""
    places = list(entries(torch.load(finished / "checkpoint.pt", weights_only=True)))
    for number in range(260):
        place, value, word = random.choice(places), random.choice(POOL), random.choice(["resume", "resume", "report"])
        exchange = partial(exchanged, finished=finished, place=place, value=value, word=word, remove=number % 9 == 0)
        yield Attack(f"checkpoint {'.'.join(map(str, place))} = {str(value)[:20]}", exchange, TOLD)
    whole = (finished / "checkpoint.pt").read_bytes()
    for number in range(60):
        content = damaged(whole, random)
        yield Attack(f"checkpoint bytes {number}", partial(_foreign, word="resume", content=content), TOLD)


def entries(content, place=()) -> Iterator[tuple]:
    """Places of all entries of nested tables and lists."""
    parts = content.items() if isinstance(content, dict) else ()
    for key, part in enumerate(content) if isinstance(content, list | tuple) else parts:
        yield (*place, key)
        yield from entries(part, (*place, key))


def exchanged(folder: Path, finished: Path, place, value, word: str, remove: bool) -> list[str]:
    """A command on a copy of a run directory with another entry of its checkpoint."""
    shutil.copytree(finished, folder / "run")
    content = with_lists(torch.load(folder / "run" / "checkpoint.pt", weights_only=True))
    part = content
    for key in place[:-1]:
        part = part[key]
    if remove:
        del part[place[-1]]
    else:
        part[place[-1]] = value
    torch.save(content, folder / "run" / "checkpoint.pt")
    return [word, str(folder / "run")]


def with_lists(content):
    """The same with lists for tuples."""
    if isinstance(content, dict):
        return {key: with_lists(part) for key, part in content.items()}
    return [with_lists(part) for part in content] if isinstance(content, list | tuple) else content


# ---- files ----------------------------------------------------------------------------------------------------------


def written(path: Path, content: bytes) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return str(path)


def damaged(whole: bytes, random) -> bytes:
    """The bytes cut somewhere, or with some of them exchanged."""
    if random.random() < 0.4:
        return whole[: random.randrange(len(whole))]
    changed = bytearray(whole)
    for _ in range(random.randrange(1, 20)):
        changed[random.randrange(len(changed))] = random.randrange(256)
    return bytes(changed)


def zipped(**arrays) -> bytes:
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    return stream.getvalue()


def tensors(content) -> bytes:
    stream = io.BytesIO()
    torch.save(content, stream)
    return stream.getvalue()
