"""The table of formats, and which of them a text has by its first bytes."""

import re

from data_gen.corpora.base import CorpusFormat
from data_gen.corpora.encodings import text_encoding
from data_gen.corpora.json_layouts import PLACES, JsonCorpus
from data_gen.corpora.json_values import COMMENT, loads
from data_gen.corpora.line_layouts import JsonLines, PlainText, TokenizedText, WikiExtracts, WikiText
from data_gen.corpora.table_layouts import AiHubTsv, NiklTable, table_delimiter

FORMATS: dict[str, CorpusFormat] = {
    "wiki": WikiExtracts(),
    "wikitext": WikiText(),
    "text": PlainText(),
    "tokenized": TokenizedText(),
    "jsonl": JsonLines(),
    "json": JsonCorpus(),
    "nikl_table": NiklTable(),
    "aihub_tsv": AiHubTsv(),
}
DOCUMENT_PER_LINE = {"text": PlainText(True), "tokenized": TokenizedText(True)}  # the same, where lines are documents
# What --corpus_format takes. JSON of NIKL and AI Hub is told apart by its keys, whichever of the two was asked for.
CORPUS_FORMATS = ("auto", "wiki", "wikitext", "text", "tokenized", "jsonl", "json", "nikl", "aihub")
_TABLES = {"nikl": "nikl_table", "aihub": "aihub_tsv"}

_TSV_LINES = 20  # that must all have the id of a document
_MIN_MARKS, _TOKENIZED_SHARE = 5, 0.9  # sentence marks; those that must stand apart from the word before
_SENTENCE_MARK = re.compile(r"(\s?)[.,?!](?=\s|$)")
_ID_AND_TEXT = re.compile(r"[^\s.]+\.[^\s.][^\t]*\t.")
# Plain text, too, may begin with a bracket, as in [서울=뉴시스] or [1].
_BEGINNING = re.compile(rf"((?:\s|{COMMENT})*)([{{\[]?)((?:\s|{COMMENT})*)")
_JSON = re.compile(r'\{\s*(?:"|\}|[^\W\d]\w*\s*:|\Z)|\[\s*(?:[{\[]|\]|\Z|"(?:[^"\\]|\\.)*(?:"\s*(?:[,\]]|\Z)|\Z))')
_KEY_OF_TEXT = re.compile(r'"text"\s*:')


def choose_format(corpus_format: str, head: bytes, encoding: str | None = None) -> str | None:
    """Name in FORMATS of what `head`, the first bytes of a text, looks like; None where it is no text.

    A format that was asked for is obeyed; the content still tells JSON Lines from JSON over many lines, and a corpus'
    JSON from its release as a table. The encoding is looked for where it is not given.
    """
    encoding = encoding or text_encoding(head)
    if encoding is None:
        return None
    text = _without_comments(head.decode(encoding, "replace").lstrip("\ufeff \t\r\n\0"))
    if corpus_format == "auto":
        return _json_format(text) or _line_format(text)
    if corpus_format in ("json", "jsonl", "nikl", "aihub") and _JSON.match(text):
        return "json" if corpus_format != "jsonl" else _lines_or_one(text)
    return {"json": "jsonl", **_TABLES}.get(corpus_format, corpus_format)


def _without_comments(text: str) -> str:
    """The text without the comments before JSON and behind its first bracket; other text as it is."""
    before, bracket, behind = _BEGINNING.match(text).groups()  # type: ignore[union-attr]
    if not bracket or "/" not in before + behind:
        return text
    return bracket + re.sub(COMMENT, "\n", behind) + text[len(before + bracket + behind) :]


def _json_format(text: str) -> str | None:
    """None where no JSON object or list begins."""
    if not _JSON.match(text):
        return None
    if text.startswith("["):
        return "json"
    first_line = text.split("\n", 1)[0]
    try:
        value = loads(first_line)
    except (ValueError, RecursionError):  # broken, or longer than the head, or not a line of JSON Lines
        if "\n" in text:
            return _lines_or_one(text)
        is_corpus = any(re.search(rf'"{re.escape(place)}"\s*:\s*[\[{{]', first_line) for place in PLACES)
        return "json" if is_corpus or not _KEY_OF_TEXT.search(first_line) else "jsonl"
    if "doc_id" in value and "sentno" in value:
        return "json"
    is_alone = not text[len(first_line) :].strip()  # else "text" is each line's document, whatever stands beside it
    places = {key for key in value.keys() & PLACES if not is_alone or isinstance(value[key], list | dict)}
    return "json" if places and ("text" not in value or is_alone) else "jsonl"


def _lines_or_one(text: str) -> str:
    """Whether each line is a JSON object of its own, broken or not, or one object lies on many lines."""
    first, _, rest = text.partition("\n")
    second = next((line for line in rest.split("\n") if line.strip()), "")
    alone = first.rstrip().endswith("}") or not rest.strip()
    return "jsonl" if alone or second.startswith("{") else "json"


def _line_format(text: str) -> str:
    if re.match(r"<doc[\s>]", text):
        return "wiki"
    lines = text.split("\n")
    if WikiText.is_title(lines[0]) or _has_wikitext_headings(lines):
        return "wikitext"
    if table_delimiter(re.split("[\r\n]", text, maxsplit=1)[0]):
        return "nikl_table"
    complete = [line for line in lines[:-1] if line.strip()][:_TSV_LINES] or lines[:1]
    if all(map(_ID_AND_TEXT.match, complete)):
        return "aihub_tsv"
    marks = _SENTENCE_MARK.findall(text)
    apart = sum(bool(space) for space in marks)
    return "tokenized" if len(marks) >= _MIN_MARKS and apart >= _TOKENIZED_SHARE * len(marks) else "text"


def _has_wikitext_headings(lines: list[str]) -> bool:
    """Of a file that begins within an article: a title, and a section."""
    levels = {heading.level for heading in map(WikiText.heading, lines) if heading}
    return 1 in levels and len(levels) > 1
