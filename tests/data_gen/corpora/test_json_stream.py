import io
import json
import re
import time
import tracemalloc
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_gen.corpora import json_stream
from data_gen.corpora.base import BYTES_UNREAD, Faults
from data_gen.corpora.json_stream import JsonStream
from data_gen.corpora.json_values import split_items

PLACES = frozenset({"data", "document", "a", "a.b"})


def read(content: str | bytes, limit: int = 1 << 24) -> tuple[list[tuple], Counter[str]]:
    """(path, value) of each item or piece of one, and what was skipped."""
    skipped: Counter[str] = Counter()
    stream = io.BytesIO(content if isinstance(content, bytes) else content.encode())
    items = JsonStream(stream, PLACES, limit, Faults("file", skipped)).items()
    return [(item.path, item.value) for item in items], skipped


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=9) | st.floats(allow_nan=False),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["a", "b", "data", "글"]), inner),
    max_leaves=12,
)


@settings(max_examples=80, deadline=None)
@given(
    st.lists(st.dictionaries(st.sampled_from(["a", "data", "x"]), values), min_size=1, max_size=3), st.integers(0, 2)
)
def test_sound_json_is_read_as_in_memory(documents, indent):
    content = "\n".join(json.dumps(document, ensure_ascii=False, indent=indent or None) for document in documents)
    items, skipped = read(content)
    assert items == [(item.path, item.value) for document in documents for item in split_items(document, PLACES)]
    assert not skipped


def scalars(value) -> list[str]:
    if isinstance(value, list | dict):
        return [leaf for part in (value.values() if isinstance(value, dict) else value) for leaf in scalars(part)]
    return [repr(value)]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.dictionaries(st.sampled_from(["a", "data", "x"]), values), min_size=1, max_size=3))
def test_small_chunks_and_windows_lose_nothing(documents):
    content = json.dumps(documents, ensure_ascii=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_stream, "_CHUNK_BYTES", 16)
        patch.setattr(json_stream, "_WINDOW", 32)
        items, skipped = read(content)
    assert not skipped
    assert sorted(leaf for _, value in items for leaf in scalars(value)) == sorted(scalars(documents))


ELEMENT = '{"id": 1, "labels": [{"id": 2, "tag": "EC"}], "text": "글", "more": [{"form": "둘"}]}'
SOUND = json.loads(ELEMENT)
UNHARMFUL = {
    "raw tab": ('"글"', '"글\t"'),
    "raw control character": ('"글"', '"글\x01"'),
    "raw line end": ('"글"', '"글\n"'),
    "NaN": ("2", "NaN"),
    "Infinity": ("2", "-Infinity"),
    "70 bits": ("2", str(1 << 70)),
    "5,000 digits": ("2", "9" * 5000),
    "unquoted key": ('"tag"', "tag"),
    "no comma": ('1, "labels"', '1 "labels"'),
    "comments": ('"text"', '/* "글", */ "text"'),
    "comment at the end of a line": ('"text"', '// "글",\n"text"'),
    "comma at the end": ('"둘"}]', '"둘"},]'),
}
HARMFUL = {  # what stands there, and what is lost with it
    "unquoted value": ("2", "(반사회적용어)", ["labels", 0, "id"]),
    "unquoted word": ('"EC"', "EC", ["labels", 0, "tag"]),
    "unquoted text": ('"글"', "글 쓰기", ["text"]),
    "quotation marks within": ('"글"', '"그는 "왜"라고 물었다"', ["text"]),
    "open quotation mark": ('"글"', '"글', ["text"]),
    "an object in a text": ('"글"', '글 {"x": 1, "y": [2, 3]} 글', ["text"]),
    "Python's None": ("2", "None", ["labels", 0, "id"]),
    "nothing": ("2", "", ["labels", 0, "id"]),
}


