"""Text of HTML: what a reader of the page would see, a line for each block."""

import re
from html.parser import HTMLParser

_IS_MARKED_UP = re.compile(
    r"\s*<(?:!doctype|html|head|body|p|div|span|br|h[1-6]|ul|ol|li|table|article|section)\b", re.I
)
_BLOCKS = frozenset(
    (
        *("p", "br", "hr", "div", "h1", "h2", "h3", "h4", "h5", "h6", "ul", "ol", "li", "dl", "dt", "dd", "table"),
        *("caption", "tr", "article", "section", "header", "footer", "blockquote", "pre", "figure", "figcaption"),
        *("title", "body"),
    )
)
_UNSEEN = frozenset(("script", "style", "head", "template"))


def is_marked_up(text: str) -> bool:
    """Whether text begins with a tag of HTML; only then are its entities, too, mark-up."""
    return _IS_MARKED_UP.match(text) is not None


def text_of_html(markup: str) -> str:
    """The text of a page or a part of one; cells of a table stand apart by a space, blocks on lines of their own."""
    parser = _TextParser()
    parser.feed(markup)
    parser.close()
    return "".join(parser.pieces)


class _TextParser(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.pieces: list[str] = []
        self._unseen = ""

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag in _UNSEEN and not self._unseen:
            self._unseen = tag
        self._break(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag == self._unseen:
            self._unseen = ""
        self._break(tag)

    def _break(self, tag: str) -> None:
        if tag in _BLOCKS:
            self.pieces.append("\n")
        elif tag in ("td", "th"):
            self.pieces.append(" ")

    def handle_data(self, data: str) -> None:
        if not self._unseen:  # a line end within a block is a space
            self.pieces.append(re.sub(r"\s+", " ", data))
