# `make run` and `make test` need Python 3.11 or newer with pip, and nothing else.
PYTHON ?= python3
VENV ?= .venv
OUT ?= runs/diffusion
BIN := $(VENV)/bin
CORES ?= 2
# One thread: reproducible numbers, and no BLAS threads that fight each other on a busy machine.
export OMP_NUM_THREADS ?= 1

.PHONY: run test test-slow test-mpi petsc test-petsc test-kernels fuzz mutants lint docs clean
.DEFAULT_GOAL := run

run: $(VENV)/.installed
	$(BIN)/fem-ngf run cases/diffusion.py --out $(OUT)

test: $(VENV)/.installed
	$(BIN)/python -m pytest -n $(CORES) --dist worksteal -m "not slow"

# Studies on published data (where these are beside the checkout) that take longer than all other tests together.
test-slow: $(VENV)/.installed
	$(BIN)/python -m pytest -n $(CORES) --dist worksteal -m slow

# Several processes: mpi4py with the MPI that pip brings. A process that waits for another for ever is a failure too.
test-mpi: $(VENV)/.installed-mpi
	timeout 300 $(BIN)/mpiexec -n 2 $(BIN)/python -m pytest -q tests/mpi
	timeout 300 $(BIN)/mpiexec -n 3 $(BIN)/python -m pytest -q tests/mpi
	timeout 300 $(BIN)/python -m pytest -q tests/test_processes.py

# PETSc for meshes on several processes: Debian's, and the petsc4py that fits it and this environment's numpy. Both have
# Open MPI, whose mpiexec starts such runs.
PETSC := /usr/lib/petscdir/petsc3.18/x86_64-linux-gnu-real
PETSC_MPIEXEC ?= /usr/bin/mpiexec
petsc: $(VENV)/.installed-petsc

test-petsc: export OMPI_ALLOW_RUN_AS_ROOT = 1
test-petsc: export OMPI_ALLOW_RUN_AS_ROOT_CONFIRM = 1
test-petsc: $(VENV)/.installed-petsc
	timeout 600 $(PETSC_MPIEXEC) --oversubscribe -n 2 $(BIN)/python -m pytest -q tests/mpi
	timeout 600 $(PETSC_MPIEXEC) --oversubscribe -n 3 $(BIN)/python -m pytest -q tests/mpi
	timeout 300 $(BIN)/python -m pytest -q tests/test_processes.py

test-kernels: $(VENV)/.installed
	$(BIN)/python tests/kernels.py

# Bad input: 1,400 command lines and 600 calls, a part of which `make test` runs too; then 60 kills at random moments.
fuzz: $(VENV)/.installed
	cd tests && PYTHONPATH=.:../cases XDG_STATE_HOME=$$(mktemp -d) $(abspath $(BIN))/python -m fuzz
	cd tests && PYTHONPATH=.:../cases $(abspath $(BIN))/python -m fuzz.kills

# The library made wrong in one line at a time; prints what no test notices.
mutants: $(VENV)/.installed
	$(BIN)/python tests/mutants.py

lint: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	$(BIN)/mypy

docs: $(VENV)/.installed-docs
	$(BIN)/sphinx-build -b html -W --keep-going docs docs/_build/html
	@echo "documentation: docs/_build/html/index.html"

# Runs every case (five minutes) and writes its picture and its figures for the pages above.
gallery: $(VENV)/.installed
	$(BIN)/python docs/gallery.py

clean:
	rm -rf docs/_build build dist .pytest_cache .ruff_cache .mypy_cache .import_linter_cache

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "fem_ngf needs Python 3.11 or newer: make PYTHON=/path/to/python3.11 ..."; exit 1; }
	@# Debian's python3 without python3-venv cannot put pip into an environment: its own pip can.
	$(PYTHON) -m venv $(VENV) \
		|| { $(PYTHON) -m venv --clear --without-pip $(VENV) && $(PYTHON) -m pip --python $@ install pip; }

$(VENV)/.installed: pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev]'
	@touch $@

$(VENV)/.installed-mpi: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev,mpi]'
	@touch $@

$(VENV)/.installed-petsc: $(VENV)/.installed-mpi
	test -d $(PETSC) || apt-get install -y --no-install-recommends libpetsc-real-dev
	$(BIN)/python -m venv build/petsc
	build/petsc/bin/python -m pip install --quiet -c constraints.txt 'setuptools<80' wheel 'cython<3' numpy
	PETSC_DIR=$(PETSC) PETSC_ARCH= CFLAGS='-O0 -g0' build/petsc/bin/python -m pip wheel --quiet --no-deps \
		--no-build-isolation --wheel-dir build/petsc 'petsc4py==3.18.*'
	$(BIN)/python -m pip install --quiet --no-deps build/petsc/petsc4py-*.whl
	@touch $@

$(VENV)/.installed-docs: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev,docs]'
	@touch $@
