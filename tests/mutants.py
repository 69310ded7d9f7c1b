"""``make mutants``: one line of the library made wrong at a time; the tests named beside it must notice.

Each mutant is made in a copy of the package. What survives is printed, and is a test that is missing.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Mutant:
    """A line `old` of a file of the package, what becomes of it, and a file of tests (with a filter) to notice."""

    file: str
    old: str
    new: str
    tests: str


MUTANTS = [
    # what may be believed
    Mutant("run/checkpoint.py", "weights_only=True", "weights_only=False", "test_trust.py -k code"),
    Mutant("run/checkpoint.py", "type(found) is not int or found != FORMAT", "False", "test_trust.py -k format"),
    Mutant("run/checkpoint.py", 'RUN(content, "it")', "pass", "test_trust.py -k broken_entry"),
    Mutant("run/checkpoint.py", "if name not in parts:", "if False:", "test_trust.py -k edited_is_told"),
    Mutant("run/console.py", "except (OSError, ValueError):", "except KeyError:", "test_trust.py -k console_has_gone"),
    Mutant("output/files.py", "        yield temporary\n        temporary.replace(path)\n", "        yield path\n",
           "test_trust.py -k whole_or_not"),
    Mutant("output/report.py", "autoescape=True", "autoescape=False", "test_trust.py -k report_shows"),
    Mutant("run/cli.py", 'check_trusted(origin["path"])', "pass", "test_trust.py -k changed_case"),
    Mutant("run/directory.py", "fcntl.LOCK_EX | fcntl.LOCK_NB", "fcntl.LOCK_SH | fcntl.LOCK_NB",
           "test_trust.py -k second_process"),
    Mutant("run/directory.py", "or self._ours(self.path)", "or True", "test_trust.py -k with_our_names"),
    Mutant("run/results.py", "if taken := sorted(set(map(str, found)) & set(summary)):", "if taken := []:",
           "test_trust.py -k broken_case"),
    Mutant("run/execution.py", "if not abs(energy - before) <= 1e-9 * abs(before):", "if False:",
           "test_checkpoint.py -k changed_data"),
    # growth
    Mutant("growth/selection.py", "rest > DEPENDENT**2 * lengths", "rest > 0.0", "test_expansion.py -k pursuit"),
    Mutant("growth/selection.py", "rho = self.rho - np.tensordot(reached, c, axes=1)", "rho = self.rho",
           "test_expansion.py -k pursuit"),
    Mutant("growth/selection.py", "self.schur - block_grams(c, c)", "self.schur", "test_expansion.py -k pursuit"),
    Mutant("growth/selection.py", "neuron.gain <= (worth * chosen[0].gain if chosen else 0.0)", "neuron.gain <= 0.0",
           "test_expansion.py -k pursuit"),
    Mutant("growth/grow.py", "if grown.size <= expansion.max_parameters:", "if True:", "test_expansion.py -k budget"),
    # numbers
    Mutant("flows/retraction.py", 'with np.errstate(over="ignore", invalid="ignore"):', "if True:",
           "test_retraction.py -k no_vector"),
    Mutant("data/noise.py", "(size - 0.5 * self.threshold)", "(size - 0.4 * self.threshold)", "test_noise.py -k huber"),
    Mutant("tangent/tangent_space.py", "ones[space.fixed] = 0.0", "pass", "test_tangent.py -k whole_space"),
    Mutant("linalg/dense.py", "tolerance: float = 1e-10", "tolerance: float = 1e-3", "test_tangent.py -k nearly"),
    Mutant("linalg/dense.py", "basis: np.ndarray, images: np.ndarray, sweeps: int = 2",
           "basis: np.ndarray, images: np.ndarray, sweeps: int = 1", "test_tangent.py -k nearly"),
    # what is put together
    Mutant("forms/linearity.py", "without.abs().max() > bound", "False", "test_constructors.py -k residual"),
    Mutant("forms/linearity.py", "(one + two - both).abs().max() > bound", "False", "test_constructors.py -k residual"),
    Mutant("forms/linearity.py", "with torch.enable_grad():", "if True:", "test_constructors.py -k residual"),
    Mutant("energies/inverse_problem.py", "        self._check_sight()\n", "", "test_fuzz.py -k InverseProblem"),
    Mutant("meshes.py", "    _check_cells(mesh, path)\n", "", "test_meshes.py -k bad_files"),
    Mutant("verify.py", "KINK = 1e-2", "KINK = 1e2", "test_verify.py -k kink"),
    Mutant("verify.py", "16), 2e-3", "16), 1e-1", "test_laws.py -k verify_finds"),
    Mutant("errors.py", "if number * each > held:", "if False:", "test_constructors.py -k absurd"),
    Mutant("ansatz/checks.py", 'return "hardly fill" if', 'return "" if', "test_constructors.py -k unknown"),
]


def passes(tests: str, folder: Path, mutant: Mutant | None = None) -> bool:
    """Whether tests pass, although a line is wrong if there is a mutant."""
    shutil.copytree(ROOT / "fem_ngf", folder / "fem_ngf", ignore=shutil.ignore_patterns("__pycache__"))
    if mutant is not None:
        path = folder / "fem_ngf" / mutant.file
        text = path.read_text()
        if text.count(mutant.old) != 1:
            raise SystemExit(f"{mutant.file} has {text.count(mutant.old)} times {mutant.old!r}; mend the list")
        path.write_text(text.replace(mutant.old, mutant.new))
    file, *more = tests.split()
    words = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-c", str(ROOT / "pyproject.toml"),
             str(ROOT / "tests" / file), *more]
    done = subprocess.run(words, cwd=folder, env={**os.environ, "PYTHONPATH": str(folder)}, capture_output=True,
                          text=True)
    if done.returncode not in (0, 1, 2):
        raise SystemExit(f"{tests}: {done.stdout[-300:]}{done.stderr[-300:]}")
    return done.returncode == 0


def main() -> int:
    """Try all mutants, or those whose file or line contains a word given; 1 if one survived."""
    chosen = [mutant for mutant in MUTANTS if all(word in mutant.file + mutant.old for word in sys.argv[1:])]
    alive = 0
    for tests in dict.fromkeys(mutant.tests for mutant in chosen):
        with tempfile.TemporaryDirectory() as name:
            if not passes(tests, Path(name)):
                raise SystemExit(f"{tests}: fails without a mutant")
    for mutant in chosen:
        with tempfile.TemporaryDirectory() as name:
            if passes(mutant.tests, Path(name), mutant):
                alive += 1
                change = f"{mutant.old.strip()}  ->  {mutant.new.strip()}"
                print(f"survived: {mutant.file}: {change}  ({mutant.tests})", flush=True)
    print(f"{len(chosen)} mutants, {alive} survived")
    return int(alive > 0)


if __name__ == "__main__":
    sys.exit(main())
