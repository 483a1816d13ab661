"""One run at a time in an output folder."""

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from absl import logging

from kosplinter_common.cli import InputError


@contextmanager
def alone_in(folder: str) -> Iterator[None]:
    """Holds a folder, made where it is not there, for this process; the kernel lets go of it when the process ends,
    however it ends. On gs:// nothing can be held so. A folder that was made and is left empty is taken away again.

    Raises:
      InputError: another process holds it, or it cannot be made.
    """
    if "://" in folder:
        logging.info("%s cannot be locked: see to it that no other run trains in it", folder)
        yield
        return
    path = Path(folder).absolute()
    made = [part for part in (path, *path.parents) if not part.exists()]
    try:
        path.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDONLY)
    except OSError as error:
        raise InputError(f"--output_dir: cannot write to {folder}: {error.strerror}") from error
    try:
        _lock(descriptor, folder)
        yield
    finally:
        os.close(descriptor)
        with suppress(OSError):  # not empty: a run began
            for part in made:
                part.rmdir()


def _lock(descriptor: int, folder: str) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno == errno.EWOULDBLOCK:
            raise InputError(
                f"--output_dir: found another run training in {folder}, expected none: end it, or take another folder"
            ) from error
        logging.warning("%s cannot be locked (%s): see to it that no other run trains in it", folder, error.strerror)
