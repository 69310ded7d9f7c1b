"""What is shipped: examples of docstrings, declared dependencies, and a wheel that runs where nothing else is."""

import ast
import doctest
import importlib
import re
import subprocess
import sys
import tomllib
import venv
from importlib.metadata import packages_distributions
from pathlib import Path

import numpy
import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "fem_ngf"
MODULES = {".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in sorted(PACKAGE.rglob("*.py"))}
OPTIONAL = {"vtk", "pyvista", "sksparse", "pypardiso", "mpi4py", "petsc4py"}  # their absence is handled


@pytest.mark.parametrize("name", [name for name, path in MODULES.items() if ">>> " in path.read_text()])
def test_examples_of_docstrings(name):
    found = doctest.testmod(importlib.import_module(name))
    assert found.attempted > 0 and found.failed == 0


def imported(path: Path) -> set[str]:
    """Top-level names of the packages that a module imports."""
    nodes = list(ast.walk(ast.parse(path.read_text())))
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module for node in nodes if isinstance(node, ast.ImportFrom) and not node.level and node.module}
    return {name.split(".")[0] for name in names}


def plain(name: str) -> str:
    """Name of a distribution as the package index compares it."""
    return name.lower().replace("_", "-")


def test_every_import_is_a_declared_dependency():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    declared = {plain(re.match(r"[\w-]+", line)[0]) for line in project["dependencies"]}
    used = set().union(*map(imported, MODULES.values())) - set(sys.stdlib_module_names) - {"fem_ngf"} - OPTIONAL
    distributions = packages_distributions()
    assert {plain(distributions[name][0]) for name in used} == declared - {"h5py"}  # a format of meshio's
    pinned = {line.split("==")[0] for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line}
    assert declared <= {plain(name) for name in pinned}


def test_a_wheel_runs_in_an_empty_environment(tmp_path):
    """The wheel alone, beside the installed dependencies: a case of the user's, away from the repository."""
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    subprocess.run([*pip, "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", tmp_path, ROOT], check=True)
    (wheel,) = tmp_path.glob("fem_ngf-*.whl")
    venv.create(tmp_path / "env", with_pip=False)
    python = tmp_path / "env" / "bin" / "python"
    subprocess.run([*pip, "--python", python, "install", "--quiet", "--no-deps", wheel], check=True)
    (site,) = (tmp_path / "env").glob("lib/python*/site-packages")
    (site / "dependencies.pth").write_text(f"{Path(numpy.__file__).parents[1]}\n")
    assert {"py.typed", "__init__.pyi"} <= {path.name for path in (site / "fem_ngf").iterdir()}

    (tmp_path / "case.py").write_text((ROOT / "tests" / "small_case.py").read_text())
    words = [tmp_path / "env" / "bin" / "fem-ngf", "run", "case.py", "--cells", "4", "--iterations", "1", "--quiet"]
    done = subprocess.run(words, cwd=tmp_path, env={"OMP_NUM_THREADS": "1"}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "runs" / "small" / "report.html").is_file()
    found = subprocess.check_output([python, "-I", "-c", "import fem_ngf.run; print(fem_ngf.run.__file__)"], text=True)
    assert Path(found.strip()).is_relative_to(site)

    words = [words[0], "run", "perforated_plate", "--refinements", "0", "--iterations", "1", "--quiet", "--bare"]
    done = subprocess.run(words, cwd=tmp_path, env={"OMP_NUM_THREADS": "1"}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
