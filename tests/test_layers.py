"""Imports between the rooms of the package point one way; pyproject.toml holds the order."""

from importlinter.cli import lint_imports


def test_imports_point_down():
    assert lint_imports(no_cache=True) == 0
