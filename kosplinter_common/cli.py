"""What the entry points share: one exception for a user's mistakes, and how it ends a program."""

import glob
import sys
from collections.abc import Callable


class InputError(ValueError):
    """Something the user gave is wrong. The message is one line: what, where, found, expected."""


def exit_with_one_line(main: Callable[[], object]) -> None:
    """Runs `main`; an InputError or an OSError becomes one line on stderr and exit status 1."""
    try:
        main()
    except (InputError, OSError) as error:
        sys.exit("error: " + " ".join(str(error).split()))


def expand_globs(patterns: str) -> list[str]:
    """Files named by comma-separated glob patterns, sorted, without repeats.

    Raises:
      InputError: a pattern matches nothing.
    """
    files: set[str] = set()
    for pattern in filter(None, (part.strip() for part in patterns.split(","))):
        matched = glob.glob(pattern, recursive=True)
        if not matched:
            raise InputError(f"no file matches {pattern!r}")
        files.update(matched)
    if not files:
        raise InputError(f"no file pattern given: found {patterns!r}")
    return sorted(files)
