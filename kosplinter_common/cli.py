"""What the entry points share: one exception for a user's mistakes, how it ends a program, and the files flags name.

Import it before anything that takes long to import: from then on Ctrl-C is one line.
"""

import functools
import io
import os
import signal
import sys
from collections.abc import Callable
from types import TracebackType

from kosplinter_common.path_patterns import matching_paths, split_at_commas

EXIT_INTERRUPTED = 128 + signal.SIGINT


class InputError(ValueError):
    """Something the user gave is wrong. The message is one line: what, where, found, expected."""


def exit_with_one_line(main: Callable[[], object]) -> None:
    """Runs `main`; an InputError or an OSError becomes one line on stderr and exit status 1, Ctrl-C one and 130."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # file names may hold bytes that are not UTF-8
            stream.reconfigure(errors="backslashreplace")
    try:
        main()
        sys.stdout.flush()
    except BrokenPipeError:  # who read our output has gone, as `head` does: nothing to say, and nowhere to say it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except (InputError, OSError) as error:
        sys.exit("error: " + " ".join(str(error).split()))
    except KeyboardInterrupt:
        _end_interrupted()


def _end_interrupted() -> None:
    print("interrupted", file=sys.stderr)
    sys.exit(EXIT_INTERRUPTED)


def _on_uncaught(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):  # while a command's modules are still imported
        _end_interrupted()
    sys.__excepthook__(kind, error, traceback)


if sys.excepthook is sys.__excepthook__:
    sys.excepthook = _on_uncaught


def expand_globs(
    patterns: str,
    exists: Callable[[str], bool] = os.path.lexists,
    matching: Callable[[str], list[str]] = matching_paths,
) -> list[str]:
    """Files named by comma-separated glob patterns, sorted, without repeats; a path that exists is no pattern.

    The same file by another path or through a link is read once, and folders that a pattern meets are passed over; a
    line on stderr says so.

    Args:
      exists, matching: of another file system than this machine's.

    Raises:
      InputError: a pattern matches no file, or a folder is named.
    """

    @functools.cache
    def matched(pattern: str) -> list[str]:
        return [pattern] if exists(pattern) else matching(pattern)

    wanted = split_at_commas(patterns, lambda pattern: bool(matched(pattern)))
    if not wanted:
        raise InputError(f"no file pattern given: found {patterns!r}")
    return _each_once(sorted({path for pattern in wanted for path in _files(pattern, matched(pattern))}))


def _files(pattern: str, matched: list[str]) -> list[str]:
    """What a pattern matched, without folders."""
    files = [path for path in matched if not os.path.isdir(path)]
    folders = sorted(set(matched) - set(files))
    if not matched:
        raise InputError(f"no file matches {pattern!r}")
    if not files:
        raise InputError(f"{pattern}: found a folder, expected files: try {os.path.join(folders[0], '*')}")
    if folders and "**" not in pattern:
        more = f" and {len(folders) - 1} more" if len(folders) > 1 else ""
        _say(f"{pattern}: passed over the folder {folders[0]}{more}; ** in a pattern stands for folders")
    return files


def _each_once(paths: list[str]) -> list[str]:
    first: dict[str, str] = {}
    repeats = []
    for path in paths:
        place = path if "://" in path else os.path.realpath(path)
        if first.setdefault(place, path) != path:
            repeats.append(f"{path} is {first[place]}")
    if repeats:
        more = f", and {len(repeats) - 1} more like it" if len(repeats) > 1 else ""
        _say(f"read once, though named twice: {repeats[0]}{more}")
    return list(first.values())


@functools.cache  # said once
def _say(text: str) -> None:
    print(text, file=sys.stderr)
