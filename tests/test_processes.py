"""How runs on several processes start, end and go on; what they compute is tested under mpiexec, in tests/mpi."""

import json
import os
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import pytest

from fem_ngf import InputError
from fem_ngf.parallel.experiments import SharedProblem
from fem_ngf.parallel.launch import launched, start_petsc, world
from fem_ngf.pde.protocol import SolveCounts
from fem_ngf.run.cli import command
from fem_ngf.run.processes import Processes

PLATE = str(Path(__file__).resolve().parents[1] / "cases" / "perforated_plate.py")
MPIEXEC = Path(sys.executable).parent / "mpiexec"
DIFFUSION = str(Path(PLATE).with_name("diffusion.py"))
needs_petsc = pytest.mark.skipif(find_spec("petsc4py") is None, reason="petsc4py is not installed: make petsc")
needs_mpi = pytest.mark.skipif(find_spec("mpi4py") is None or not MPIEXEC.exists(), reason="mpi4py is not installed")


def test_without_a_launcher_nothing_is_shared(monkeypatch):
    for name in ("PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MPI_LOCALNRANKS", "SLURM_STEP_NUM_TASKS"):
        monkeypatch.delenv(name, raising=False)
    assert launched()[0] == 1 and world() is None
    alone, case = Processes.started(), object()
    assert alone.first and alone.shared(case) is case and alone.agreed(lambda: 3) == 3 and alone.ended(2) == 2
    alone.alone("report")


def test_a_launcher_without_mpi4py_is_refused(monkeypatch):
    monkeypatch.setenv("PMI_SIZE", "2")
    monkeypatch.setattr("fem_ngf.parallel.launch.find_spec", lambda name: None)
    with pytest.raises(InputError, match="mpi4py is not installed"):
        world()


def started(*words, **environment):
    return subprocess.run([sys.executable, "-m", "fem_ngf", *words], capture_output=True, text=True, timeout=100,
                          env=os.environ | environment)


@needs_mpi
def test_copies_that_do_not_know_of_each_other_are_refused_with_one_line():
    first, second = (started("run", PLATE, OMPI_COMM_WORLD_SIZE="2", OMPI_COMM_WORLD_RANK=rank) for rank in "01")
    assert first.returncode == second.returncode == 2
    assert "another MPI" in first.stderr and first.stderr.count("\n") == 1 and second.stderr == ""


