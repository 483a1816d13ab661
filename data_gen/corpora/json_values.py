"""Values of JSON as corpora write them: what is read leniently, and the items that stand at places of documents."""

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

COMMENT = r"//[^\n]*(?:\n|\Z)|/\*(?s:.*?)\*/"
_MAX_DIGITS = 100  # of an integer; Python refuses those of more than 4,300


def _integer(digits: str) -> int | None:
    return int(digits) if len(digits) <= _MAX_DIGITS else None


DECODER = json.JSONDecoder(strict=False, parse_int=_integer)  # not strict: control characters may stand in strings


class Item(NamedTuple):
    """A value that stands at a place where documents may stand, without the parts that are items of their own.

    path: keys from the top level down, joined by dots; lists on the way are not told.
    complete: False where the value goes on in the next item, with the same keys.
    is_rest: whether parts of it were items of their own.
    """

    path: str
    value: Any
    complete: bool = True
    is_rest: bool = False


def loads(text: str) -> Any:
    """One JSON value, read as leniently as in a stream.

    Raises:
      ValueError, RecursionError: it is broken, or nested too deeply.
    """
    return json.loads(text, strict=False, parse_int=_integer)


def split_items(value: Any, places: frozenset[str], path: str = "") -> Iterator[Item]:
    """The items of a value in memory; see JsonStream."""
    if isinstance(value, list):
        for element in value:
            yield from split_items(element, places, path)
    elif isinstance(value, dict):
        rest = {}
        for key, child in value.items():
            if isinstance(child, dict | list) and (at := join_keys(path, key)) in places:
                yield from split_items(child, places, at)
            else:
                rest[key] = child
        yield Item(path, rest, is_rest=len(rest) < len(value))
    else:
        yield Item(path, value)


def join_keys(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key
