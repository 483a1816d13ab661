"""Line-based corpora: wiki extracts, wikitext, plain text, pre-tokenised books, and JSONL."""

import html
import io
import re
from collections.abc import Iterator
from typing import BinaryIO, ClassVar, NamedTuple

from data_gen.corpora.base import END, UTF8_MARK, Event, Faults, ReaderOptions, bounded_lines, decoded_lines
from data_gen.corpora.json_layouts import PLACES, ItemDocuments
from data_gen.corpora.json_stream import JsonStream
from data_gen.corpora.json_values import Item, loads, split_items


class WikiExtracts:
    """`<doc …>`, a title line, paragraphs, `</doc>`; text has HTML entities, as WikiExtractor writes it.

    The marks begin a line, or end one, or follow each other; within a line they are text.
    """

    splittable = True

    # Some versions do not escape quotation marks in titles: such a mark ends with its line.
    _OPENING = r"<doc(?:\s+[\w:-]+=(?:\"[^\"]*\"|'[^']*'))+\s*>|<doc\s+id=.*>\s*$|<doc>\s*$"
    _BEGINNING = re.compile(_OPENING)
    _CLOSING = re.compile(rf"</doc>(?=\s*(?:$|{_OPENING}))")
    # What stands where a formula or code was left out: no word, and no answer.
    _PLACEHOLDER = re.compile(r"(?<![A-Za-z0-9_])(?:formula|codice)_[0-9]+")

    def starts_document(self, previous: bytes, line: bytes) -> bool:
        return line.startswith(b"<doc") and self._BEGINNING.match(line.decode("utf-8", "replace")) is not None

    def events(self, stream: BinaryIO, options: ReaderOptions, faults: Faults) -> Iterator[Event]:
        inside = False
        for line in decoded_lines(stream, options.max_line_bytes, faults):
            pieces = self._CLOSING.split(line) if "</doc>" in line else [line]
            for number, piece in enumerate(pieces):
                if number:  # behind </doc>
                    if inside:
                        yield END
                    inside = False
                    piece = piece.lstrip()
                if mark := self._BEGINNING.match(piece) if piece.startswith("<doc") else None:
                    if inside:
                        yield END
                    inside = True
                    piece = piece[mark.end() :]
                if inside:
                    yield html.unescape(self.without_placeholders(piece))
                elif piece.strip():
                    faults.skip("line outside <doc>", piece[:24])
        if inside:
            yield END

    @classmethod
    def without_placeholders(cls, text: str) -> str:
        return cls._PLACEHOLDER.sub("", text) if "_" in text else text


class PlainText:
    """One segment a line; blank lines between documents. Or one document a line."""

    splittable = True

    def __init__(self, document_per_line: bool = False):
        self._document_per_line = document_per_line

    def starts_document(self, previous: bytes, line: bytes) -> bool:
        return (self._document_per_line or not previous.strip()) and bool(line.strip())

    def events(self, stream: BinaryIO, options: ReaderOptions, faults: Faults) -> Iterator[Event]:
        inside = False
        for line in decoded_lines(stream, options.max_line_bytes, faults):
            if line.strip():
                inside = True
                yield self.segment(line)
            if inside and (self._document_per_line or not line.strip()):
                inside = False
                yield END
        if inside:
            yield END

    def segment(self, line: str) -> str:
        return line


class TokenizedText(PlainText):
    """BookCorpus style: as plain text, but tokens are separated by spaces and brackets and quotes may be escaped."""

    # The Penn Treebank's spellings of characters that its own notation uses.
    _ESCAPES: ClassVar = {"``": '"', "''": '"', "-lrb-": "(", "-rrb-": ")", "-lsb-": "[", "-rsb-": "]"}

    def segment(self, line: str) -> str:
        return " ".join(self._ESCAPES.get(token.lower(), token) for token in line.split())


class Heading(NamedTuple):
    """A heading of wikitext; of level 1 is an article's title."""

    text: str
    level: int


class WikiText:
    """Wikitext: ` = Title = ` begins a document, ` = = Section = = ` or ` == Section == ` does not.

    The tokenised release writes @-@, @,@ and @.@ within words and numbers, and <unk> for rare words.
    """

    splittable = True

    _JOINED = re.compile(r" @([-,.])@ ")

    @staticmethod
    def heading(line: str) -> Heading | None:
        line = line.strip()
        text = line.strip("= ")
        before, _, behind = line.partition(text) if text else ("", "", "")
        if not (before.startswith("=") and before.endswith(" ") and behind.startswith(" ") and behind.endswith("=")):
            return None
        return Heading(text, before.count("="))

    @classmethod
    def is_title(cls, line: str) -> bool:
        heading = cls.heading(line)
        return heading is not None and heading.level == 1

    def starts_document(self, previous: bytes, line: bytes) -> bool:
        return line.lstrip().startswith(b"= ") and self.is_title(line.decode("utf-8", "replace"))

    def events(self, stream: BinaryIO, options: ReaderOptions, faults: Faults) -> Iterator[Event]:
        inside = False
        for line in decoded_lines(stream, options.max_line_bytes, faults):
            if not line.strip():
                continue
            if inside and self.is_title(line):
                yield END
            inside = True
            heading = self.heading(line)
            yield self._JOINED.sub(r"\1", heading.text if heading else line).replace("<unk>", " ")
        if inside:
            yield END


class JsonLines:
    """One JSON object a line, text under one key, paragraphs split at newlines; without the key, any layout of JSON."""

    splittable = True

    def starts_document(self, previous: bytes, line: bytes) -> bool:
        return True

    def events(self, stream: BinaryIO, options: ReaderOptions, faults: Faults) -> Iterator[Event]:
        documents = ItemDocuments(options, faults)
        place = (0, 0)
        for line in bounded_lines(stream, options.max_line_bytes, faults):
            for item in self._items(line, options, faults, place):
                text = _text_of_line(item, options)
                if text is not None:
                    yield from documents.end()
                    yield WikiExtracts.without_placeholders(text)
                    yield END
                else:
                    yield from documents.add(item)
            place = (place[0] + len(line), place[1] + 1)
        yield from documents.end()

    def _items(self, line: bytes, options: ReaderOptions, faults: Faults, place: tuple[int, int]) -> Iterator[Item]:
        """The items of a line; of a broken one, what can be read."""
        if not line.strip():
            return
        try:
            value = loads(line.decode("utf-8-sig"))
        except (ValueError, RecursionError):
            here = io.BytesIO(line.removeprefix(UTF8_MARK))
            items = JsonStream(here, PLACES, options.max_line_bytes, faults, place).items()
            yield from (item for item in items if item.value)
        else:
            line_of_text = Item("", value)
            yield from [line_of_text] if _text_of_line(line_of_text, options) else split_items(value, PLACES)


def _text_of_line(item: Item, options: ReaderOptions) -> str | None:
    """The text of an object that is a line's document; what else the object holds describes it."""
    is_document = item.path == "" and isinstance(item.value, dict)
    text = item.value.get(options.json_text_key) if is_document else None
    return text if isinstance(text, str) else None
