"""The text of an HTML page, and where in it a stretch of the page went: KorQuAD 2 gives offsets into HTML."""

from bisect import bisect_left
from dataclasses import dataclass
from functools import lru_cache
from html import unescape
from html.parser import HTMLParser

INVISIBLE = frozenset({"script", "style"})
INLINE_NAMES = """a abbr b bdi bdo big cite code data del dfn em font i ins kbd mark q rb rp rt ruby s samp small span
strike strong sub sup time tt u var wbr"""
# Tags that flow with the words around them; at any other a line ends, at a cell's border a blank stands.
INLINE = frozenset(INLINE_NAMES.split())
CELLS = frozenset({"td", "th"})


@dataclass(frozen=True)
class HTMLText:
    """`text` without markup; `places[i]` is where the page has what became character i (never decreasing)."""

    text: str
    places: tuple[int, ...]

    def span(self, start: int, end: int) -> tuple[int, int]:
        """Characters of `text` that the page's [start, end) became, without white space at either end."""
        first, last = bisect_left(self.places, start), bisect_left(self.places, end)
        shown = self.text[first:last]
        return first + len(shown) - len(shown.lstrip()), max(first, last - len(shown) + len(shown.rstrip()))


@lru_cache(maxsize=4)  # rows that repeat their page follow one another
def html_text(page: str) -> HTMLText:
    parser = _TextParser(page)
    parser.feed(page)
    parser.close()
    return HTMLText("".join(parser.characters), tuple(parser.places))


class _TextParser(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=False)  # references are counted as they stand in the page
        self.characters: list[str] = []
        self.places: list[int] = []
        self._page = page
        self._invisible = 0
        self._line_starts = [0]
        for line in page.split("\n"):
            self._line_starts.append(self._line_starts[-1] + len(line) + 1)

    def _place(self) -> int:
        line, column = self.getpos()
        return self._line_starts[line - 1] + column

    def _separate(self, tag: str) -> None:
        if tag not in INLINE and self.characters and not self.characters[-1].isspace():
            self.characters.append(" " if tag in CELLS else "\n")
            self.places.append(self._place())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._invisible += tag in INVISIBLE
        self._separate(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._separate(tag)

    def handle_endtag(self, tag: str) -> None:
        self._invisible -= tag in INVISIBLE and self._invisible > 0
        self._separate(tag)

    def handle_data(self, data: str) -> None:
        self._show(data, len(data))

    def handle_entityref(self, name: str) -> None:
        self._refer(f"&{name}")

    def handle_charref(self, name: str) -> None:
        self._refer(f"&#{name}")

    def _refer(self, reference: str) -> None:
        end = self._place() + len(reference)
        reference += ";" if self._page[end : end + 1] == ";" else ""
        self._show(unescape(reference), len(reference))

    def _show(self, text: str, length: int) -> None:
        """`text` stands for `length` characters of the page: as they are, or all of it for the first of them."""
        if not self._invisible:
            place = self._place()
            self.characters.extend(text)
            self.places.extend(range(place, place + length) if len(text) == length else [place] * len(text))
