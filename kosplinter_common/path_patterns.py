"""Glob patterns as people mean them: a name that exists is itself, however it spells its Hangul."""

import fnmatch
import os
import re
import unicodedata
from collections.abc import Callable, Iterator

_MAGIC = re.compile(r"[*?[]")
_MAX_COMMAS_IN_A_NAME = 8  # bounds what a list of names is searched for, where the first of them is not there


def matching_paths(pattern: str) -> list[str]:
    """Files and folders that `pattern` names, unsorted; the empty list where there is none.

    Each part between slashes is a name if one like it is there, else a pattern: * ? [ ] as in a shell, ** for any
    folders, brackets also for themselves. Composed and decomposed Hangul are the same name, and a name of CP949 bytes
    is also read as what it says. Names that begin with a dot are found by patterns that do.
    """
    if os.path.lexists(pattern):
        return [pattern]
    root, parts = (os.sep, pattern.lstrip(os.sep)) if pattern.startswith(os.sep) else ("", pattern)
    return list(dict.fromkeys(_walk(root, [part for part in parts.split(os.sep) if part])))


def _walk(folder: str, parts: list[str]) -> Iterator[str]:
    if not parts:
        yield folder
        return
    part, rest = parts[0], parts[1:]
    if part == "**":
        for below in _folders_below(folder, frozenset()):
            yield from _walk(below, rest or ["*"])
        return
    names = [part] if os.path.lexists(os.path.join(folder, part)) else _names_like(part, _listed(folder))
    for name in names:
        path = os.path.join(folder, name)
        if not rest or os.path.isdir(path):
            yield from _walk(path, rest)


def _names_like(part: str, names: list[str]) -> list[str]:
    spelled = unicodedata.normalize("NFC", part)
    if equal := [name for name in names if spelled in _readings(name)]:
        return equal
    if not _MAGIC.search(part):
        return []
    matches: list[Callable[[str], object]] = [
        re.compile(fnmatch.translate(form)).match for form in {spelled, spelled.replace("[", "[[]")}
    ]
    visible = [name for name in names if part.startswith(".") or not name.startswith(".")]
    return [name for name in visible if any(match(reading) for match in matches for reading in _readings(name))]


def _readings(name: str) -> list[str]:
    """The composed form of a name; of one that is not UTF-8, also what its bytes say in CP949."""
    readings = [unicodedata.normalize("NFC", name)]
    if not name.isascii():
        stored = os.fsencode(name)
        try:
            stored.decode("utf-8")
        except UnicodeDecodeError:
            readings.append(unicodedata.normalize("NFC", stored.decode("cp949", "replace")))
    return readings


def _listed(folder: str) -> list[str]:
    try:
        return sorted(os.listdir(folder or os.curdir))
    except OSError:  # not a folder, or not ours to read
        return []


def _folders_below(folder: str, above: frozenset[str]) -> Iterator[str]:
    """`folder` and all visible folders in it, through links, but never into one that it lies in."""
    yield folder
    inside = above | {os.path.realpath(folder)}
    for name in _listed(folder):
        path = os.path.join(folder, name)
        if not name.startswith(".") and os.path.isdir(path) and os.path.realpath(path) not in inside:
            yield from _folders_below(path, inside)


def split_at_commas(text: str, is_known: Callable[[str], bool]) -> list[str]:
    """The names or patterns of a comma-separated list; a comma stays where only the name with it is known."""
    if text.strip() and is_known(text.strip()):
        return [text.strip()]
    parts, found = text.split(","), []
    while parts:
        joined = (",".join(parts[:end]).strip() for end in range(1, min(len(parts), _MAX_COMMAS_IN_A_NAME + 1) + 1))
        name = next((name for name in joined if name and is_known(name)), parts[0].strip())
        found += [name] if name else []
        parts = parts[name.count(",") + 1 :] if name else parts[1:]
    return found
