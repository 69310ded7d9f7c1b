"""What the tests on several processes share."""

import json

import pytest

from fem_ngf.parallel.launch import world
from fem_ngf.run.cli import command


@pytest.fixture
def summary():
    """Summary of a run directory after a command that all processes give."""
    def after(folder, *words):
        assert command(words) == 0
        comm = world().comm
        comm.barrier()
        found = json.loads((folder / "summary.json").read_text())
        comm.barrier()
        return found

    return after
