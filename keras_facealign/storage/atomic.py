"""Writes files completely or not at all.

A file is first written under a temporary name in the same folder and then renamed, so that no
reader finds half a file, even if the program is killed. What killed programs leave behind is
removed by the next program that writes into the folder.
"""

from __future__ import annotations

import errno
import hashlib
import os
import platform
import re
import secrets
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import IO

from keras_facealign.errors import FaceAlignError

PARTIAL = ".partial-"
"""Prefix of temporary files, which are never read."""

# PARTIAL, the computer's tag, the process, and digits at random.
_NAME = re.compile(re.escape(PARTIAL) + r"(?P<computer>[0-9a-f]{8})-(?P<process>\d+)-[0-9a-f]+")
# Whether a process on another computer still runs cannot be told: its file counts as abandoned
# when nothing has been written to it for this time.
_ABANDONED_SECONDS = 24 * 3600.0
_open: set[str] = set()
_cleaned: set[Path] = set()


# Errors of a single name; after others, such as a full disk's, the next file fails, too.
_OF_ONE_NAME = {errno.EEXIST, errno.EILSEQ, errno.EINVAL, errno.EISDIR, errno.ELOOP}
_OF_ONE_NAME |= {errno.ENAMETOOLONG, errno.ENOTDIR, errno.ENOTEMPTY}


class OutputError(FaceAlignError):
    """Raised where a file or folder cannot be written; its cause is the `OSError`.

    Args:
        message: The file, the reason, and what to do.
        error: The cause.

    Attributes:
        concerns_all: Whether other files cannot be written either, as on a full disk.
    """

    def __init__(self, message: str, error: OSError) -> None:
        super().__init__(message)
        self.concerns_all = error.errno not in _OF_ONE_NAME


@contextmanager
def atomic_path(path: str | os.PathLike[str], sync: bool = True) -> Iterator[Path]:
    """Yields a temporary file next to `path`, which replaces it when the block succeeds.

    If the block raises, the temporary file is removed and `path` stays as it was.

    Args:
        path: The file to write; an older one is replaced. Its folder must exist.
        sync: Wait until the disk has stored the file, about 10 ms, so that a power failure cannot
            lose it and no late error of the disk is missed.

    Yields:
        Path of the temporary file, which exists and is empty; it has the suffix of `path`.

    Raises:
        OutputError: If the file cannot be written, a `FaceAlignError`.
    """
    path = Path(path)
    try:
        if path.exists() and not path.is_file():  # A pipe or a device would be replaced.
            raise FileExistsError(errno.EEXIST, "it is not a regular file")
        with partial_path(path) as temporary:
            # With the permissions of any other new file.
            os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
            yield temporary
            if sync:
                # Some file systems report a full disk or a quota only when the data are stored.
                with open(temporary, "r+b") as file:
                    os.fsync(file.fileno())
            os.replace(temporary, path)
    except OSError as error:
        reason = error.strerror or str(error)
        advice = "check the folder, its permissions and space"
        raise OutputError(f"{path}: cannot be written ({reason}); {advice}", error) from error


@contextmanager
def partial_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yields a temporary name next to `path`, and removes what is there at the end.

    Args:
        path: What is to be written; its folder must exist.

    Yields:
        A path that does not exist, with the suffix of `path`.
    """
    path = Path(path)
    _clean_once(path.parent)
    name = f"{PARTIAL}{_computer()}-{os.getpid()}-{secrets.token_hex(4)}{path.suffix}"
    _open.add(name)
    try:
        yield path.parent / name
    finally:
        _remove(path.parent / name)
        _open.discard(name)


def atomic_write(
    path: str | os.PathLike[str], write: Callable[[IO[bytes]], object], sync: bool = True
) -> Path:
    """Writes a file completely or not at all.

    Args:
        path: The file; its folder must exist.
        write: Called with the binary file to write to.
        sync: As of `atomic_path`.

    Returns:
        The path.

    Raises:
        OutputError: If the file cannot be written, a `FaceAlignError`.

    Example:
        >>> atomic_write("note.txt", lambda file: file.write(b"whole"))  # doctest: +SKIP
    """
    with atomic_path(path, sync) as temporary, open(temporary, "wb") as file:
        write(file)
    return Path(path)


def remove_partial_files(folder: str | os.PathLike[str]) -> None:
    """Removes the temporary files and folders that killed programs left in a folder.

    Those of running programs stay; so do those of other computers until they have not changed for a
    day. `atomic_path` does this for each folder that it writes to, once a process.

    Args:
        folder: The folder; nothing happens if it cannot be read.
    """
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith(PARTIAL) and _is_abandoned(entry):
                _remove(Path(entry.path))


def _clean_once(folder: Path) -> None:
    folder = Path(os.path.abspath(folder))
    if folder not in _cleaned:
        _cleaned.add(folder)
        remove_partial_files(folder)


def _remove(path: Path) -> None:
    with suppress(OSError):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def _is_abandoned(entry: os.DirEntry[str]) -> bool:
    with suppress(OSError):
        match = _NAME.match(entry.name)
        if match is None and not entry.is_file(follow_symlinks=False):
            return False
        # Windows has no signal that asks whether a process exists.
        if match and match["computer"] == _computer() and sys.platform != "win32":
            process = int(match["process"])
            if process == os.getpid():
                # Numbers of processes are used again.
                return entry.name not in _open
            return not _is_running(process)
        return time.time() - entry.stat(follow_symlinks=False).st_mtime > _ABANDONED_SECONDS
    return False


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        return True  # another user's
    return True


@cache
def _computer() -> str:
    """Returns a tag of this computer, its start, and its container, which number processes."""
    parts = [platform.node()]
    with suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii"))
    with suppress(OSError):
        parts.append(os.readlink("/proc/self/ns/pid"))
    return hashlib.sha256("|".join(parts).encode(errors="replace")).hexdigest()[:8]
