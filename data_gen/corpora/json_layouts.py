"""Where the published JSON corpora keep their text: a table of layouts, and what makes documents of items.

docs/CORPORA.md names the corpora of each layout; its test reads a sample of every one.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any, BinaryIO

from data_gen.corpora.base import END, Event, Faults, ReaderOptions
from data_gen.corpora.json_stream import JsonStream
from data_gen.corpora.json_values import Item
from data_gen.corpora.markup import is_marked_up, text_of_html
from data_gen.corpora.speech_marks import SpeechMarks

_SPEAKER = "speaker_id|participantID|speakerId|speaker"


@dataclass(frozen=True)
class JsonLayout:
    """Where one layout keeps documents, and text in them.

    Paths are keys joined by dots; lists on the way are gone through. "a|b": the first of the two that holds text.
    """

    name: str
    place: str  # of a document, or of a sentence of one, from the top level down ("": the top level)
    texts: tuple[str, ...]  # within it, in the order of reading; of "a/b.c" each element of the list a is a segment
    titles: tuple[str, ...] = ()  # before the text
    known_by: str = ""  # a document that has this key is of this layout, text or no text
    same: str = ""  # key of what successive items of one document have in common
    is_repeated: bool = False  # successive items of one document repeat its text: a question each
    is_speech: bool = False  # segments are turns: successive texts of one speaker
    has_names: bool = False  # anonymised names are marked


JSON_LAYOUTS = (
    # NIKL 모두의 말뭉치
    JsonLayout("nikl-written", "document", ("paragraph.form|original_form",), has_names=True),
    JsonLayout("nikl-spoken", "document", ("utterance.form|original_form",), is_speech=True),
    JsonLayout("nikl-annotated", "document", ("sentence.form|original_form",), has_names=True),
    # AI Hub
    JsonLayout("aihub-rows", "data", ("rows.text",), ("title",)),
    *(
        JsonLayout("aihub-sentences", place, (text,), ("title",), known_by="doc_id", same="doc_id")
        for place in ("data", "")
        for text in ("sentence.text", "sentence|text")
    ),
    JsonLayout("aihub-books", "paragraphs", ("sentences.original_text|text",), known_by="info"),
    JsonLayout(
        "aihub-web", "named_entity", ("content.sentence",), ("title.sentence", "subtitle.sentence"), has_names=True
    ),
    JsonLayout("aihub-sjml", "SJML.text", ("content",), ("title", "subtitle"), has_names=True),
    JsonLayout("aihub-summary", "documents", ("text/sentence",), ("title",)),
    JsonLayout("aihub-dialogue", "data", ("body.dialogue.utterance",), is_speech=True),
    JsonLayout("aihub-messages", "data", ("body.utterance",), is_speech=True),
    JsonLayout("aihub-speech", "", ("utterance.standard_form|form|original_form",), is_speech=True),
    JsonLayout("aihub-topics", "info", ("annotations.lines.norm_text|text",), is_speech=True),
    JsonLayout("aihub-sessions", "sessionInfo", ("dialog.utterance",), is_speech=True),
    JsonLayout("aihub-papers", "data", ("summary_entire.orginal_text", "summary_section.orginal_text"), ("title",)),
    *(JsonLayout("aihub-passage", place, ("passage",)) for place in ("", "data", "Meta", "Meta(Refine)")),
    # reading comprehension: the contexts, each once
    *(JsonLayout("squad", place, ("paragraphs.context",), ("title",)) for place in ("data", "")),
    *(
        JsonLayout("contexts", place, ("context",), ("title",), same="context", is_repeated=True)
        for place in ("data", "paragraphs", "")
    ),
    *(JsonLayout("text", place, ("text|sentence|content",), ("title",)) for place in ("data", "documents", "")),
)
PLACES = frozenset(
    ".".join(keys[:end])
    for keys in (layout.place.split(".") for layout in JSON_LAYOUTS if layout.place)
    for end in range(1, len(keys) + 1)
)


_TEXTS = JsonLayout("text", "", ())
_DESCRIPTIVE = frozenset(("text", "aihub-sentences"))  # beside documents they tell about those
_METADATA = frozenset(("info", "Meta", "Meta(Refine)"))  # places that mostly hold no text


class JsonCorpus:
    """A JSON file of any layout in the table; items of no layout are skipped and counted."""

    splittable = False

    def starts_document(self, previous: bytes, line: bytes) -> bool:
        return False

    def events(self, stream: BinaryIO, options: ReaderOptions, faults: Faults) -> Iterator[Event]:
        documents = ItemDocuments(options, faults)
        for item in JsonStream(stream, PLACES, options.max_line_bytes, faults).items():
            yield from documents.add(item)
        yield from documents.end()


class ItemDocuments:
    """Documents of a sequence of items: one of each item, or of several that say they belong together."""

    def __init__(self, options: ReaderOptions, faults: Faults):
        self._options, self._faults, self._marks = options, faults, SpeechMarks(options)
        self._same: Any = None  # what the last item has in common with those of its document
        self._goes_on = False  # the last item was not complete
        self._is_open = False
        self._found_at: str | None = None  # the place of the last text, since the object around it ended
        self._layouts = {place: [each for each in JSON_LAYOUTS if each.place == place] for place in {"", *PLACES}}
        if options.json_text_key != ReaderOptions.json_text_key:  # asked for: before all others
            for place, layouts in self._layouts.items():
                layouts.insert(0, JsonLayout("asked for", place, (options.json_text_key,)))

    def add(self, item: Item) -> Iterator[Event]:
        layout, texts = self._texts(item)
        if self._is_beside_documents(item):
            if item.complete:
                self._found_at = item.path or None
            if layout is not None and layout.name in _DESCRIPTIVE and layout.same not in item.value:
                if any(texts):
                    self._faults.skip("text beside the documents of an object", " ".join(texts)[:24])
                return
        elif any(texts):
            self._found_at = item.path or None
        if layout is None:
            if self._goes_on:
                yield from self.end() if item.complete else ()
            elif item.complete and not item.is_rest and item.path not in _METADATA:
                self.skip_schema(item)
            return
        same = item.value.get(layout.same) if layout.same and isinstance(item.value, dict) else None
        begins = not self._goes_on and (same is None or same != self._same)
        if begins:
            yield from self.end()
            yield from self._titles(layout, item.value)
        if begins or not layout.is_repeated:
            yield from texts
        else:
            self._faults.skip("context repeated for a further question")
        self._is_open, self._same, self._goes_on = True, same, not item.complete
        if item.complete and same is None:
            yield from self.end()

    def _is_beside_documents(self, item: Item) -> bool:
        """Whether the item is what is left of an object in which documents were found."""
        around = f"{item.path}." if item.path else ""
        return item.is_rest and self._found_at is not None and self._found_at.startswith(around)

    def skip_schema(self, item: Item) -> None:
        keys = ", ".join(item.value) if isinstance(item.value, dict) else repr(item.value)
        where = f"at {item.path or 'the top level'}, found {keys[:120]!r}"
        self._faults.skip("JSON of another schema", f"{where}, expected a layout of docs/CORPORA.md or --json_text_key")

    def end(self) -> Iterator[Event]:
        """Ends the document that is open, if one is."""
        if self._is_open:
            yield END
        self._is_open, self._goes_on, self._same = False, False, None

    def _texts(self, item: Item) -> tuple[JsonLayout | None, list[str]]:
        """The layout that the item is of, and its segments."""
        if isinstance(item.value, str):  # of a list of texts
            return _TEXTS, [item.value]
        known = None
        for layout in self._layouts[item.path]:
            found = [texts for path in layout.texts if (texts := self._at(item.value, path, layout)) is not None]
            if any(found):
                return layout, list(chain.from_iterable(found))
            if found or (isinstance(item.value, dict) and layout.known_by in item.value):
                known = known or layout
        return known, []

    def _titles(self, layout: JsonLayout, value: Any) -> Iterator[str]:
        for path in layout.titles:
            yield from self._at(value, path, layout) or ()

    def _at(self, value: Any, path: str, layout: JsonLayout) -> list[str] | None:
        """Segments of text at a path; None where the path leads nowhere."""
        outer, slash, inner = path.partition("/")
        if slash:
            found = _follow(value, outer.split("."))
            if not found:
                return None
            parts = [self._at(part, inner, layout) or [] for part in found]
            return [" ".join(texts) for texts in parts if texts]
        *way, last = path.split(".")
        holders = [holder for each in _follow(value, way) for holder in _flat(each) if isinstance(holder, dict)]
        keys = last.split("|")
        if not any(key in holder for holder in holders for key in keys):
            return [] if way and isinstance(value, dict) and value.get(way[0]) == [] else None
        spoken = [(_speaker(holder), text) for holder in holders for text in _first_text(holder, keys)]
        if not layout.is_speech:
            return [self._written(text, layout) for _, text in spoken]
        turns = [(speaker, self._spoken(text)) for speaker, text in spoken]
        return _turns(turns, self._options.max_document_characters)

    def _written(self, text: str, layout: JsonLayout) -> str:
        if is_marked_up(text):
            text = text_of_html(text)
        return self._marks.names(text) if layout.has_names else text

    def _spoken(self, text: str) -> str:
        return " ".join(self._marks.speech(" ".join(text.split())).split())


def _flat(value: Any) -> Iterator[Any]:
    """The elements of nested lists, or what is no list itself."""
    waiting = [value]
    while waiting:
        value = waiting.pop()
        if isinstance(value, list):
            waiting.extend(reversed(value))
        else:
            yield value


def _follow(value: Any, keys: list[str]) -> list[Any]:
    """What stands behind a way of keys; of a list at its end each element, of lists on the way each in turn."""
    values = [value]
    for key in keys:
        holders = [holder for each in values for holder in _flat(each) if isinstance(holder, dict)]
        values = []
        for holder in holders:
            found = holder.get(key)
            values.extend(found if isinstance(found, list) else [] if found is None else [found])
    return values


def _first_text(holder: dict[str, Any], keys: list[str]) -> list[str]:
    """The texts under the first of the keys that holds any."""
    for key in keys:
        texts = [text for text in _flat(holder.get(key)) if isinstance(text, str) and text.strip()]
        if texts:
            return texts
    return []


def _speaker(holder: dict[str, Any]) -> str:
    for key in _SPEAKER.split("|"):
        speaker = holder.get(key)
        if isinstance(speaker, dict):  # with age and sex
            speaker = speaker.get("id")
        if speaker not in (None, ""):
            return str(speaker)
    return ""


def _turns(spoken: list[tuple[str, str]], max_characters: int) -> list[str]:
    """Successive texts of one speaker joined, up to about a length; texts of nobody stand alone."""
    turns: list[str] = []
    last = ""
    for speaker, text in spoken:
        if turns and speaker and speaker == last and len(turns[-1]) <= max_characters:
            turns[-1] = f"{turns[-1]} {text}".strip()
        else:
            turns.append(text)
        last = speaker
    return turns
