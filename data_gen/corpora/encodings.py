"""Which encoding a text is in, by its first bytes, and the text as UTF-8."""

import codecs
import io
import re
from typing import BinaryIO

UTF8, CP949 = "utf-8", "cp949"  # CP949 contains EUC-KR
_MARKS = {  # UTF-32 first: its mark begins with that of UTF-16
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_BROKEN_SHARE = 0.05  # of characters: a few broken bytes do not change the encoding
_HANGUL_SHARE = 0.8  # of Hangul and Hanja; Chinese and Japanese read as CP949 stay below 0.65
_READABLE_SHARE = 0.95
_CHUNK_BYTES = 1 << 18

_HANGUL = re.compile("[\uac00-\ud7a3\u3131-\u318e]")
_HANJA = re.compile("[\u3400-\u9fff\uf900-\ufaff]")
_READABLE = re.compile("[\t\n\r -~\u2010-\u2027\u3000-\u3020\u3131-\u318e\u4e00-\u9fff\uac00-\ud7a3\uff01-\uff5e]")


def _mark_broken(error: UnicodeError) -> tuple[str, int]:
    """What stands where nothing could be decoded: no UTF-8 either, so that readers find the fault and count it."""
    assert isinstance(error, UnicodeDecodeError)
    return "\udcff", error.end


codecs.register_error("kosplinter_broken", _mark_broken)


def text_encoding(head: bytes) -> str | None:
    """The codec of a text that begins with `head`, or None where it is no text in an encoding that is read.

    UTF-8 wherever it fits; else CP949 if the outcome is Korean; UTF-16 and UTF-32 by their mark or by what comes out.
    """
    for mark, encoding in _MARKS.items():
        if head.startswith(mark):
            return encoding if _is_writing(_decoded(head, encoding)) else None
    if b"\0" in head:
        for encoding in ("utf-16-le", "utf-16-be"):
            if _is_readable(head, encoding):
                return encoding
    if _broken_share(_decoded(head, UTF8)) <= _BROKEN_SHARE:
        return UTF8
    if _is_korean(_decoded(head, CP949)):
        return CP949
    return UTF8 if _has_lines_of_utf8(head) else None


def _decoded(head: bytes, encoding: str) -> str:
    """Without a character that the end of the head cuts."""
    return codecs.getincrementaldecoder(encoding)("replace").decode(head)


def _broken_share(text: str) -> float:
    return (text.count("\ufffd") + text.count("\0")) / max(len(text), 1)


def _has_lines_of_utf8(head: bytes) -> bool:
    """Whether most lines are, and show it: a file put together of files in several encodings."""
    lines = [line for line in head.split(b"\n") if line.strip() and not line.isascii()]
    return sum(_broken_share(line.decode(UTF8, "replace")) == 0 for line in lines) > len(lines) / 2


def _is_writing(text: str) -> bool:
    """Whether the characters are mostly letters of whatever script: bytes that only look like a mark are not followed
    by such."""
    return sum(each.isalnum() or each.isspace() or each.isascii() for each in text) >= len(text) // 2


def _is_readable(head: bytes, encoding: str) -> bool:
    text = _decoded(head, encoding)
    return len(_READABLE.findall(text)) >= _READABLE_SHARE * len(text)


def _is_korean(text: str) -> bool:
    hangul, hanja = len(_HANGUL.findall(text)), len(_HANJA.findall(text))
    return _broken_share(text) <= _BROKEN_SHARE and hangul > 0 and hangul >= _HANGUL_SHARE * (hangul + hanja)


class _AsUtf8(io.RawIOBase):
    def __init__(self, stream: BinaryIO, encoding: str, ends_with_cr: bool):
        self._stream, self._pending, self._ended = stream, b"", False
        decoder = codecs.getincrementaldecoder(encoding)("kosplinter_broken")
        self._decoder = io.IncrementalNewlineDecoder(decoder, translate=True) if ends_with_cr else decoder

    def readable(self) -> bool:
        return True

    def readinto(self, buffer) -> int:  # type: ignore[no-untyped-def]
        while not self._pending and not self._ended:
            chunk = self._stream.read(_CHUNK_BYTES)
            self._ended = not chunk
            self._pending = self._decoder.decode(chunk, self._ended).encode("utf-8", "surrogateescape")
        taken = self._pending[: len(buffer)]
        buffer[: len(taken)] = taken
        self._pending = self._pending[len(taken) :]
        return len(taken)


def as_utf8(stream: BinaryIO, encoding: str, ends_with_cr: bool = False) -> io.BufferedReader:
    """The stream in UTF-8; what is broken in it is no UTF-8 there either.

    With `ends_with_cr` lines may end with a carriage return, as on old Macs, and end with a newline here.
    """
    return io.BufferedReader(_AsUtf8(stream, encoding, ends_with_cr), _CHUNK_BYTES)