def without(value: dict, way: list) -> dict:
    value = json.loads(json.dumps(value))
    holder = value
    for key in way[:-1]:
        holder = holder[key]
    del holder[way[-1]]
    return value


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("name", UNHARMFUL)
def test_what_can_be_read_is_no_fault(name: str, indent: int | None):
    good, bad = UNHARMFUL[name]
    pretty = json.dumps(SOUND, ensure_ascii=False, indent=indent)
    broken = re.sub(good.replace(" ", r"\s*"), lambda _: bad, pretty, count=1)
    items, skipped = read(f'{{"data": [{pretty}, {broken}, {pretty}]}}')
    assert [value["more"] for path, value in items if path == "data"] == [SOUND["more"]] * 3
    assert items[1][1]["text"].strip("\t\x01\n") == "글"
    assert not skipped


@pytest.mark.parametrize("place", ['{{"data": [{}]}}', "[{}]", '{{"document": [{}], "id": 1}}'])
@pytest.mark.parametrize("indent", [None, 1])
@pytest.mark.parametrize("name", HARMFUL)
def test_a_fault_costs_its_value(name: str, indent: int | None, place: str, caplog: pytest.LogCaptureFixture):
    good, bad, way = HARMFUL[name]
    pretty = json.dumps(SOUND, ensure_ascii=False, indent=indent)
    broken = pretty.replace(good, bad, 1)
    content = place.format(f"{pretty}, {broken}, {pretty}")
    items, skipped = read(content)
    assert [value for _, value in items if "more" in value] == [SOUND, without(SOUND, way), SOUND]
    assert skipped["broken JSON"] == 1
    assert len(bad.encode()) <= skipped[BYTES_UNREAD] <= len(bad.encode()) + 3
    begins = content.index(broken) + pretty.index(good)
    (line,) = [line for line in caplog.messages if "broken JSON" in line]
    assert f"line {content[:begins].count(chr(10)) + 1}:" in line and f"{skipped[BYTES_UNREAD]} bytes unread" in line
    if bad:
        assert f"at byte {len(content[:begins].encode())}," in line


@pytest.mark.parametrize(
    ("written", "text"),
    [
        (r'"C:\xa"', r"C:\xa"),
        (r'"it\'s"', r"it\'s"),
        (r'"\u12"', r"\u12"),
        (r'"\\a \\\a \n"', "\\a \\\\a \n"),
        (r'"$\alpha$ \"q\" \uac00"', r"$\alpha$ " + '"q" 가'),
    ],
)
def test_a_backslash_that_begins_no_escape_is_one(written: str, text: str):
    items, skipped = read(f'{{"data": [{{"t": {written}, "u": 1}}, {{"t": "b"}}]}}')
    assert [value for path, value in items if path == "data"] == [{"t": text, "u": 1}, {"t": "b"}]
    assert not skipped


@pytest.mark.parametrize(
    ("content", "texts"),
    [
        ('{"data":[{"t":"a"}},{"t":"b"}],"x":1}', ["a", "b"]),
        ('{"data":[{"t":"a"},,{"t":"b"}]]}', ["a", "b"]),
        ('{"data":[{"t":"a"} {"t":"b"}]}', ["a", "b"]),
        ('{"data":[{"t":"a", {"t":"b"}]}', ["a"]),
        ('{"data":[{"t":"a"],"x":1}', ["a"]),
        ('{"data":[{"t":"a"},{"t":"b"}', ["a", "b"]),
        ('{"data":[{"t":"a"},{"t":"b"},{"t"', ["a", "b"]),
        ('var data = {"data":[{"t":"a"}]};', ["a"]),
        ('{"data":[{"t":"a"},글,{"t":"b"}]}', ["a", "b"]),
        ('{"data":[{"t":"a"},{(x): 1, "t":"b"}]}', ["a", "b"]),
        ('{"t":"a"}\n{"t":(x)}\n{"t":"b"}', ["a", "b"]),
        ('\ufeff{"t":"a"}\x1e{"t":"b"}', ["a", "b"]),
    ],
)
def test_brackets_and_commas(content: str, texts: list[str]):
    items, _ = read(content)
    assert [value["t"] for _, value in items if "t" in value] == texts


