import bz2
import gzip
import io
import json
import lzma
import random
import tarfile
import time
import zipfile
from collections import Counter
from pathlib import Path

import pytest
from backports import zstd
from hypothesis import given, settings
from hypothesis import strategies as st

from data_gen.corpora.detection import choose_format
from data_gen.corpora.reading import FileLog, ReaderOptions, Unit, plan_units, read_unit
from kosplinter_common.cli import InputError

TEXT = "첫 글\n둘째 줄\n\n다음 글\n\n".encode()
WIKI = "<doc id='1'>\n제목\n본문\n</doc>\n".encode()
NIKL = json.dumps({"document": [{"paragraph": [{"form": "신문"}]}]}, ensure_ascii=False).encode()
SEGMENTS = {TEXT: [["첫 글", "둘째 줄"], ["다음 글"]], WIKI: [["제목", "본문"]], NIKL: [["신문"]]}
COMPRESSORS = {"gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress, "zst": zstd.compress}


def read_all(units: list[Unit]) -> tuple[list[list[str]], dict[str, int]]:
    skipped: Counter[str] = Counter()
    return [d.segments for unit in units for d in read_unit(unit, ReaderOptions(), skipped)], dict(skipped)


def read_bytes(tmp_path: Path, content: bytes) -> tuple[list[list[str]], dict[str, int]]:
    """Reads a file whose name says nothing."""
    (tmp_path / "wiki.name").write_bytes(content)
    return read_all(plan_units([str(tmp_path / "wiki.name")]))


def zipped(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def tarred(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


MEMBERS = {"a.txt": TEXT, "folder/": b"", "folder/b.wiki": WIKI, "c.json": NIKL, "d": gzip.compress(WIKI)}
MEMBER_SEGMENTS = [segments for content in (TEXT, WIKI, NIKL, WIKI) for segments in SEGMENTS[content]]


@pytest.mark.parametrize("compression", COMPRESSORS)
@pytest.mark.parametrize("content", SEGMENTS)
def test_compressed_files(tmp_path: Path, content: bytes, compression: str):
    packed = COMPRESSORS[compression](content)
    assert read_bytes(tmp_path, packed) == (SEGMENTS[content], {})
    with pytest.raises(InputError, match=r"wiki\.name: .*truncated"):
        read_bytes(tmp_path, packed[:-6])


def test_concatenated_gzip_members_are_one_file(tmp_path: Path):
    packed = gzip.compress(TEXT[:10]) + gzip.compress(TEXT[10:])
    assert read_bytes(tmp_path, packed) == (SEGMENTS[TEXT], {})


def test_zip_members_are_units_with_their_own_formats(tmp_path: Path):
    (tmp_path / "x").write_bytes(zipped(MEMBERS))
    units = plan_units([str(tmp_path / "x")])
    assert [unit.member for unit in units] == ["a.txt", "folder/b.wiki", "c.json", "d"]
    assert read_all(units) == (MEMBER_SEGMENTS, {})


def test_zip_that_changes_between_reads(tmp_path: Path):
    """The archive is kept open from member to member, but never longer than it stays the same."""
    path = tmp_path / "x"
    path.write_bytes(zipped({"a.txt": TEXT}))
    units = plan_units([str(path)])
    assert read_all(units)[0] == SEGMENTS[TEXT]
    path.write_bytes(zipped({"a.txt": WIKI}))
    assert read_all(units)[0] == SEGMENTS[WIKI]
    path.write_bytes(zipped({"other.txt": WIKI}))
    with pytest.raises(InputError, match=r"x!a\.txt: .*not there any more"):
        read_all(units)


def test_tar_members_are_units(tmp_path: Path):
    members = {name: content for name, content in MEMBERS.items() if content}
    (tmp_path / "x").write_bytes(tarred(members))
    units = plan_units([str(tmp_path / "x")])
    assert [unit.member for unit in units] == list(members)
    assert read_all(units) == (MEMBER_SEGMENTS, {})


@pytest.mark.parametrize("compression", COMPRESSORS)
def test_compressed_tar_is_one_unit(tmp_path: Path, compression: str):
    members = {name: content for name, content in MEMBERS.items() if content}
    (tmp_path / "x").write_bytes(COMPRESSORS[compression](tarred(members)))
    units = plan_units([str(tmp_path / "x")])
    assert len(units) == 1
    assert read_all(units) == (MEMBER_SEGMENTS, {})


def test_damaged_archives_are_errors_that_name_them(tmp_path: Path):
    path = tmp_path / "archive"
    noise = {"a": random.Random(0).randbytes(9999).hex().encode()}
    for packed in (zipped(MEMBERS), tarred(noise), gzip.compress(tarred(noise))):
        path.write_bytes(packed[: len(packed) // 2])
        with pytest.raises(InputError, match=r"archive.*truncated"):
            read_all(plan_units([str(path)]))


def test_damaged_zip_member_is_named(tmp_path: Path):
    packed = bytearray(zipped({"good.txt": TEXT, "나쁜.txt": random.Random(0).randbytes(50).hex().encode()}))
    where = packed.index("나쁜.txt".encode()) + len("나쁜.txt".encode()) + 20
    packed[where] ^= 0xFF
    with pytest.raises(InputError, match=r"wiki\.name!나쁜\.txt: damaged"):
        read_bytes(tmp_path, bytes(packed))


def test_locked_zip_member_is_named(tmp_path: Path):
    packed = bytearray(zipped({"secret.txt": TEXT}))
    for signature, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        packed[packed.index(signature) + flags] |= 1  # the flag that says: encrypted
    with pytest.raises(InputError, match=r"wiki\.name!secret\.txt: .*locked by a password"):
        read_bytes(tmp_path, bytes(packed))


INNER = {"z": zipped({"a": TEXT}), "t": tarred({"a": WIKI}), "g": gzip.compress(tarred({"a": TEXT})), "b": WIKI}
INNER_SEGMENTS = [segments for content in (TEXT, WIKI, TEXT, WIKI) for segments in SEGMENTS[content]]


@pytest.mark.parametrize("outer", [zipped, tarred, lambda members: gzip.compress(tarred(members))])
def test_archive_inside_an_archive_is_opened(tmp_path: Path, outer):
    assert read_bytes(tmp_path, outer(INNER)) == (INNER_SEGMENTS, {})


@pytest.mark.parametrize("outer", [zipped, tarred, lambda members: gzip.compress(tarred(members))])
def test_archive_two_levels_down_is_named(tmp_path: Path, outer):
    documents, skipped, files = read_with_log(
        tmp_path, outer({"z.zip": zipped({"t.tar": tarred({"a": TEXT}), "b": WIKI})})
    )
    assert (documents, skipped) == (SEGMENTS[WIKI], {"unreadable file": 1})
    ((name, reason),) = files["unreadable"].items()
    assert name.endswith("wiki.name!z.zip!t.tar") and "unpack" in reason


def test_compressed_zip_is_opened(tmp_path: Path):
    assert read_bytes(tmp_path, gzip.compress(zipped({"a": TEXT, "z": zipped({"a": WIKI})}))) == (
        SEGMENTS[TEXT] + SEGMENTS[WIKI],
        {},
    )


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("pack", [lambda archive: archive, lambda archive: zipped({"inner": archive})])
def test_members_of_one_name_are_all_read(tmp_path: Path, pack):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for content in (TEXT, WIKI, NIKL):
            archive.writestr("same.txt", content)
    expected = [segments for content in (TEXT, WIKI, NIKL) for segments in SEGMENTS[content]]
    assert read_bytes(tmp_path, pack(buffer.getvalue())) == (expected, {})


def read_with_log(tmp_path: Path, content: bytes) -> tuple[list[list[str]], dict[str, int], dict]:
    (tmp_path / "wiki.name").write_bytes(content)
    skipped: Counter[str] = Counter()
    files = FileLog()
    units = plan_units([str(tmp_path / "wiki.name")])
    documents = [d.segments for unit in units for d in read_unit(unit, ReaderOptions(), skipped, files)]
    return documents, dict(skipped), files.summary()


SEVEN_ZIP = b"7z\xbc\xaf\x27\x1c\0\4" + random.Random(0).randbytes(40)
NO_TEXT = {
    "b.7z": (SEVEN_ZIP, "a 7z archive: unpack it first"),
    "b.hwp": (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600), "an Office or HWP document: save its text"),
    "b.xlsx": (zipped({"[Content_Types].xml": b"<a/>", "xl/s.xml": b"<b>x</b>"}), "an Office document: save its text"),
    "b.pdf": (b"%PDF-1.7\nabc", "a PDF document"),
    "b.zip.part1": (zipped({"a": TEXT})[:-9], "join the parts in their order first"),
    "b.gz": (gzip.compress(TEXT)[:-4], "damaged, truncated"),
    "b.bz2": (bz2.compress(TEXT)[:20] + bytes(20), "damaged, truncated"),
    "b.bin": (random.Random(0).randbytes(900), "not text in UTF-8, CP949"),
    "b.json": (b'{"number": 1}', "JSON of another schema"),
    "c.json": (b'{"data": [{"text": x}, {"text": ""}', "broken JSON"),
}


@pytest.mark.parametrize("name", NO_TEXT)
@pytest.mark.parametrize("outer", [zipped, tarred, lambda members: gzip.compress(tarred(members))])
def test_a_file_that_cannot_be_read_is_named_and_the_others_are_read(tmp_path: Path, name: str, outer):
    content, reason = NO_TEXT[name]
    documents, _, files = read_with_log(tmp_path, outer({"a": TEXT, name: content, "c": WIKI}))
    assert [segments for segments in SEGMENTS[TEXT] + SEGMENTS[WIKI] if segments not in documents] == []
    ((found, why),) = files["unreadable"].items()
    assert found.endswith(f"wiki.name!{name}") and reason in why
    documents, _, files = read_with_log(tmp_path, content)  # and alone
    assert list(files["unreadable"]) == [str(tmp_path / "wiki.name")]


def test_files_without_a_document_are_named(tmp_path: Path):
    empty = {"empty": b"", "blank": b"\n \n", "no text": b'{"text": ""}\n', "info": b'{"paragraphs": [{"info": {}}]}'}
    documents, _, files = read_with_log(tmp_path, zipped({**empty, "a": TEXT, "__MACOSX/._a": b"\0\5\x16\7\xff\xff"}))
    assert documents == SEGMENTS[TEXT] and files["unreadable"] == {}
    reasons = {name.split("!")[1]: reason for name, reason in files["without_documents"].items()}
    assert reasons == {
        "empty": "empty file",
        "blank": "no text",
        "no text": "document without text",
        "info": "document without text",
    }


def test_a_part_without_documents_does_not_speak_for_its_file(tmp_path: Path):
    path = tmp_path / "corpus"
    path.write_bytes(TEXT + b"\xff\xff\n\n" * 9 + TEXT * 40)
    files = FileLog()
    units = plan_units([str(path)], "text", unit_bytes=len(TEXT))
    assert len(units) > 20
    for unit in units:
        one = FileLog()
        list(read_unit(unit, ReaderOptions(), Counter(), one))
        files.update(json.loads(json.dumps(one.as_dict())))
    assert files.summary() == FileLog().summary()
    together = FileLog()
    for unit in [*units, units[1]]:
        last = list(read_unit(unit, ReaderOptions(), Counter(), together))
    assert last == []
    assert together.summary() == FileLog().summary()


def test_a_tar_that_shrinks_is_named(tmp_path: Path):
    path = tmp_path / "x"
    path.write_bytes(tarred({"a": TEXT, "b": WIKI * 500}))
    units = plan_units([str(path)])
    path.write_bytes(path.read_bytes()[:-15_000])
    with pytest.raises(InputError, match=r"x!b: damaged, truncated .*: \d+ bytes are missing at its end"):
        read_all(units)


def test_a_tar_cut_short_gives_what_stands_before_the_cut(tmp_path: Path):
    packed = tarred({"a": TEXT, "b": WIKI, "c": NIKL * 99})
    documents, skipped, files = read_with_log(tmp_path, packed[: len(packed) // 2])
    assert documents == [*SEGMENTS[TEXT], *SEGMENTS[WIKI], *[["신문"]] * len(documents[3:])]
    assert skipped["unreadable file"] >= 1 and files["unreadable"]


def test_a_compressed_file_cut_short_gives_what_stands_before_the_cut(tmp_path: Path):
    text = "".join(f"{number} 번째 글\n\n" for number in range(200_000)).encode()
    packed = gzip.compress(text, 1)
    documents, skipped, files = read_with_log(tmp_path, packed[: len(packed) // 2])
    assert documents[:2] == [["0 번째 글"], ["1 번째 글"]] and 20_000 < len(documents) < 110_000
    assert skipped["unreadable file"] == 1 and list(files["unreadable"]) == [str(tmp_path / "wiki.name")]


def test_korean_names_of_members(tmp_path: Path):
    """Programs on Korean Windows write names in CP949 and do not say so."""
    packed = zipped({"AA/BBB.txt": b"\xff" * 50}).replace(b"AA", "가".encode("cp949"))
    _, _, files = read_with_log(tmp_path, packed.replace(b"BBB", "나".encode("cp949") + b"B"))
    assert list(files["unreadable"]) == [f"{tmp_path}/wiki.name!가/나B.txt"]


def test_file_that_vanishes_is_named(tmp_path: Path):
    with pytest.raises(InputError, match=r"gone\.txt: cannot be read: No such file"):
        plan_units([str(tmp_path / "gone.txt")])
    path = tmp_path / "going.txt"
    path.write_bytes(TEXT)
    units = plan_units([str(path)])
    path.unlink()
    with pytest.raises(InputError, match=r"going\.txt: cannot be read"):
        read_all(units)


def test_wrong_arguments_are_named(tmp_path: Path):
    with pytest.raises(InputError, match="corpus_format: found 'html', expected one of auto, wiki"):
        plan_units([], "html")
    with pytest.raises(InputError, match="unit_bytes: found 0"):
        plan_units([], unit_bytes=0)
    with pytest.raises(InputError, match="anonymised_speech: found 'x', expected one of word"):
        ReaderOptions(anonymised_speech="x")


def test_skips_are_named_a_few_times_and_counted_always(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    documents, skipped = read_bytes(tmp_path, b'{"text": ""}\n' * 50)
    assert (documents, skipped) == ([], {"document without text": 50})
    assert 1 < sum("wiki.name: skipped: document without text" in line for line in caplog.messages) < 10


lines_strategy = st.lists(st.sampled_from(["가", "나 다라", "마바사" * 9]), min_size=1, max_size=4)
LINE_ENDS = st.sampled_from(["\n", "\r\n"])
WRITERS = {
    "text": lambda documents: "".join("\n".join(lines) + "\n\n" for lines in documents),
    "wiki": lambda documents: "".join("<doc id='1'>\n" + "\n".join(lines) + "\n\n</doc>\n" for lines in documents),
    "jsonl": lambda documents: "".join(json.dumps({"text": "\n".join(lines)}) + "\n" for lines in documents),
    "aihub": lambda documents: "".join(f"B.{n}.1\t{line}\n" for n, lines in enumerate(documents) for line in lines),
}


@settings(max_examples=60, deadline=None)
@given(
    st.lists(lines_strategy, max_size=12),
    st.sampled_from(sorted(WRITERS)),
    st.integers(1, 400),
    st.sampled_from(["\n", "\r\n"]),
)
def test_every_document_is_in_exactly_one_unit(tmp_path_factory, documents, corpus_format, unit_bytes, line_end):
    path = tmp_path_factory.mktemp("units") / "corpus"
    content = WRITERS[corpus_format](documents).replace("\n", line_end).encode()
    path.write_bytes(content)
    units = plan_units([str(path)], corpus_format, unit_bytes)
    assert [(unit.start, unit.end) for unit in units] == [
        (start, end) for start, end in zip([u.start for u in units], [u.start for u in units[1:]] + [None], strict=True)
    ]
    read, skipped = read_all(units)
    assert read == documents
    assert set(skipped) <= {"empty file"}


def test_large_files_are_cut(tmp_path: Path):
    path = tmp_path / "large"
    path.write_bytes(TEXT * 1000)
    units = plan_units([str(path)], unit_bytes=len(TEXT) * 100)
    assert len(units) == 10
    assert read_all(units)[0] == SEGMENTS[TEXT] * 1000
    assert len(read_all(units[3:4])[0]) == 200


def test_broken_characters_far_from_the_beginning_do_not_lose_a_part(tmp_path: Path):
    """Only the beginning of a file decides whether it is text."""
    path = tmp_path / "corpus"
    path.write_bytes(TEXT * 3000 + b"\xff\n\n" * 200 + TEXT)
    documents, skipped = read_all(plan_units([str(path)], "text", unit_bytes=len(TEXT) * 3000 + 300))
    assert documents == SEGMENTS[TEXT] * 3001
    assert skipped["line not UTF-8"] == 200


@pytest.mark.parametrize(
    ("head", "found"),
    [
        ("<doc id='1'>\n", "wiki"),
        ("[서울=통신] 대통령은 ...", "text"),
        ("[1] 참고 문헌", "text"),
        ("{주} 설명이다.", "text"),
        ('{"text": "긴 글', "jsonl"),
        ('{"id": "1", "metadata": {"title": "t"}, "document": [{"id', "json"),
        ('\ufeff [{"doc_id": "1", "sentno": 1, "text": "x"', "json"),
        ('{"doc_id": "1", "sentno": 1, "text": "x"}\n', "json"),
        ('{"data": "글", "text": "본문"}', "jsonl"),
        ('{"data": [{"text": "글"}], "text": "설명"}\n', "json"),
        ('{"data": [{"text": "글"}], "text": "본문"}\n' * 2, "jsonl"),
        ('// 주석\n/* {둘} */ {"id": 1, "document": []}\n', "json"),
        ('{ // 주석\n  "document": [\n', "json"),
        ('// 주석\n{"text": "글"}\n{"text": "글"}\n', "jsonl"),
        ("// 글\n/ 글", "text"),
        ('{\n  "text": "글"\n}\n', "json"),
        ('{"text": "글",\n"id": 1}\n', "json"),
        ('{"text": "끊긴\n{"text": "글"}\n', "jsonl"),
        ('{"text": (x)}\n{"text": "글"}\n', "jsonl"),
        ('{id: 1, "text": "글"}\n', "jsonl"),
        ('["글", "둘"]', "json"),
        ('["인용"이다] 글', "text"),
        (" = 제목 = \n\n 글 \n", "wikitext"),
        ("글\n = = 절 = = \n글\n = 제목 = \n", "wikitext"),
        ("a = b = c\n= 절 아님\n", "text"),
        ("<docs> 글", "text"),
        ("file_id\tsentence\n1\t글\n", "nikl_table"),
        ('"number","file_id","sentence"\n', "nikl_table"),
        ("B.1.2\t글\nB.1.3\t글\n", "aihub_tsv"),
        ("이것은 . 저것 , 그것 . 그리고 ? 또 !", "tokenized"),
        ("이것은. 저것, 그것. 그리고? 또!", "text"),
        ("", "text"),
    ],
)
def test_format_by_content(head: str, found: str):
    assert choose_format("auto", head.encode()) == found


def test_a_long_line_with_a_number_in_front_is_judged_at_once():
    """Many minutes' work for an expression that goes back and forth."""
    before = time.process_time()
    assert choose_format("auto", ("1." + "가나다" * 60_000).encode()) == "text"
    assert choose_format("auto", ("B.1.2\t" + "가나다" * 60_000).encode()) == "aihub_tsv"
    assert time.process_time() - before < 10


@pytest.mark.parametrize("corpus_format", ["auto", "text", "tokenized"])
@pytest.mark.parametrize("unit_bytes", [1, 40, 500, 1 << 20])
def test_a_document_a_line(tmp_path: Path, corpus_format: str, unit_bytes: int):
    lines = [f"{number} 댓글이 좋아요 ." for number in range(50)]
    path = tmp_path / "comments"
    path.write_text("\n" + "\n".join(lines[:20]) + "\n\n \n" + "\r\n".join(lines[20:]))
    units = plan_units([str(path)], corpus_format, unit_bytes, document_per_line=True)
    assert (len(units) > 1) == (unit_bytes < 1000)
    skipped: Counter[str] = Counter()
    options = ReaderOptions(document_per_line=True)
    documents = [document for unit in units for document in read_unit(unit, options, skipped)]
    assert [document.segments for document in documents] == [[line] for line in lines]
    assert not skipped


def test_a_document_that_was_cut_says_so(tmp_path: Path):
    path = tmp_path / "book"
    path.write_text("\n".join(["가나다"] * 10) + "\n\n라\n")
    (unit,) = plan_units([str(path)])
    documents = list(read_unit(unit, ReaderOptions(max_document_characters=12), Counter()))
    assert [len(document.segments) for document in documents] == [4, 4, 2, 1]
    assert [document.continues_last for document in documents] == [False, True, True, False]
    assert all(document.ends_at_blank_line for document in documents)


def test_no_format_for_what_is_no_text():
    assert choose_format("auto", random.Random(0).randbytes(1000)) is None
    assert choose_format("text", b"\0" * 100) is None
    assert choose_format("text", "가나다".encode()[:-1]) == "text"
