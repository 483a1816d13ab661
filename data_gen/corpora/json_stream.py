"""JSON read as a stream in bounded memory, as far as it can be read: a fault costs the value that it stands in.

A value is decoded whole where it is sound and small, which is nearly always; else it is opened and its parts are read
one by one. Raw control characters, NaN, Infinity, integers of any length, comments and a comma that is missing are no
faults here.
"""

import codecs
import json
import re
from collections.abc import Iterator
from typing import Any, BinaryIO

from data_gen.corpora.base import Faults
from data_gen.corpora.json_values import COMMENT, DECODER, Item, join_keys, loads, split_items

MAX_DEPTH = 64  # of what is opened; corpora stay below 10
_WINDOW = 1 << 18  # characters: a larger value is opened, and handed over in pieces of about this
_CHUNK_BYTES = 1 << 18
_OVERLAP = 256  # characters kept while looking for a place to go on: what marks it may lie across two chunks
_CUT_SHORT = 12  # an error this near to the end may be of a literal or an escape that goes on, as -Infinity

_BLANK = re.compile(r"[\s\ufeff]*")
_COMMENT = re.compile(COMMENT)
_KEY = re.compile(r'(?:"((?:[^"\\\n]|\\.)*)"|([^\W\d][\w.-]*))\s*:')
_OBJECT = re.compile(r'\{\s*"([^"\\\n]{0,100})"')
_STRAY_BRACE = re.compile(r'\}\s*,\s*\{\s*"([^"\\\n]{0,100})"')
_BRACKET = re.compile(r"[{}\[\]]")
_STRING_END = re.compile(r'(?:[^"\\]|\\.)*"', re.DOTALL)
_ESCAPE = re.compile(r'\\(["\\/bfnrt]|u[0-9a-fA-F]{4})?')
_NOT_UTF8 = re.compile("[\udc80-\udcff]")  # how bytes that are no UTF-8 stand in the text
# What stands between the end of an element's last text and the first key of the next element.
_NEXT_OBJECT = re.compile(r"[}\]\s]*[}\]]\s*,[\s\[]*\{\s*")
# Where reading goes on behind a broken value: before the comma of the next member, or where its object or list ends.
_NEXT_MEMBER = re.compile(r',\s*(?:"[^"\\\n]{0,100}"|[^\W\d]\w{0,100})\s*:|\}(?:\s*[,\]}]|\s*\Z|[^\S\n]*\n\s*\{)')
_NEXT_ELEMENT = re.compile(r"[,\]]")
_NEXT_TOP_LEVEL = re.compile(r'[{\[]\s*["{\[]')

_OVER_THE_LIMIT = "over the limit"
_LOST = object()  # a value that could not be read


class _Broken(Exception):
    """No sound value of the size allowed begins here; `args` are the position in the buffer and what is wrong."""


