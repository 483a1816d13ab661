"""Corpora as tables: the CSV and TSV releases, read row by row."""

import csv
import re
from collections import deque
from collections.abc import Iterator
from typing import BinaryIO

from data_gen.corpora.base import END, DataFault, Event, Faults, ReaderOptions, decoded_lines

ID_COLUMN, TEXT_COLUMN = "file_id", "sentence"
_QUOTED_FIELD = re.compile(r'(?:^|(?<=,))"(?:[^"]|"")*"(?=,|\r?\n?\Z)')
_OPEN_FIELD = re.compile(r'(?:^|,)"(?:[^"]|"")*\Z')
_MAX_LINES_OF_A_ROW = 200  # a quoted field that goes on for longer is one whose quotation mark never closes


def table_delimiter(header: str) -> str | None:
    """What separates the columns of a table whose first line this is; None where it lacks the columns needed."""
    for delimiter in "\t,":
        if {ID_COLUMN, TEXT_COLUMN} <= set(_columns(header, delimiter)):
            return delimiter
    return None


def _columns(header: str, delimiter: str) -> list[str]:
    return [name.strip().strip('"') for name in header.strip().split(delimiter)]


class NiklTable:
    """NIKL 비출판물: columns file_id and sentence; successive rows of one file_id are a document.

    In a CSV a quoted field may hold commas and newlines. In a TSV a row is a line, and quotation marks are text.
    """

    splittable = False  # a quoted field may hold a newline

    def starts_document(self, previous: bytes, line: bytes) -> bool:
        return False

    def events(self, stream: BinaryIO, options: ReaderOptions, faults: Faults) -> Iterator[Event]:
        lines = decoded_lines(stream, options.max_line_bytes, faults)
        header = next((line for line in lines if line.strip()), "")
        delimiter = table_delimiter(header)
        if delimiter is None:
            raise DataFault("CSV of another schema", f"found {header[:80]!r}, expected {ID_COLUMN} and {TEXT_COLUMN}")
        columns = _columns(header, delimiter)
        id_column, text_column = columns.index(ID_COLUMN), columns.index(TEXT_COLUMN)
        rows = _tsv_rows(lines) if delimiter == "\t" else _csv_rows(lines, len(columns), id_column, faults)
        current = None
        for row in rows:
            if len(row) <= max(id_column, text_column):
                faults.skip("CSV row with too few columns", delimiter.join(row)[:24])
                continue
            if current is not None and row[id_column] != current:
                yield END
            current = row[id_column]
            yield row[text_column]
        if current is not None:
            yield END


def _tsv_rows(lines: Iterator[str]) -> Iterator[list[str]]:
    for line in lines:
        if line.strip():
            yield [_unquoted(field) for field in line.rstrip("\r\n").split("\t")]


def _unquoted(field: str) -> str:
    """The field without quotation marks that a program put around it; those that a writer wrote stay.

    Only the former doubles the marks within: a field of one quoted sentence is left as it is.
    """
    inner = field[1:-1]
    is_quoted = len(field) > 2 and field[0] == field[-1] == '"'
    return inner.replace('""', '"') if is_quoted and '""' in inner and '"' not in inner.replace('""', "") else field


def _csv_rows(lines: Iterator[str], num_columns: int, id_column: int, faults: Faults) -> Iterator[list[str]]:
    """Rows of a CSV. A quotation mark that never closes, or only behind other rows, is text of its own row."""
    waiting: deque[str] = deque()
    while (line := waiting.popleft() if waiting else next(lines, None)) is not None:
        if not line.strip():
            continue
        row = [line]
        while _is_open("".join(row)):
            following = waiting.popleft() if waiting else next(lines, None)
            if (
                following is None
                or len(row) == _MAX_LINES_OF_A_ROW
                or _is_a_row(following, line, num_columns, id_column)
            ):
                faults.skip("CSV quotation mark that does not close", line[:24])
                waiting.extendleft(reversed(row[1:] if following is None else [*row[1:], following]))
                yield line.rstrip("\r\n").split(",", num_columns - 1)
                break
            row.append(following)
        else:
            yield _parsed("".join(row), num_columns)


def _is_open(row: str) -> bool:
    """Whether a quoted field, one that begins with a quotation mark, goes on behind the end."""
    return _OPEN_FIELD.search(_QUOTED_FIELD.sub("", row)) is not None


def _is_a_row(line: str, above: str, num_columns: int, id_column: int) -> bool:
    """Whether a line that may lie in a quoted field is rather the next row: as many columns, an id like the last."""
    fields, fields_above = line.split(","), above.split(",")
    enough = len(fields) >= num_columns and len(fields_above) > id_column
    return enough and _shape(fields[id_column]) == _shape(fields_above[id_column])


def _shape(field: str) -> str:
    return re.sub("[A-Za-z]+", "a", re.sub("[0-9]+", "0", field.strip('" ')))


def _parsed(row: str, num_columns: int) -> list[str]:
    csv.field_size_limit(max(csv.field_size_limit(), len(row)))  # of the whole process: never made smaller
    try:
        return next(csv.reader([row.rstrip("\r\n").replace("\r", " ")]))
    except csv.Error:
        return row.rstrip("\r\n").split(",", num_columns - 1)


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
