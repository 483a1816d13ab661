import bz2
import csv
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
from data_gen.corpora.reading import ReaderOptions, Unit, plan_units, read_unit
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
    with pytest.raises(InputError, match=r"member 'a\.txt'"):
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
    with pytest.raises(InputError, match=r"member '나쁜\.txt'"):
        read_bytes(tmp_path, bytes(packed))


def test_locked_zip_member_is_named(tmp_path: Path):
    packed = bytearray(zipped({"secret.txt": TEXT}))
    for signature, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        packed[packed.index(signature) + flags] |= 1  # the flag that says: encrypted
    with pytest.raises(InputError, match=r"member 'secret\.txt': .*locked"):
        read_bytes(tmp_path, bytes(packed))


def test_archive_inside_an_archive_is_skipped(tmp_path: Path):
    inner = {"z": zipped({"a": TEXT}), "t": tarred({"a": TEXT}), "b": WIKI}
    assert read_bytes(tmp_path, zipped(inner)) == (SEGMENTS[WIKI], {"archive inside an archive": 2})


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
        ('{"id": "1", "metadata": {"title": "t"}, "document": [{"id', "nikl"),
        ('\ufeff [{"doc_id": "1", "sentno": 1, "text": "x"', "aihub"),
        ('{"doc_id": "1", "sentno": 1, "text": "x"}\n', "aihub"),
        ('{"data": "글", "text": "본문"}', "jsonl"),
        ("file_id\tsentence\n1\t글\n", "nikl_csv"),
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
    csv.field_size_limit(1 << 20)  # which other tests make smaller for the whole process
    before = time.process_time()
    assert choose_format("auto", ("1." + "가나다 " * 100_000).encode()) == "text"
    assert choose_format("auto", ("B.1.2\t" + "가나다 " * 100_000).encode()) == "aihub_tsv"
    assert time.process_time() - before < 20


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
