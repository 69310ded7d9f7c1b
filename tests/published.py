"""Published data, beside the checkout or in the folder ``$FEM_NGF_DATA``, and the tests that need them."""

import os
from functools import cache
from pathlib import Path

import numpy as np
import pytest

DATA = Path(os.environ.get("FEM_NGF_DATA", Path(__file__).parents[2] / "shared" / "data"))


def needs(path: Path):
    """Skips a test where these data are not."""
    return pytest.mark.skipif(not path.exists(), reason=f"the published data {path.name} are not here")


@cache
def arrays(path: Path) -> dict[str, np.ndarray]:
    """The arrays of an ``.npz`` file by their names."""
    with np.load(path) as file:
        return dict(file)
