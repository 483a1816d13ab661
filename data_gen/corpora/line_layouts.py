"""Line-based corpora: wiki extracts, plain text, pre-tokenised books, JSONL, and the CSV and TSV releases."""

import csv
import html
import json
from collections.abc import Iterator
from typing import BinaryIO, ClassVar

from data_gen.corpora.base import END, DataFault, Event, Faults, ReaderOptions, decoded_lines


class WikiExtracts:
    """`<doc …>`, a title line, paragraphs, `</doc>`; text has HTML entities, as WikiExtractor writes it."""

    splittable = True

    def starts_document(self, previous: bytes, line: bytes) -> bool:
        return line.startswith((b"<doc ", b"<doc>"))

    def events(self, stream: BinaryIO, options: ReaderOptions, faults: Faults) -> Iterator[Event]:
        inside = False
        for line in decoded_lines(stream, options.max_line_bytes, faults):
            if line.startswith(("<doc ", "<doc>")):
                if inside:
                    yield END
                inside = True
            elif line.startswith("</doc>"):
                if inside:
                    yield END
                inside = False
            elif inside:
                yield html.unescape(line)
            elif line.strip():
                faults.skip("line outside <doc>", line[:24])
        if inside:
            yield END


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


class JsonLines:
    """One JSON object a line, text under one key, paragraphs split at newlines."""

    splittable = True

    def starts_document(self, previous: bytes, line: bytes) -> bool:
        return True

    def events(self, stream: BinaryIO, options: ReaderOptions, faults: Faults) -> Iterator[Event]:
        for line in decoded_lines(stream, options.max_line_bytes, faults):
            if not line.strip():
                continue
            try:
                document = json.loads(line)
            except (ValueError, RecursionError) as error:
                faults.skip("broken JSON", error)
                continue
            text = document.get(options.json_text_key) if isinstance(document, dict) else None
            if isinstance(text, str):
                yield text
                yield END
            else:
                faults.skip("JSON of another schema", f"no text under {options.json_text_key!r} in {line[:48]!r}")


class NiklCsv:
    """NIKL 비출판물: CSV (or TSV) with columns file_id and sentence; successive rows of one file_id are a document."""

    splittable = False  # a quoted field may hold a newline

    def starts_document(self, previous: bytes, line: bytes) -> bool:
        return False

    def events(self, stream: BinaryIO, options: ReaderOptions, faults: Faults) -> Iterator[Event]:
        lines = decoded_lines(stream, options.max_line_bytes, faults)
        header = next(lines, "")
        delimiter = "\t" if "\t" in header else ","
        columns = next(csv.reader([header], delimiter=delimiter))
        if "file_id" not in columns or "sentence" not in columns:
            raise DataFault("CSV of another schema", f"columns {columns[:8]}, expected file_id and sentence")
        id_column, text_column = columns.index("file_id"), columns.index("sentence")
        current = None
        csv.field_size_limit(options.max_line_bytes)
        rows = csv.reader(lines, delimiter=delimiter)
        try:
            for row in rows:
                if len(row) <= max(id_column, text_column):
                    if row:
                        faults.skip("CSV row with too few columns", f"line {rows.line_num + 1}")
                    continue
                if current is not None and row[id_column] != current:
                    yield END
                current = row[id_column]
                yield row[text_column]
        except csv.Error as error:
            raise DataFault("broken CSV", error) from error
        if current is not None:
            yield END


class AiHubTsv:
    """AI Hub 대규모 구매도서, sample release: an id whose second dot-separated field is the document, a tab, text."""

    splittable = True

    def starts_document(self, previous: bytes, line: bytes) -> bool:
        try:
            before, here = (_document_field(each.decode()) for each in (previous, line))
        except UnicodeDecodeError:
            return False
        return before is not None and here is not None and before != here

    def events(self, stream: BinaryIO, options: ReaderOptions, faults: Faults) -> Iterator[Event]:
        current = None
        for line in decoded_lines(stream, options.max_line_bytes, faults):
            document, columns = _document_field(line), line.rstrip("\r\n").split("\t")
            if document is None or len(columns) < 2:
                if line.strip():
                    faults.skip("TSV line without id and text", line[:24])
                continue
            if current is not None and document != current:
                yield END
            current = document
            yield columns[1]
        if current is not None:
            yield END


def _document_field(line: str) -> str | None:
    fields = line.split("\t", 1)[0].split(".")
    return fields[1] if len(fields) > 1 else None