def launched_run(processes, *words):
    return subprocess.Popen([str(MPIEXEC), "-n", str(processes), sys.executable, "-m", "fem_ngf", *words],
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def wait_for_steps(run, folder, seconds):
    """Until the history has two rows."""
    until = time.monotonic() + seconds
    while not (folder / "history.csv").exists() or (folder / "history.csv").read_text().count("\n") < 3:
        assert run.poll() is None and time.monotonic() < until
        time.sleep(0.02)


@needs_mpi
@pytest.mark.slow
def test_more_processes_than_experiments_end_with_one_line():
    run = launched_run(3, "run", PLATE, "--refinements", "0")
    said = run.communicate(timeout=100)[0]
    assert run.returncode == 2 and said.count("3 processes share 2 experiments") == 1


@needs_mpi
@pytest.mark.slow
def test_a_killed_process_ends_the_run_which_can_be_resumed(tmp_path):
    folder = tmp_path / "run"
    run = launched_run(2, "run", PLATE, "--refinements", "0", "--out", str(folder), "--bare", "--tolerance", "1e-9")
    wait_for_steps(run, folder, 90)
    children = Path(f"/proc/{run.pid}/task/{run.pid}/children").read_text().split()
    proxies = [Path(f"/proc/{child}/task/{child}/children").read_text().split() for child in children]
    os.kill(int(proxies[0][-1]), 9)
    run.communicate(timeout=30)
    assert run.returncode != 0 and not (folder / "summary.json").exists()
    again = launched_run(2, "resume", str(folder), "--quiet", "--iterations", "6")
    said = again.communicate(timeout=100)[0]
    assert again.returncode == 0, said
    assert json.loads((folder / "summary.json").read_text())["iterations"] > 2


def test_petsc_that_is_not_there_or_has_another_mpi_is_refused(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("fem_ngf.parallel.launch.find_spec", lambda name: None)
    assert command(["run", PLATE, "--refinements", "0", "--backend", "petsc"]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "needs the packages petsc4py" in said and not list(tmp_path.iterdir())
    monkeypatch.undo()
    monkeypatch.setattr("fem_ngf.parallel.launch._petsc_fits", lambda: False)
    with pytest.raises(InputError, match="petsc4py"):
        start_petsc()


@needs_petsc
def test_petsc_gives_freed_memory_back():
    """Not so without help: a library that PETSc loads tells glibc to keep it."""
    code = """if True:
        import numpy as np
        from fem_ngf.parallel.launch import start_petsc
        def resident():
            return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmRSS")) / 1e3
        start_petsc()
        before = resident()
        arrays = [np.ones(1_500_000) for _ in range(10)]
        last, during = np.ones(100), resident()
        del arrays
        print(during - before, resident() - before)
    """
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=100, check=True)
    during, after = map(float, said.stdout.split())
    assert during > 110 and after < 30


def test_an_error_of_one_process_alone_meets_no_other():
    """The others wait for it, asleep, until it ends them all."""
    problem = object.__new__(SharedProblem)
    problem.local = SimpleNamespace(counts=SolveCounts())
    problem.team = SimpleNamespace(agreed=lambda work: work(), comm=None)
    with pytest.raises(ZeroDivisionError):
        problem.together(lambda: 1 / 0)


def petsc_run(processes, *words, **environment):
    """Under the launcher of the MPI that PETSc has."""
    asked = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1", "OMP_NUM_THREADS": "1"} | environment
    return subprocess.Popen(["/usr/bin/mpiexec", "--oversubscribe", "-n", str(processes), sys.executable, "-m",
                             "fem_ngf", *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                            env=os.environ | asked)


@needs_petsc
@pytest.mark.slow
def test_the_wrong_launcher_of_petsc_ends_with_one_line(tmp_path):
    run = launched_run(2, "run", DIFFUSION, "--cells", "8", "--backend", "petsc", "--out", str(tmp_path / "run"))
    said = run.communicate(timeout=100)[0]
    assert run.returncode == 2 and said.count("another MPI than the launcher") == 1


@needs_petsc
@needs_mpi
@pytest.mark.slow
def test_mpich_under_the_launcher_of_open_mpi_ends_with_one_line(tmp_path):
    """As where PETSc is not installed, and with it the MPI that this launcher belongs to."""
    (tmp_path / "sitecustomize.py").write_text("""import importlib.util as util
find = util.find_spec
util.find_spec = lambda name, package=None: None if name == "petsc4py" else find(name, package)
""")
    root = str(Path(PLATE).parents[1])
    run = petsc_run(2, "run", PLATE, "--refinements", "0", PYTHONPATH=f"{tmp_path}{os.pathsep}{root}")
    said = run.communicate(timeout=100)[0]
    assert run.returncode == 2 and said.count("another MPI than mpi4py's") == 1 and "Abort" not in said


@needs_petsc
@pytest.mark.slow
def test_a_killed_process_of_a_distributed_mesh_ends_the_run_which_can_be_resumed(tmp_path):
    folder, flags = tmp_path / "run", ("--cells", "16", "--bare", "--backend", "petsc", "--tolerance", "1e-9")
    run = petsc_run(2, "run", DIFFUSION, "--out", str(folder), *flags)
    wait_for_steps(run, folder, 200)
    os.kill(int(Path(f"/proc/{run.pid}/task/{run.pid}/children").read_text().split()[-1]), 9)
    run.communicate(timeout=60)
    assert run.returncode != 0
    if (folder / "summary.json").exists():  # the launcher interrupts the other process, which may still say so
        assert "interrupted" in json.loads((folder / "summary.json").read_text())["stop_reason"]
    again = petsc_run(2, "resume", str(folder), "--quiet", "--iterations", "4")
    said = again.communicate(timeout=200)[0]
    assert again.returncode == 0, said
    assert json.loads((folder / "summary.json").read_text())["iterations"] > 2
