"""The table of formats, and which of them a text has by its first bytes."""

import csv
import io
import re

import ijson

from data_gen.corpora.base import CorpusFormat
from data_gen.corpora.json_layouts import AiHub, Nikl
from data_gen.corpora.line_layouts import AiHubTsv, JsonLines, NiklCsv, PlainText, TokenizedText, WikiExtracts

FORMATS: dict[str, CorpusFormat] = {
    "wiki": WikiExtracts(),
    "text": PlainText(),
    "tokenized": TokenizedText(),
    "jsonl": JsonLines(),
    "nikl": Nikl(),
    "nikl_csv": NiklCsv(),
    "aihub": AiHub(),
    "aihub_tsv": AiHubTsv(),
}
DOCUMENT_PER_LINE = {"text": PlainText(True), "tokenized": TokenizedText(True)}  # the same, where lines are documents
CORPUS_FORMATS = ("auto", "wiki", "text", "tokenized", "jsonl", "nikl", "aihub")  # what --corpus_format takes
_TABLES = {"nikl": "nikl_csv", "aihub": "aihub_tsv"}

_BROKEN_SHARE = 0.05  # of characters; Korean in CP949 or UTF-16 reads as far more broken UTF-8
_TSV_LINES = 20  # that must all have the id of a document
_MIN_MARKS, _TOKENIZED_SHARE = 5, 0.9  # sentence marks; those that must stand apart from the word before
_SENTENCE_MARK = re.compile(r"(\s?)[.,?!](?=\s|$)")
_ID_AND_TEXT = re.compile(r"[^\s.]+\.[^\s.][^\t]*\t.")


def choose_format(corpus_format: str, head: bytes) -> str | None:
    """Name in FORMATS of what `head`, the first bytes of a text, looks like; None where it is no UTF-8 text.

    A format that was asked for is obeyed; the content still tells a corpus' JSON from its release as a table.
    """
    text = head.decode("utf-8", "replace").removeprefix("\ufeff")
    if text.count("\ufffd") + text.count("\0") > _BROKEN_SHARE * len(text) + 1:  # + 1: a cut character
        return None
    text = text.lstrip()
    if corpus_format == "auto":
        return _json_format(text) or _line_format(text)
    return corpus_format if text.startswith(("{", "[")) else _TABLES.get(corpus_format, corpus_format)


def _json_format(text: str) -> str | None:
    """None where no JSON object begins: plain text, too, may start with a bracket, as in [서울=뉴시스]."""
    if not text.startswith(("{", "[")):
        return None
    seen: set[str] = set()  # paths of keys, and of lists with [] behind
    try:
        for prefix, event, value in ijson.parse(io.BytesIO(text.encode()), use_float=True, multiple_values=True):
            if event == "map_key":
                seen.add(f"{prefix}.{value}".lstrip("."))
            elif event == "start_array":
                seen.add(f"{prefix}[]")
            elif event == "end_map":
                seen.add("{}")
    except ijson.JSONError:
        pass  # the head ends within a value, or the JSON is broken: what was seen decides
    if not seen - {"[]"}:
        return None
    if "document[]" in seen:
        return "nikl"
    lists = bool(seen & {"[]", "data[]", "paragraphs[]", "named_entity[]"}) and "text" not in seen
    return "aihub" if lists or {"doc_id", "sentno"} <= seen else "jsonl"


def _line_format(text: str) -> str:
    if text.startswith(("<doc ", "<doc>")):
        return "wiki"
    lines = text.split("\n")
    header = lines[0].rstrip("\r")
    if any({"file_id", "sentence"} <= set(next(csv.reader([header], delimiter=each), [])) for each in ",\t"):
        return "nikl_csv"
    complete = [line for line in lines[:-1] if line.strip()][:_TSV_LINES] or [header]
    if all(map(_ID_AND_TEXT.match, complete)):
        return "aihub_tsv"
    marks = _SENTENCE_MARK.findall(text)
    apart = sum(bool(space) for space in marks)
    return "tokenized" if len(marks) >= _MIN_MARKS and apart >= _TOKENIZED_SHARE * len(marks) else "text"
