import codecs
import json
import logging
from collections import Counter
from pathlib import Path

import pytest

from data_gen.corpora.encodings import text_encoding
from data_gen.corpora.reading import FileLog, ReaderOptions, plan_units, read_unit

TEXT = "서울은 대한민국의 首都이다. ABC 123\n둘째 줄, “인용” 똠방각하\n\n다음 글이다.\n\n" * 30
DOCUMENTS = [["서울은 대한민국의 首都이다. ABC 123", "둘째 줄, “인용” 똠방각하"], ["다음 글이다."]] * 30
JSON = json.dumps({"document": [{"paragraph": [{"form": "한글 문단"}]}] * 3}, ensure_ascii=False)
ENCODINGS = {
    "cp949": ("cp949", b""),
    "euc-kr": ("cp949", b""),
    "utf-16-le": ("utf-16-le", b""),
    "utf-16-be": ("utf-16-be", b""),
    "utf-16-le with mark": ("utf-16", codecs.BOM_UTF16_LE),
    "utf-16-be with mark": ("utf-16", codecs.BOM_UTF16_BE),
    "utf-32-le with mark": ("utf-32", codecs.BOM_UTF32_LE),
    "utf-8": ("utf-8", b""),
    "utf-8 with mark": ("utf-8", codecs.BOM_UTF8),
}


def encoded(text: str, name: str) -> bytes:
    if name == "euc-kr":
        text = text.replace("똠방각하", "각하")  # UHC's syllables are CP949's alone
    return ENCODINGS[name][1] + text.encode(name.split(" ")[0])


def read(path: Path, unit_bytes: int = 64 << 20) -> tuple[list[list[str]], Counter[str], FileLog]:
    skipped: Counter[str] = Counter()
    files = FileLog()
    units = plan_units([str(path)], unit_bytes=unit_bytes)
    documents = [d.segments for unit in units for d in read_unit(unit, ReaderOptions(), skipped, files)]
    return documents, skipped, files


@pytest.mark.parametrize("name", ENCODINGS)
def test_files_are_decoded_said_and_counted(tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO)
    path = tmp_path / "corpus"
    path.write_bytes(encoded(TEXT, name))
    documents, skipped, files = read(path)
    expected = json.loads(json.dumps(DOCUMENTS).replace(json.dumps("똠방각하")[1:-1], json.dumps("각하")[1:-1]))
    assert documents == (expected if name == "euc-kr" else DOCUMENTS)
    assert not skipped
    codec = ENCODINGS[name][0]
    assert files.summary()["decoded"] == ({} if codec == "utf-8" else {codec: 1})
    assert any(f"decoded from {codec}" in line for line in caplog.messages) == (codec != "utf-8")


@pytest.mark.parametrize("name", ENCODINGS)
def test_json_is_decoded(tmp_path: Path, name: str):
    (tmp_path / "corpus").write_bytes(encoded(JSON, name))
    assert read(tmp_path / "corpus")[0] == [["한글 문단"]] * 3


def test_a_large_cp949_file_is_cut_at_documents(tmp_path: Path):
    path = tmp_path / "corpus"
    path.write_bytes(encoded(TEXT, "cp949"))
    assert len(plan_units([str(path)], unit_bytes=300)) > 5
    documents, _, files = read(path, unit_bytes=300)
    assert documents == DOCUMENTS
    assert files.summary()["decoded"] == {"cp949": 1}


def test_utf16_is_never_cut(tmp_path: Path):
    path = tmp_path / "corpus"
    path.write_bytes(encoded('{"text": "한 줄 글"}\n' * 60, "utf-16-le"))
    assert len(plan_units([str(path)], unit_bytes=300)) == 1
    assert read(path, unit_bytes=300)[0] == [["한 줄 글"]] * 60


@pytest.mark.parametrize("name", ["cp949", "utf-16-le with mark"])
def test_a_broken_character_costs_its_line(tmp_path: Path, name: str):
    codec = name.split(" ")[0]
    whole = encoded("첫 줄이다\n나쁜줄\n둘째 줄이다\n" + "글\n" * 30, name)
    bad = {"cp949": b"\xff", "utf-16-le": b"\x00\xdc"}[codec]  # a lone low surrogate
    (tmp_path / "corpus").write_bytes(whole.replace("쁜".encode(codec), bad))
    documents, skipped, _ = read(tmp_path / "corpus")
    assert documents == [["첫 줄이다", "둘째 줄이다", *["글"] * 30]]
    assert skipped == {"line not UTF-8": 1}


def test_other_writing_is_not_taken_for_korean():
    chinese = "北京是中华人民共和国的首都，也是全国的政治中心和文化中心。上海是最大的城市。" * 5
    japanese = "東京は日本の首都です。ひらがなとカタカナと漢字で書かれた文章である。" * 5
    assert text_encoding(chinese.encode("gb18030")) is None
    assert text_encoding(japanese.encode("shift_jis")) is None
    assert text_encoding("Ça a déjà été vérifié à l'hôtel où naît l'été".encode("latin-1")) is None


def test_a_character_cut_at_the_end_of_the_head_does_not_matter():
    for size in range(60, 68):
        assert text_encoding(TEXT.encode("cp949")[:size]) == "cp949"
        assert text_encoding(TEXT.encode()[:size]) == "utf-8"
        assert text_encoding(TEXT.encode("utf-16")[:size]) == "utf-16"


def test_a_file_of_several_encodings_keeps_most_of_its_lines(tmp_path: Path):
    (tmp_path / "corpus").write_bytes("가나다라\n".encode() * 20 + "마바사아\n".encode("cp949") * 5)
    documents, skipped, _ = read(tmp_path / "corpus")
    assert documents == [["가나다라"] * 20] and skipped == {"line not UTF-8": 5}


def test_a_null_character_makes_no_utf16(tmp_path: Path):
    (tmp_path / "corpus").write_bytes("가\0나 다라\n".encode() + "마바사\n".encode() * 20)
    assert read(tmp_path / "corpus")[0] == [["가나 다라", *["마바사"] * 20]]
