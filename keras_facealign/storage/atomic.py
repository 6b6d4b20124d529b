"""Writes files completely or not at all.

A file is first written under a temporary name in the same folder and then renamed, so that no
reader finds half a file, even if the program is killed.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from keras_facealign.errors import FaceAlignError

PARTIAL = ".partial-"
"""Prefix of temporary files. Those that a killed program left behind are never read."""


@contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yields a temporary file next to `path`, which replaces it when the block succeeds.

    If the block raises, the temporary file is removed and `path` stays as it was.

    Args:
        path: The file to write; an older one is replaced. Its folder must exist.

    Yields:
        Path of the temporary file, which exists and is empty; it has the suffix of `path`.

    Raises:
        FaceAlignError: If the file cannot be written.
    """
    path = Path(path)
    temporary: Path | None = None
    try:
        handle, name = tempfile.mkstemp(prefix=PARTIAL, suffix=path.suffix, dir=path.parent)
        os.close(handle)
        temporary = Path(name)
        yield temporary
        # Temporary files are private; give the result the permissions of any other new file.
        temporary.chmod(0o666 & ~_umask())
        os.replace(temporary, path)
    except OSError as error:
        reason = error.strerror or str(error)
        raise FaceAlignError(
            f"{path}: cannot be written ({reason}); check the folder, its permissions and space"
        ) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def atomic_write(path: str | os.PathLike[str], write: Callable[[IO[bytes]], object]) -> Path:
    """Writes a file completely or not at all.

    Args:
        path: The file; its folder must exist.
        write: Called with the binary file to write to.

    Returns:
        The path.

    Raises:
        FaceAlignError: If the file cannot be written.

    Example:
        >>> atomic_write("note.txt", lambda file: file.write(b"whole"))  # doctest: +SKIP
    """
    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        write(file)
    return Path(path)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
