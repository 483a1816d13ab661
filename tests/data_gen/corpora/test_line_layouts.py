from collections import Counter
from pathlib import Path

import pytest

from data_gen.corpora.reading import ReaderOptions, plan_units, read_unit


def read(tmp_path: Path, content: str | bytes, corpus_format: str = "auto", **options):
    """Segments of each document of a file with this content, and what was skipped."""
    path = tmp_path / "corpus"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    skipped: Counter[str] = Counter()
    units = plan_units([str(path)], corpus_format)
    return [d.segments for unit in units for d in read_unit(unit, ReaderOptions(**options), skipped)], dict(skipped)


def test_wiki_extract(tmp_path: Path):
    content = (
        '<doc id="1" url="u" title="서울">\n서울\n\n서울은 수도이다.\n한강이 R&amp;D 옆을 흐른다.\n</doc>\n'
        '<doc id="2" title="빈 글">\n</doc>\n밖의 글\n<doc id="3">\n부산\n항구이다.\n'
    )
    documents, skipped = read(tmp_path, content)
    assert documents == [["서울", "서울은 수도이다.", "한강이 R&D 옆을 흐른다."], ["부산", "항구이다."]]
    assert skipped == {"document without text": 1, "line outside <doc>": 1}


def test_plain_text(tmp_path: Path):
    documents, skipped = read(tmp_path, "\ufeff\n\n[서울=통신] 첫 줄\r\n둘째 줄\n \t\n\n다음 글\n\n", "auto")
    assert documents == [["[서울=통신] 첫 줄", "둘째 줄"], ["다음 글"]]
    assert skipped == {}


def test_tokenized_text(tmp_path: Path):
    content = "he said , `` no '' .\n-LRB- she left . -RRB-\n\nwhy ? because . so !\nthe end .\n"
    assert read(tmp_path, content)[0] == [
        ['he said , " no " .', "( she left . )"],
        ["why ? because . so !", "the end ."],
    ]


def test_jsonl(tmp_path: Path):
    content = (
        '{"id": 1, "text": "첫 문단\\n둘째 문단"}\n\n{"text": "다음"}\n{"text": ""}\n{"body": "?"}\n[1]\n{"text": "끊\n'
    )
    documents, skipped = read(tmp_path, content)
    assert documents == [["첫 문단", "둘째 문단"], ["다음"]]
    assert skipped == {"document without text": 1, "JSON of another schema": 2, "broken JSON": 1}


def test_jsonl_under_another_key(tmp_path: Path):
    assert read(tmp_path, '{"본문": "글", "text": "아님"}\n', "jsonl", json_text_key="본문")[0] == [["글"]]


def test_jsonl_nested_too_deeply_is_broken(tmp_path: Path):
    documents, skipped = read(tmp_path, '{"text": ' + "[" * 100_000 + '\n{"text": "뒤"}\n', "jsonl")
    assert (documents, skipped) == ([["뒤"]], {"broken JSON": 1})


@pytest.mark.parametrize("corpus_format", ["auto", "nikl"])
def test_nikl_csv(tmp_path: Path, corpus_format: str):
    content = '\ufeffnumber,file_id,sentence\n1,A,첫 문장\n2,A,"쉼표, 그리고\n줄바꿈"\n3,B,다른 글\n4\n'
    documents, skipped = read(tmp_path, content, corpus_format)
    assert documents == [["첫 문장", "쉼표, 그리고", "줄바꿈"], ["다른 글"]]
    assert skipped == {"CSV row with too few columns": 1}


def test_csv_with_an_open_quote_is_broken(tmp_path: Path):
    content = 'file_id,sentence\nA,글\nB,글\nB,"' + "닫히지 않은 따옴표\n" * 100
    documents, skipped = read(tmp_path, content, max_line_bytes=500)
    assert (documents, skipped) == ([["글"]], {"broken CSV": 1})


@pytest.mark.parametrize("corpus_format", ["auto", "aihub"])
def test_aihub_tsv(tmp_path: Path, corpus_format: str):
    content = "BOOK.1.1\t첫 문장\nBOOK.1.2\t둘째\tx\nBOOK.2.1\t다른 책\n"
    documents, skipped = read(tmp_path, content, corpus_format)
    assert (documents, skipped) == ([["첫 문장", "둘째"], ["다른 책"]], {})


def test_aihub_tsv_line_without_id(tmp_path: Path):
    content = "머리말\nBOOK.1.1\t문장\nBOOK.1\n"
    assert read(tmp_path, content, "aihub") == ([["문장"]], {"TSV line without id and text": 2})


def test_line_not_utf8_is_skipped(tmp_path: Path):
    content = "좋은 줄\n".encode() * 50 + "나쁜 줄\n".encode("cp949") + "또 좋은 줄\n".encode()
    documents, skipped = read(tmp_path, content)
    assert documents == [["좋은 줄"] * 50 + ["또 좋은 줄"]]
    assert skipped == {"line not UTF-8": 1}


@pytest.mark.parametrize("encoding", ["cp949", "utf-16"])
def test_file_in_another_encoding_is_skipped_whole(tmp_path: Path, encoding: str):
    documents, skipped = read(tmp_path, ("서울은 대한민국의 수도이다.\nABC\n\n" * 20).encode(encoding))
    assert (documents, skipped) == ([], {"not UTF-8 text": 1})


def test_line_over_the_limit_is_skipped(tmp_path: Path):
    content = "앞\n" + "긴" * 5_000_000 + "\n뒤\n"
    documents, skipped = read(tmp_path, content, max_line_bytes=1000)
    assert (documents, skipped) == ([["앞", "뒤"]], {"line over the limit": 1})


def test_long_document_goes_on_as_further_documents(tmp_path: Path):
    documents, skipped = read(tmp_path, "한 줄이다\n" * 10 + "\n끝\n", max_document_characters=20)
    assert documents == [["한 줄이다"] * 4, ["한 줄이다"] * 4, ["한 줄이다"] * 2, ["끝"]]
    assert skipped == {}
    assert read(tmp_path, "한 줄이다\n" * 8, max_document_characters=20) == ([["한 줄이다"] * 4] * 2, {})


def test_empty_file(tmp_path: Path):
    assert read(tmp_path, "") == ([], {"empty file": 1})
    assert read(tmp_path, "\n\n \n") == ([], {})


def test_emoji_hanja_and_jamo_pass(tmp_path: Path):
    assert read(tmp_path, "漢字와 ㅋㅋ 그리고 😀\n")[0] == [["漢字와 ㅋㅋ 그리고 😀"]]
