"""``python -m fuzz.kills``: runs of several kinds killed at random moments, which must end where the whole ones do.

Every run is a fork of this process, which has loaded the library already. The ends are compared to the last bit.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from fem_ngf.errors import InputError
from fem_ngf.run.checkpoint import load_checkpoint
from fem_ngf.run.cli import command

from .commands import CASE

SMALL = ["run", str(CASE), "--cells", "8", "--quiet", "--bare"]
CASES = CASE.parents[1] / "cases"
KINDS = {
    "plain": [*SMALL, "--levels", "1", "--iterations", "8"],
    "continuation": [*SMALL, "--iterations", "6"],
    "growing": [*SMALL, "--grow", "--start-width", "1", "--flow", "newton", "--iterations", "10"],
    "Sobolev flow": [*SMALL, "--flow", "sobolev", "--iterations", "10"],
    "natural gradient": [*SMALL, "--flow", "natural-gradient", "--iterations", "10"],
    "adam": [*SMALL, "--flow", "adam", "--iterations", "40"],
    "nodal": [*SMALL, "--nodal", "--iterations", "8"],
    "weights": [*SMALL, "--weight", "discrepancy", "--iterations", "6"],
    "tank": ["run", str(CASES / "eit_tank.py"), "--levels", "1", "--iterations", "2", "--quiet", "--bare"],
    "evolution": ["run", str(CASES / "advection_diffusion.py"), "--iterations", "4", "--quiet", "--bare"],
}


def forked(words: list[str]) -> int:
    """The process of a command."""
    child = os.fork()
    if child == 0:
        with open(os.devnull, "w") as nothing:
            os.dup2(nothing.fileno(), 1)
            os.dup2(nothing.fileno(), 2)
            try:
                os._exit(command(words))
            finally:
                os._exit(99)
    return child


def finished(words: list[str]) -> tuple[int, float]:
    """Exit code of a command, and the seconds it took."""
    start = time.perf_counter()
    _, status = os.waitpid(forked(words), 0)
    return os.waitstatus_to_exitcode(status), time.perf_counter() - start


def killed(words: list[str], seconds: float) -> bool:
    """Kill a command after some seconds; False if it was done before."""
    child = forked(words)
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


def end(folder: Path) -> tuple[bytes, tuple]:
    """Parameters where a run ended, and its history without times."""
    content = load_checkpoint(folder)
    rows = [{name: value for name, value in row.items() if "seconds" not in name} for row in content["rows"]]
    return np.asarray(content["stage"]["iterate"]["theta"]).tobytes(), tuple(map(str, rows))


def trial(words: list[str], folder: Path, whole, seconds: float) -> str:
    """One kill and what follows it; says what was wrong."""
    words = [*words, "--out", str(folder)]
    if not killed(words, seconds):
        return "" if end(folder) == whole else "a run that was not killed ends elsewhere"
    try:
        load_checkpoint(folder)
        again = ["resume", str(folder)]
    except InputError:
        again = words  # killed before its first checkpoint: the directory can be used
    code, _ = finished(again)
    if code:
        return f"{again[0]} answers {code}"
    if [path.name for path in folder.iterdir() if ".tmp" in path.name]:
        return "temporary files are left"
    return "" if end(folder) == whole else f"{again[0]} ends elsewhere"


def main(kills: int = 6) -> int:
    """That many kills of each kind, or of the kinds that the command line names; 1 if one of them went wrong."""
    rng, wrong, total = random.Random(0), 0, 0
    with tempfile.TemporaryDirectory() as name:
        os.environ["XDG_STATE_HOME"] = name
        for kind in sys.argv[1:] or KINDS:
            words = KINDS[kind]
            folder = Path(name) / kind.replace(" ", "-")
            code, seconds = finished([*words, "--out", str(folder)])
            if code:
                print(f"{kind}: answers {code}")
                wrong += 1
                continue
            faults = [trial(words, Path(f"{folder}-{i}"), end(folder), rng.uniform(0.02, 1.0) * seconds)
                      for i in range(kills)]
            total, wrong = total + kills, wrong + sum(map(bool, faults))
            found = ", ".join(sorted(set(filter(None, faults)))) or "all ended where the whole run did"
            print(f"{kind}: {kills} kills within {seconds:.1f} s; {found}", flush=True)
    print(f"{total} kills, {wrong} wrong")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
