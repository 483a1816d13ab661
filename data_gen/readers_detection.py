"""Which format a text has, by its first bytes; the table of formats."""

import csv
import io
import re

import ijson

from data_gen.readers_base import CorpusFormat
from data_gen.readers_json import AiHub, Nikl
from data_gen.readers_lines import AiHubTsv, JsonLines, NiklCsv, PlainText, TokenizedText, WikiExtracts

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
CORPUS_FORMATS = ("auto", "wiki", "text", "tokenized", "jsonl", "nikl", "aihub")  # what --corpus_format takes

_TSV_LINES, _MIN_MARKS, _TOKENIZED_SHARE = 20, 5, 0.9
_SENTENCE_MARK = re.compile(r"(\s?)[.,?!](?=\s|$)")


def choose_format(corpus_format: str, head: bytes) -> str | None:
    """Name in FORMATS of what `head`, the first bytes of a text, looks like; None where it is no text.

    A format that was asked for is obeyed; the content still tells the JSON from the CSV or TSV release of a corpus.
    """
    if b"\0" in head:
        return None
    found = _detect(head.removeprefix(b"\xef\xbb\xbf"))
    family = found.split("_")[0]
    return found if corpus_format in ("auto", family) else corpus_format


def _detect(head: bytes) -> str:
    start = head.lstrip()
    if start.startswith((b"<doc ", b"<doc>")):
        return "wiki"
    text = head.decode("utf-8", "replace")
    return (_json_format(start) if start[:1] in (b"{", b"[") else None) or _table_format(text) or _prose_format(text)


def _json_format(start: bytes) -> str | None:
    keys: set[str] = set()  # paths with their kind, as far as the head goes
    try:
        for prefix, event, value in ijson.parse(io.BytesIO(start), use_float=True, multiple_values=True):
            if event == "map_key":
                keys.add(f"{prefix}.{value}".lstrip("."))
            elif event == "start_array":
                keys.add(f"{prefix}[]")
    except ijson.JSONError:
        pass  # the head ends in the middle of a value, or the JSON is broken: what was seen must do
    if not keys - {"[]"}:
        return None  # plain text may begin with a bracket: [서울=뉴시스]
    if "document[]" in keys:
        return "nikl"
    sentences = any({f"{item}doc_id", f"{item}sentno"} <= keys for item in ("", "item.", "data.item."))
    if sentences or "[]" in keys or (keys & {"data[]", "paragraphs[]", "named_entity[]"} and "text" not in keys):
        return "aihub"
    return "jsonl"


def _table_format(text: str) -> str | None:
    lines = text.split("\n")
    header = lines[0].rstrip("\r")
    for delimiter in ",\t":
        if {"file_id", "sentence"} <= set(next(csv.reader([header], delimiter=delimiter), [])):
            return "nikl_csv"
    complete = [line for line in lines[:-1] if line.strip()][:_TSV_LINES] or [header]
    return "aihub_tsv" if all(re.match(r"[^\s.]+\.[^\s.]+[^\t]*\t.", line) for line in complete) else None


def _prose_format(text: str) -> str:
    marks = _SENTENCE_MARK.findall(text)
    apart = sum(bool(space) for space in marks)
    return "tokenized" if len(marks) >= _MIN_MARKS and apart >= _TOKENIZED_SHARE * len(marks) else "text"
