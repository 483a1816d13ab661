"""JSON corpora too large for memory, read as a stream of events: NIKL 모두의 말뭉치 and AI Hub."""

import html
import re
from collections.abc import Iterator
from typing import BinaryIO, ClassVar

import ijson

from data_gen.corpora.base import END, DataFault, Event, Faults, ReaderOptions


class _QuoteGuard:
    """A stream that refuses a longer run of bytes without a quotation mark than the limit: no string fills memory."""

    def __init__(self, stream: BinaryIO, limit: int):
        self._stream, self._limit, self._run = stream, limit, 0

    def read(self, size: int = -1) -> bytes:
        chunk = self._stream.read(size)
        last_quote = chunk.rfind(b'"')
        self._run = self._run + len(chunk) if last_quote < 0 else len(chunk) - last_quote
        if self._run > self._limit:
            raise DataFault("JSON string over the limit", f"more than {self._limit} bytes")
        return chunk


def _json_events(stream: BinaryIO, options: ReaderOptions) -> Iterator[tuple[str, str, object]]:
    """(prefix, event, value) of each JSON token; several top-level values may follow each other, as in JSONL."""
    try:
        yield from ijson.parse(_QuoteGuard(stream, options.max_line_bytes), use_float=True, multiple_values=True)
    except (ijson.JSONError, UnicodeDecodeError) as error:
        raise DataFault("broken JSON", str(error).split("\n")[0].strip()) from error


class SpeechMarks:
    """What NIKL writes where speech is anonymised (`&name&`) or was not understood (`(())`, `((xx))`, `-`)."""

    # Plain words for the kinds of anonymised names; 아무개, "so-and-so", for persons and whatever else.
    WORDS: ClassVar = {"company-name": "회사", "affiliation": "소속", "address": "주소", "tel-num": "전화번호"}
    PERSON = "아무개"
    _ANONYMISED = re.compile(r"&([a-z]+(?:-[a-z]+)*)[0-9]*&")
    _UNHEARD = re.compile(r"\(\(x*\)\)|(?<!\S)-+(?!\S)")
    _GUESSED = re.compile(r"\(\(([^()]*)\)\)")  # the transcriber's guess is kept, its brackets are not

    def __init__(self, options: ReaderOptions):
        self._anonymised, self._unheard = options.anonymised_speech, options.unheard_speech

    def written(self, text: str) -> str:
        """Text of the written corpora, where only names are marked."""
        if self._anonymised == "keep" or "&" not in text:
            return text
        word = self._anonymised == "word"
        return self._ANONYMISED.sub(lambda mark: self.WORDS.get(mark[1], self.PERSON) if word else "", text)

    def spoken(self, text: str) -> str:
        if self._unheard == "remove":
            text = self._GUESSED.sub(r"\1", self._UNHEARD.sub(" ", text))
        return self.written(text)


class Nikl:
    """NIKL 모두의 말뭉치 JSON in all its kinds: paragraphs of written, utterances of spoken documents.

    A paragraph is a segment. Of utterances, a speaker's turn is a segment: consecutive ones of one speaker_id.
    """

    splittable = False

    _PARAGRAPH, _UTTERANCE = "document.item.paragraph.item", "document.item.utterance.item"
    _TAGGED = re.compile(r"\s*<p\b")
    _TAG = re.compile(r"</?(?:p|br)\b[^>]*>")

    def starts_document(self, previous: bytes, line: bytes) -> bool:
        return False

    def events(self, stream: BinaryIO, options: ReaderOptions, faults: Faults) -> Iterator[Event]:
        marks = SpeechMarks(options)
        fields: dict[str, str] = {}
        turn, speaker = "", ""
        known = False
        for prefix, event, value in _json_events(stream, options):
            parent, _, key = prefix.rpartition(".")
            if event == "string" and parent in (self._PARAGRAPH, self._UTTERANCE):
                fields[key] = str(value)
            elif event == "end_map" and prefix == self._PARAGRAPH:
                yield self._paragraph(self._form(fields), marks)
                fields = {}
            elif event == "end_map" and prefix == self._UTTERANCE:
                said, said_by = marks.spoken(" ".join(self._form(fields).split())), fields.get("speaker_id", "")
                if turn and (not said_by or said_by != speaker or len(turn) > options.max_document_characters):
                    yield turn
                    turn = ""
                turn, speaker = f"{turn} {said}".strip(), said_by
                fields = {}
            elif event == "end_map" and prefix == "document.item":
                yield turn
                yield END
                turn, speaker = "", ""
            known = known or (prefix == "document" and event == "start_array")
        if not known:
            raise DataFault("JSON of another schema", "no list 'document'")

    def _form(self, fields: dict[str, str]) -> str:
        form = fields.get("form", "")
        return form if form.strip() else fields.get("original_form", "")

    def _paragraph(self, form: str, marks: SpeechMarks) -> str:
        if self._TAGGED.match(form):  # news of 2024: marked up, so entities too are mark-up
            form = html.unescape(self._TAG.sub("\n", form))
        return marks.written(form)


class AiHub:
    """AI Hub's corpora: lists of documents or of sentences; consecutive sentences of one doc_id are a document."""

    splittable = False

    # Where one document, or one sentence of it, may stand in a file ("" is the top level, as in JSONL) …
    _ITEMS = ("data.item", "paragraphs.item", "named_entity.item", "item", "")
    # … and where its text may stand in it.
    _TEXTS = (
        "title.item.sentence",
        "subtitle.item.sentence",
        "content.item.sentence",
        "rows.item.text",
        "sentence.item.text",
        "sentences.item.original_text",
        "sentences.item.text",
        "text",
        "sentence",
    )

    def __init__(self) -> None:
        def paths(name: str) -> frozenset[str]:
            return frozenset(f"{item}.{name}".lstrip(".") for item in self._ITEMS)

        self._text_paths = frozenset().union(*map(paths, self._TEXTS))
        self._title_paths, self._id_paths = paths("title"), paths("doc_id")

    def starts_document(self, previous: bytes, line: bytes) -> bool:
        return False

    def events(self, stream: BinaryIO, options: ReaderOptions, faults: Faults) -> Iterator[Event]:
        group: object = None  # doc_id of the sentences read last
        title, doc_id, segments = "", None, list[str]()
        known = False
        for prefix, event, value in _json_events(stream, options):
            if event == "end_map" and prefix in self._ITEMS:
                known = known or prefix != ""
                if prefix == "" and not segments and doc_id is None:
                    continue
                known = True
                begins = doc_id is None or doc_id != group
                if begins and group is not None:
                    yield END
                yield from ([title] if begins and segments else []) + segments
                if doc_id is None:
                    yield END
                group, title, doc_id, segments = doc_id, "", None, []
            elif value is None:
                continue
            elif prefix in self._id_paths:
                doc_id = value
            elif event == "string" and prefix in self._title_paths:
                title = str(value)
            elif event == "string" and prefix in self._text_paths:
                segments.append(str(value))
        if group is not None:
            yield END
        if not known:
            raise DataFault("JSON of another schema", "no list 'data', 'paragraphs' or 'named_entity', no sentences")
