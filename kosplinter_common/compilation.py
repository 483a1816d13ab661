"""numba, with a place to keep compiled code wherever this runs: import it from here.

numba keeps it beside the source or in the home's cache, and refuses to be imported from where it can write to neither:
a read-only container, another user's installation.
"""

import atexit
import os
import shutil
import sys
import tempfile
from pathlib import Path
from types import FunctionType

import numba

__all__ = ["numba"]

_ROOT = Path(__file__).resolve().parents[1]
_PACKAGES = [path for name in ("kosplinter_common", "data_gen") for path in sorted((_ROOT / name).rglob("__init__.py"))]


def _probe() -> None:
    pass


def _can_keep_code_of(source: Path) -> bool:
    code = _probe.__code__.replace(co_filename=str(source))
    try:
        numba.njit(cache=True)(FunctionType(code, {}))  # looks for a place at once, compiles nothing yet
    except RuntimeError:
        return False
    return True


def _keep_code_for_this_run_only() -> None:
    folder = tempfile.mkdtemp(prefix="kosplinter-numba-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    os.environ["NUMBA_CACHE_DIR"] = folder  # of the processes that this one starts, too
    numba.config.reload_config()
    print(
        "numba can keep compiled code neither beside its source nor in the home's cache: it compiles anew in this run, "
        "half a minute; NUMBA_CACHE_DIR=FOLDER gives it a place",
        file=sys.stderr,
    )


if not all(map(_can_keep_code_of, _PACKAGES)):
    _keep_code_for_this_run_only()
