"""Files that are whole or not there: written under a temporary name beside the target, and renamed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """The temporary name to write; it becomes `path` when the block ends well and is removed when it fails."""
    temporary = path.with_name(f".{path.stem}.tmp{path.suffix}")
    try:
        yield temporary
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def is_temporary(path: Path) -> bool:
    """Whether a kill may have left the file behind."""
    return path.name.startswith(".") and ".tmp" in path.suffixes