@pytest.mark.parametrize("indent", [None, 1])
def test_a_quotation_mark_that_is_missing_behind_the_last_text_costs_it_alone(indent: int | None):
    rows = [{"id": number, "more": [{"form": f"글 {number}"}]} for number in range(4)]
    content = json.dumps({"data": rows, "id": 1}, ensure_ascii=False, indent=indent)
    items, skipped = read(content.replace('글 1"', "글 1", 1))
    rows[1]["more"][0].pop("form")
    assert [value for path, value in items if path == "data"] == rows
    assert skipped == {"broken JSON": 1, BYTES_UNREAD: len('"글 1'.encode())}


@pytest.mark.parametrize("nested", ["[1,", '{"x":[1,', '[1,{"x":', "[[1],"])
def test_deep_nesting_takes_no_time(nested: str):
    before = time.process_time()
    items, skipped = read('{"data":[{"t":"a","x":' + nested * 20_000 + '1}},{"t":"b"}]}')
    assert time.process_time() - before < 4
    assert items[0][1]["t"] == "a"
    assert skipped["broken JSON"] <= 3
    assert skipped[BYTES_UNREAD] > 19_000 * len(nested)


def test_deep_nesting_that_ends_costs_its_value():
    content = '{"x":' + "[2,[" * 60 + '{"y":"]"}' + "],3]" * 60 + ',"t":"b"}'
    items, _ = read(f'{{"data":[{content},{{"t":(x)}},{{"t":"c"}}]}}')
    assert [value["t"] for _, value in items if "t" in value] == ["b", "c"]


def test_deep_nesting_takes_no_memory():
    for nested in ("[" * 60_000, '{"x":' * 60_000, "[" * 60_000 + "]" * 60_000):
        tracemalloc.start()
        items, skipped = read(f'{{"data":[{{"t":"a","x":{nested}}},{{"t":"b"}}]}}')
        assert tracemalloc.get_traced_memory()[1] < 20 << 20
        tracemalloc.stop()
        assert items[0][1]["t"] == "a"
        assert skipped["broken JSON"] >= 1
        if nested.startswith("["):
            assert [value["t"] for _, value in items if "t" in value] == ["a", "b"]


@pytest.mark.parametrize("before", ["", '{"data":', '{"t": "a", "data": [[{"x": '])
def test_deep_nesting_of_places(before: str):
    items, skipped = read(before + "[" * 60_000 + "]" * 9)
    assert skipped["broken JSON"] >= 1 and skipped[BYTES_UNREAD] > 50_000
    assert len(items) <= 2


def test_one_cut_is_one_fault():
    content = '{"document":{"a":[{"b":[[{"t":"a"},{"t":"b'
    _, skipped = read(content)
    assert skipped == {"broken JSON": 1, BYTES_UNREAD: len('"b')}


def test_a_large_document_comes_in_pieces():
    rows = [{"form": "가나다 " * 160}] * 20_000
    content = json.dumps({"document": {"id": "1", "utterance": rows, "end": 1}, "x": 2}, ensure_ascii=False).encode()
    stream = io.BytesIO(content)
    tracemalloc.start()
    sizes = []
    for item in JsonStream(stream, PLACES, 1 << 24, Faults("file", Counter())).items():
        sizes.append((item.path, len(item.value.get("utterance", ())), item.complete))
    assert tracemalloc.get_traced_memory()[1] < 25 << 20 < len(content)
    tracemalloc.stop()
    assert sum(size for path, size, _ in sizes if path == "document") == len(rows)
    assert [complete for path, _, complete in sizes if path == "document"].count(True) == 1


def test_every_byte_that_is_not_read_is_counted():
    content = '{"data":[{"t":"a"},{"t":(' + "x" * 3_000_000 + ')},{"t":"b"}]}'
    items, skipped = read(content, limit=100_000)
    assert [value["t"] for _, value in items if "t" in value] == ["a", "b"]
    assert skipped == {"broken JSON": 1, BYTES_UNREAD: 3_000_002}
