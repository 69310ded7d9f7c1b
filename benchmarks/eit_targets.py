"""Scores of the measured tank targets: levels 1, 4 and 7, neural and nodal, with and without outliers.

Every row is one run of ``fem-ngf run cases/eit_tank.py`` with the settings of the case, as a user would start it;
calibration, uncertainty, pictures and report are part of its time.

Run:  python benchmarks/eit_targets.py FOLDER [--unknowns neural] [--rows levels] [--out docs/tables/tomography.md]

FOLDER holds data1.mat, data2.mat, ref.mat, Mesh_dense.mat, true1.mat and true2.mat of the Kuopio Tomography
Challenge 2023 (and any further target that `--targets` names).
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PUBLISHED = {(1, 1): 0.705, (1, 2): 0.786, (4, 1): 0.664, (4, 2): 0.249, (7, 1): 0.254, (7, 2): 0.419}
UNKNOWNS = ("neural", "finite-element")


@dataclass(frozen=True)
class Run:
    """One row: what is run."""

    level: int
    target: int
    unknown: str
    robust: bool = True
    outliers: float = 0.0

    def command(self, folder: Path, mesh: str, out: Path) -> list[str]:
        """The command line."""
        files = {"data": f"data{self.target}.mat", "reference": "ref.mat", "mesh": mesh,
                 "truth": f"true{self.target}.mat"}
        given = [part for name, file in files.items() for part in (f"--{name}", str(folder / file))]
        return [sys.executable, "-m", "fem_ngf", "run", str(ROOT / "cases" / "eit_tank.py"), *given,
                "--level", str(self.level), "--outliers", str(self.outliers), "--ansatz", self.unknown,
                "--robust" if self.robust else "--no-robust", "--out", str(out), "--quiet"]

    def row(self, folder: Path, mesh: str) -> str:
        """Run it; its line of the table."""
        with tempfile.TemporaryDirectory() as scratch:
            out, start = Path(scratch) / "run", time.perf_counter()
            process = subprocess.Popen(self.command(folder, mesh, out), stdout=subprocess.DEVNULL, cwd=ROOT)
            _, status, usage = os.wait4(process.pid, 0)
            wall = time.perf_counter() - start
            if status:
                raise SystemExit(f"{self} failed")
            summary = json.loads((out / "summary.json").read_text())
        published = "" if self.outliers or not self.robust else PUBLISHED.get((self.level, self.target), "")
        return (f"| {self.level} | {self.target} | {self.unknown} | {'Student' if self.robust else 'normal'} "
                f"| {100 * self.outliers:g}% | {summary['score']:.3f} | {published} | {summary['iterations']} "
                f"| {summary['pde_solves']['total']} | {usage.ru_utime + usage.ru_stime:.0f} | {wall:.0f} "
                f"| {usage.ru_maxrss / 2**20:.2f} |")


def plan(options) -> list[Run]:
    """All rows in the order of the table."""
    levels = [Run(level, target, unknown) for level in options.levels for target in options.targets
              for unknown in options.unknowns]
    noise = [Run(1, target, options.unknowns[0], robust, outliers) for target in options.targets
             for robust, outliers in ((False, 0.0), (True, 0.01), (False, 0.01))]
    return {"levels": levels, "outliers": noise, "all": levels + noise}[options.rows]


def page(rows: list[str], mesh: str) -> str:
    """The table with what is needed to read it."""
    return "\n".join([
        "# Measured tank", "",
        f"cases/eit_tank.py on the measured targets of the Kuopio Tomography Challenge 2023, {mesh}, the same settings "
        "in every row. Published: the entry of the challenge that was not learned from data. Outliers: this fraction "
        "of the target's voltages is replaced by values from all over their range. Times are those of the whole run, "
        "one thread; seconds of the wall clock on a machine that others used as well.", "",
        "| level | target | unknown | noise model | outliers | score | published | steps | PDE solves | CPU s | wall s "
        "| memory GiB |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|", *rows, "",
        "Made by benchmarks/eit_targets.py.", ""])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--mesh", default="Mesh_dense.mat")
    parser.add_argument("--levels", type=int, nargs="+", default=[1, 4, 7])
    parser.add_argument("--targets", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--unknowns", choices=UNKNOWNS, nargs="+", default=list(UNKNOWNS))
    parser.add_argument("--rows", choices=("all", "levels", "outliers"), default="all")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    rows = []
    for run in plan(options):
        rows.append(run.row(options.folder.resolve(), options.mesh))
        print(rows[-1], flush=True)
        if options.out:
            options.out.write_text(page(rows, options.mesh))


if __name__ == "__main__":
    main()