class JsonStream:
    """The items of a stream of UTF-8: what stands at the top level, and at `places` below it.

    Several values may stand at the top level one after the other, as in JSONL.
    """

    def __init__(
        self, stream: BinaryIO, places: frozenset[str], limit: int, faults: Faults, begins_at: tuple[int, int] = (0, 0)
    ):
        """`begins_at`: bytes and lines before the stream, in the file that faults are named in."""
        self._stream, self._places, self._limit, self._faults = stream, places, limit, faults
        self._decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
        self._text, self._position, self._ended = "", 0, False
        self._characters = 0  # before the buffer
        # A position in the buffer, and what lies before it in the stream: reckoned on from one fault to the next.
        self._reckoned = 0
        self._bytes, self._lines = begins_at
        self._resumed_at = -1  # where reading went on behind the last fault
        self._has_bad_bytes = False

    def items(self) -> Iterator[Item]:
        while character := self._peek():
            if character in "{[":
                yield from self._item("", 0)
            elif character == ",":
                self._position += 1
            else:
                self._resume(self._offset, self._position, "found no object or list", _NEXT_TOP_LEVEL)

    def _item(self, path: str, depth: int) -> Iterator[Item]:
        if self._peek() not in ("{", "["):
            value = self._scalar(_NEXT_ELEMENT)
            if value is not _LOST:
                yield Item(path, value)
            return
        try:
            value = self._whole(_WINDOW)
        except _Broken:
            if depth == MAX_DEPTH:
                self._give_up_nested()
            elif self._peek() == "[":
                for _ in self._elements():
                    yield from self._item(path, depth + 1)
            else:
                yield from self._opened_item(path, depth + 1)
        else:
            yield from split_items(value, self._places, path)

    def _opened_item(self, path: str, depth: int) -> Iterator[Item]:
        """An object too large or too broken to be decoded whole; its long lists come in pieces."""
        value: dict[str, Any] = {}
        begun, is_rest = self._offset, False
        for key in self._members():
            if self._peek() in ("{", "[") and join_keys(path, key) in self._places:
                is_rest = True
                yield from self._item(join_keys(path, key), depth)
            elif self._peek() == "[":
                rows = value[key] = []
                for _ in self._elements():
                    row = self._value(_NEXT_ELEMENT, depth + 1)
                    if row is not _LOST:
                        rows.append(row)
                    if self._offset - begun > _WINDOW:
                        yield Item(path, value, complete=False, is_rest=is_rest)
                        rows, begun = [], self._offset
                        value = {key: rows}
            else:
                part = self._value(_NEXT_MEMBER, depth + 1)
                if part is not _LOST:
                    value[key] = part
        yield Item(path, value, is_rest=is_rest)

    def _value(self, beyond: re.Pattern[str], depth: int) -> Any:
        """The value that begins here, without what is broken in it; `beyond` finds where it may end."""
        character = self._peek()
        if character not in ("{", "["):
            return self._scalar(beyond)
        try:
            return self._whole(_WINDOW)
        except _Broken:
            pass
        if depth >= MAX_DEPTH:
            self._give_up_nested()
            return _LOST
        begun = self._offset
        parts: Any = {} if character == "{" else []
        for key in self._members() if character == "{" else self._elements():
            part = self._value(_NEXT_MEMBER if character == "{" else _NEXT_ELEMENT, depth + 1)
            if part is _LOST:
                continue
            if self._offset - begun > self._limit:
                self._fault("JSON element over the limit", f"more than {self._limit} characters", self._offset)
            elif character == "{":
                parts[key] = part
            else:
                parts.append(part)
        return parts

    def _members(self) -> Iterator[str]:
        """Keys of the object that begins here; its values must be read in between."""
        self._position += 1
        while True:
            character = self._peek()
            if character == ",":
                self._position += 1
            elif character == "}":
                self._position += 1
                return
            elif character in ("", "]"):
                self._fault_here("an object without an end")
                return
            else:
                key = self._key()
                if key is not None:
                    yield key

    def _key(self) -> str | None:
        self._need(_OVERLAP)
        found = _KEY.match(self._text, self._position)
        if found is None:
            self._resume(self._offset, self._position, "found no key", _NEXT_MEMBER)
            return None
        self._position = found.end()
        key = found[1] if found[1] is not None else found[2]
        return json.loads(f'"{key}"') if "\\u" in key else key

    def _elements(self) -> Iterator[None]:
        """Stops before each element of the list that begins here; it must be read in between."""
        self._position += 1
        first_key = None
        while True:
            character = self._peek()
            if character == ",":
                self._position += 1
            elif character == "]":
                self._position += 1
                return
            elif character == "}" and first_key is not None and self._first_key(_STRAY_BRACE) == first_key:
                self._resume(self._offset, self._position + 1, "a brace that closes nothing", _NEXT_ELEMENT)
            elif character in ("", "}"):
                self._fault_here("a list without an end")
                return
            else:
                first_key = self._first_key(_OBJECT) or first_key
                yield

    def _first_key(self, pattern: re.Pattern[str]) -> str | None:
        self._need(_OVERLAP)
        found = pattern.match(self._text, self._position)
        return found[1] if found else None

    def _scalar(self, beyond: re.Pattern[str]) -> Any:
        """A string, number or literal, if what may follow one follows."""
        begun = self._offset
        try:
            value = self._whole(self._limit)
        except _Broken as error:
            position, what = error.args
            if what == _OVER_THE_LIMIT:
                self._skip_string(begun)
                return _LOST
            value = self._with_wrong_escapes() if what.startswith("Invalid") else _LOST
            if value is _LOST:
                self._resume(begun, position, what, beyond)
                return _LOST
        if self._peek() in (",", "}", "]", "") or (beyond is _NEXT_MEMBER and self._is_at_quoted_key(self._position)):
            return value
        end = self._end_of_open_string()
        if end is None:
            self._resume(begun, self._position, "found no comma behind a value", beyond)
        else:
            self._position = end
            self._lost(self._place(begun), "found no end of a string")
        return _LOST

    def _is_at_quoted_key(self, position: int) -> bool:
        return self._text.startswith('"', position) and _KEY.match(self._text, position) is not None

    def _end_of_open_string(self) -> int | None:
        """Where the string before the position ends if what closed it opens a key: before the comma or the brackets."""
        closed = len(self._text[: self._position].rstrip()) - 1
        if closed < 0 or not self._is_at_quoted_key(closed):
            return None
        inner = self._text[:closed]
        if inner.rstrip().endswith(","):
            return len(inner.rstrip()) - 1
        end = len(inner.rstrip("{}[], \t\r\n"))
        return end if _NEXT_OBJECT.fullmatch(inner, end) else None

    def _with_wrong_escapes(self) -> Any:
        """The string that begins here, where a backslash that begins no escape is one."""
        found = _STRING_END.match(self._text, self._position + 1)
        if found is None:
            return _LOST
        value = loads('"' + _ESCAPE.sub(lambda escape: escape[0] if escape[1] else r"\\", found[0]))
        self._position = found.end()
        return value

    def _whole(self, limit: int) -> Any:
        """The value that begins here. Raises _Broken where it is not sound, or longer than about `limit` characters."""
        while True:
            try:
                value, end = DECODER.raw_decode(self._text, self._position)
            except RecursionError:
                raise _Broken(self._position, "nested too deeply") from None
            except json.JSONDecodeError as error:
                cut_short = error.msg.startswith("Unterminated") or error.pos > len(self._text) - _CUT_SHORT
                if self._ended or not cut_short:
                    raise _Broken(error.pos, error.msg) from None
            else:
                if end < len(self._text) or self._ended:
                    begun, self._position = self._offset, end
                    return self._without_bad_bytes(value, begun) if self._has_bad_bytes else value
            if len(self._text) - self._position > limit:
                raise _Broken(self._position, _OVER_THE_LIMIT)
            self._fill()

    def _without_bad_bytes(self, value: Any, begun: int) -> Any:
        """The value without its strings that are not UTF-8."""
        if isinstance(value, str) and _NOT_UTF8.search(value):
            self._fault("JSON string not UTF-8", value[:24], begun, len(value.encode(errors="surrogateescape")))
            return None
        if isinstance(value, list):
            return [self._without_bad_bytes(element, begun) for element in value]
        if isinstance(value, dict):
            return {key: self._without_bad_bytes(element, begun) for key, element in value.items()}
        return value

    # What is broken, and where to go on.

    def _resume(self, begun: int, position: int, what: str, beyond: re.Pattern[str]) -> None:
        """Goes on at what `beyond` finds from `position` on; what lies between `begun` and there is lost."""
        self._go_on(self._place(begun), position, what, beyond)

    def _go_on(self, place: tuple[int, int], position: int, what: str, beyond: re.Pattern[str]) -> None:
        while True:
            ahead = position - self._position
            self._need(ahead + 2 * _OVERLAP)  # which moves the position in the buffer
            position = self._position + ahead
            found = beyond.search(self._text, position)
            if found and (found.end() < len(self._text) or self._ended):
                is_inside = beyond is not _NEXT_TOP_LEVEL
                self._position = self._balanced(position, found, beyond) if is_inside else found.start()
                break
            self._position = len(self._text) if self._ended else max(position, len(self._text) - _OVERLAP)
            if self._ended:
                break
            self._fill()
            position = 0
        self._lost(place, what)

    def _balanced(self, position: int, first: re.Match[str], beyond: re.Pattern[str]) -> int:
        """Where `beyond` is found, not within brackets that open behind `position`, if they close soon."""
        depth, end = 0, first.end() + _OVERLAP
        while bracket := _BRACKET.search(self._text, position, end):
            found = None if depth else beyond.search(self._text, position, bracket.end() + _OVERLAP)
            if found and found.start() <= bracket.start():
                return found.start()
            depth += 1 if bracket[0] in "{[" else -1
            if depth < 0:
                return bracket.start()
            position = bracket.end()
        found = None if depth else beyond.search(self._text, position, end)
        return found.start() if found else first.start()

    def _skip_string(self, begun: int) -> None:
        place = self._place(begun)
        self._position += 1
        while not (found := _STRING_END.match(self._text, self._position)) and not self._ended:
            self._position = len(self._text) - self._text.endswith("\\")
            self._fill()
        self._position = found.end() if found else len(self._text)
        self._lost(place, f"more than {self._limit} characters", "JSON string over the limit")

    def _give_up_nested(self) -> None:
        """Goes on behind the value that begins here, or at the first bracket in it that closes another one."""
        place = self._place(self._offset)
        closers = bytearray()
        while True:
            bracket = _BRACKET.search(self._text, self._position)
            if bracket is None:
                self._position = len(self._text)
                if self._ended:
                    break
                self._fill()
                continue
            if bracket[0] in "{[":
                closers.append(ord("}" if bracket[0] == "{" else "]"))
            elif closers.pop() != ord(bracket[0]):
                self._position = bracket.start()
                break
            self._position = bracket.end()
            if not closers:
                break
        self._lost(place, f"nested more than {MAX_DEPTH} deep")

    def _fault_here(self, what: str) -> None:
        if self._offset != self._resumed_at:  # one fault may leave several containers open
            self._lost(self._place(self._offset), what)

    def _lost(self, place: tuple[int, int], what: str, reason: str = "broken JSON") -> None:
        end, _ = self._place(self._offset)
        self._faults.skip_bytes(reason, what, place, end - place[0])
        self._resumed_at = self._offset

    def _fault(self, reason: str, what: object, begun: int, num_bytes: int = 0) -> None:
        self._faults.skip_bytes(reason, what, self._place(begun), num_bytes)

    # The buffer.

    @property
    def _offset(self) -> int:
        """Characters of the stream before the position."""
        return self._characters + self._position

    def _place(self, offset: int) -> tuple[int, int]:
        """Bytes, and lines, before a place of the stream that is not before the buffer; reckoned forwards only."""
        position = max(offset - self._characters, self._reckoned)
        between = self._text[self._reckoned : position]
        self._bytes += len(between.encode(errors="surrogateescape"))
        self._lines += between.count("\n")
        self._reckoned = position
        return self._bytes, self._lines

    def _peek(self) -> str:
        """The next character that is neither blank nor in a comment; "" at the end."""
        while True:
            self._position = _BLANK.match(self._text, self._position).end()  # type: ignore[union-attr]
            if self._text.startswith("/", self._position):
                comment = _COMMENT.match(self._text, self._position)
                if comment and (comment.end() < len(self._text) or self._ended):
                    self._position = comment.end()
                    continue
                if not self._ended and len(self._text) - self._position <= self._limit:
                    self._fill()
                    continue
            if self._position < len(self._text):
                return self._text[self._position]
            if self._ended:
                return ""
            self._fill()

    def _need(self, characters: int) -> None:
        while len(self._text) - self._position < characters and not self._ended:
            self._fill()

    def _fill(self) -> None:
        """Reads on, and lets go of what lies before the position."""
        self._place(self._offset)
        chunk = self._stream.read(_CHUNK_BYTES)
        self._ended = not chunk
        text = self._decoder.decode(chunk, self._ended)
        self._has_bad_bytes = self._has_bad_bytes or (not text.isascii() and _NOT_UTF8.search(text) is not None)
        self._characters += self._position
        self._text = self._text[self._position :] + text
        self._reckoned -= self._position
        self._position = 0
