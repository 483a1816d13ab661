import csv
import html
import json
import re
from collections import Counter
from pathlib import Path

import pytest

from data_gen.corpora.base import BYTES_UNREAD
from data_gen.corpora.reading import FileLog, ReaderOptions, plan_units, read_unit


def read(tmp_path: Path, content: str | bytes, corpus_format: str = "auto", **options):
    """Segments of each document of a file with this content, and what was skipped."""
    path = tmp_path / "corpus"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    skipped: Counter[str] = Counter()
    reader_options = ReaderOptions(**options)
    units = plan_units([str(path)], corpus_format)
    return [d.segments for unit in units for d in read_unit(unit, reader_options, skipped, FileLog())], dict(skipped)


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
        '{"id": 1, "text": "첫 문단\\n둘째 문단"}\n\n{"text": "다음"}\n{"text": ""}\n{"body": "?"}\n[1]\n'
        '{"text": "끊\n{"text": "뒤"}\n'
    )
    documents, skipped = read(tmp_path, content)
    assert documents == [["첫 문단", "둘째 문단"], ["다음"], ["뒤"]]
    lost = len('"끊\n'.encode())
    assert skipped == {"document without text": 1, "JSON of another schema": 2, "broken JSON": 1, BYTES_UNREAD: lost}


def test_jsonl_under_another_key(tmp_path: Path):
    assert read(tmp_path, '{"본문": "글", "text": "아님"}\n', "jsonl", json_text_key="본문")[0] == [["글"]]


def test_jsonl_nested_too_deeply_is_broken(tmp_path: Path):
    documents, skipped = read(tmp_path, '{"text": ' + "[" * 100_000 + '\n{"text": "뒤"}\n', "jsonl")
    assert documents == [["뒤"]]
    assert skipped["broken JSON"] == 1 and skipped[BYTES_UNREAD] > 99_900


@pytest.mark.parametrize("corpus_format", ["auto", "nikl"])
def test_nikl_csv(tmp_path: Path, corpus_format: str):
    content = '\ufeffnumber,file_id,sentence\n1,A,첫 문장\n2,A,"쉼표, 그리고\n줄바꿈"\n3,B,다른 글\n4\n'
    documents, skipped = read(tmp_path, content, corpus_format)
    assert documents == [["첫 문장", "쉼표, 그리고", "줄바꿈"], ["다른 글"]]
    assert skipped == {"CSV row with too few columns": 1}


@pytest.mark.parametrize("rows_behind", [0, 1, 300])
def test_csv_quotation_mark_that_does_not_close_costs_nothing(tmp_path: Path, rows_behind: int):
    content = 'file_id,sentence\nA,글\nB,"열린 따옴표\n' + "C,다음 글\n" * rows_behind
    documents, skipped = read(tmp_path, content)
    assert documents == [["글"], ['"열린 따옴표'], *[["다음 글"] * rows_behind] * (rows_behind > 0)]
    assert skipped == {"CSV quotation mark that does not close": 1}


def test_csv_quotation_mark_that_closes_in_another_row(tmp_path: Path):
    content = 'number,file_id,sentence\n1,A1,"열린\n2,A2,둘\n3,A2,"셋, 넷"\n4,B3,다섯 "여섯"\n'
    documents, skipped = read(tmp_path, content)
    assert documents == [['"열린'], ["둘", "셋, 넷"], ['다섯 "여섯"']]
    assert skipped == {"CSV quotation mark that does not close": 1}


def test_csv_field_of_many_lines(tmp_path: Path):
    lines = [f"{n}행, 그리고 더" for n in range(150)]
    documents, _ = read(tmp_path, 'file_id,sentence\nA,"' + "\n".join(lines) + '"\nA,끝\n')
    assert documents == [[*lines, "끝"]]
    documents, skipped = read(tmp_path, 'file_id,sentence\nA,"' + "줄\n" * 500 + "B,뒤\n")
    assert documents == [['"줄'], ["뒤"]]
    assert skipped == {"CSV quotation mark that does not close": 1, "CSV row with too few columns": 499}


def test_a_csv_leaves_other_readers_of_the_process_their_limit(tmp_path: Path):
    before = csv.field_size_limit()
    read(tmp_path, "file_id,sentence\nA,글\n")
    assert csv.field_size_limit() == before
    long = "글" * (before + 1)
    assert read(tmp_path, f'file_id,sentence\nA,"{long}"\nA,끝\n') == ([[long, "끝"]], {})


@pytest.mark.parametrize("corpus_format", ["auto", "nikl"])
def test_nikl_tsv_knows_no_quoting(tmp_path: Path, corpus_format: str):
    content = (
        "number\tfile_id\tsentence\n"
        '1\tA\t"그는 말했다.\n2\tA\t둘째 문장"\n3\tA\t"안녕"\n'
        '4\tB\t"누가 ""왜""라고 물었다."\n5\tB\t\'끝\'\n'
    )
    documents, skipped = read(tmp_path, content, corpus_format)
    assert documents == [['"그는 말했다.', '둘째 문장"', '"안녕"'], ['누가 "왜"라고 물었다.', "'끝'"]]
    assert skipped == {}


@pytest.mark.parametrize(
    ("content", "documents"),
    [
        ("첫 줄\r둘째 줄\n\n다음 글\n", [["첫 줄", "둘째 줄"], ["다음 글"]]),
        ("첫 줄\r\r다음 글\r이어서\r", [["첫 줄"], ["다음 글", "이어서"]]),
        ("file_id,sentence\rA,글\rA,둘\rB,셋\r", [["글", "둘"], ["셋"]]),
        ("file_id\tsentence\r\nA\t글\r끝\r\n", [["글", "끝"]]),
        ("file_id,sentence\nA,글\r끝\nB,셋\n", [["글 끝"], ["셋"]]),
        ('{"text": "글"}\r{"text": "둘"}\r', [["글"], ["둘"]]),
        ("<doc id='1'>\r제목\r본문\r</doc>\r", [["제목", "본문"]]),
        ("B.1.1\t글\r", [["글"]]),
        ("\r", []),
    ],
)
def test_carriage_returns(tmp_path: Path, content: str, documents: list):
    assert read(tmp_path, content) == (documents, {})


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


@pytest.mark.parametrize(
    ("content", "documents"),
    [
        ('<doc id="1" title="태그">\n태그\n줄 안의 <doc id="2"> 와 </doc> 는 글이다.\n</doc>\n', 1),
        ('<doc id="1">\n하나\n끝 줄.</doc>\n<doc id="2">\n둘\n</doc>\n', 2),
        ('<doc id="1">\n하나\n끝 줄.</doc><doc id="2">\n둘\n</doc>\n', 2),
        ('<doc id="1">하나\n본문\n</doc>\n', 1),
        ('<doc id="1" url="u" title=""따옴표" > 제목">\n하나\n</doc>\n', 1),
        ("<doc id='1'>\n하나\n<docs> 는 글이다\n<doc\n</doc>\n", 1),
        ('<doc id="1">\n하나\n&lt;doc id="2"&gt; 는 글이다\n</doc>\n', 1),
    ],
)
def test_wiki_marks_within_lines(tmp_path: Path, content: str, documents: int):
    found, skipped = read(tmp_path, content)
    assert len(found) == documents and skipped == {}
    words = re.sub(r"^<doc id=.*?>(?=$|하나)|</doc>$|(?<=줄\.)</doc><doc id=\"2\">$", "", content, flags=re.MULTILINE)
    assert " ".join(" ".join(segments) for segments in found) == " ".join(html.unescape(words).split())


@pytest.mark.parametrize("unit_bytes", [1 << 20, 60])
def test_placeholders_of_the_extractor_are_no_text(tmp_path: Path, unit_bytes: int):
    content = '<doc id="1">\n속력\nformula_1 로 쓴다. formula_23은 codice_4이다. my_formula_1 formula_x\n</doc>\n' * 3
    path = tmp_path / "corpus"
    path.write_text(content, encoding="utf-8")
    units = plan_units([str(path)], unit_bytes=unit_bytes)
    assert len(units) == (1 if unit_bytes > 60 else 3)
    found = [d.segments for unit in units for d in read_unit(unit, ReaderOptions(), Counter())]
    assert found == [["속력", "로 쓴다. 은 이다. my_formula_1 formula_x"]] * 3


ARTICLE = " \n = {} = \n \n 첫 문단 . \n \n = = 절 = = \n \n 둘째 문단 . \n = = = 아래 절 = = = \n 셋째 = 넷째 . \n"


@pytest.mark.parametrize("titles", [["글"], ["글", "다음 글", "E = mc² 공식"]])
@pytest.mark.parametrize("unit_bytes", [1 << 20, 30])
@pytest.mark.parametrize("sections", ["= = ", "=="])
def test_wikitext(tmp_path: Path, titles: list[str], unit_bytes: int, sections: str):
    path = tmp_path / "corpus"
    article = ARTICLE.replace("= = 절 = =", "== 절 ==").replace("= = = 아래 절 = = =", "=== 아래 절 ===")
    content = "".join((ARTICLE if sections == "= = " else article).format(title) for title in titles)
    path.write_text(content, encoding="utf-8")
    units = plan_units([str(path)], unit_bytes=unit_bytes)
    found = [d.segments for unit in units for d in read_unit(unit, ReaderOptions(), Counter())]
    assert found == [[title, "첫 문단 .", "절", "둘째 문단 .", "아래 절", "셋째 = 넷째 ."] for title in titles]


def test_jsonl_of_other_layouts(tmp_path: Path):
    lines = [
        {"context": "문단.", "question": "?"},
        {"context": "문단.", "question": "!"},
        {"sentence": "문장.", "label": 1},
        {"text": "글.", "sentence": "글."},
    ]
    documents, skipped = read(tmp_path, "\n".join(json.dumps(line, ensure_ascii=False) for line in lines))
    assert documents == [["문단."], ["문장."], ["글."]]
    assert skipped == {"context repeated for a further question": 1}


@pytest.mark.parametrize("corpus_format", ["auto", "json", "jsonl"])
@pytest.mark.parametrize("indent", [1, 4, "\t"])
def test_a_pretty_printed_document_is_no_jsonl(tmp_path: Path, corpus_format: str, indent):
    one = json.dumps({"id": 1, "meta": {"a": [1]}, "text": "첫 줄.\n둘째."}, ensure_ascii=False, indent=indent)
    assert read(tmp_path, one, corpus_format) == ([["첫 줄.", "둘째."]], {})
    assert read(tmp_path, f"{one}\n{one}\n", corpus_format) == ([["첫 줄.", "둘째."]] * 2, {})
    key = one.replace('"text"', '"본문"')
    assert read(tmp_path, key, corpus_format, json_text_key="본문") == ([["첫 줄.", "둘째."]], {})


def test_faults_of_jsonl_cost_their_value(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    content = '{"text": "하나\t글"}\n{"id": NaN, "text": "둘"}\n{"id": (가), "text": "셋"}\n{id: 1, "text": "넷"}\n'
    documents, skipped = read(tmp_path, content)
    assert documents == [["하나 글"], ["둘"], ["셋"], ["넷"]]
    assert skipped == {"broken JSON": 1, BYTES_UNREAD: len("(가)".encode())}
    begins = content[: content.index("(")]
    assert f"at byte {len(begins.encode())}, line 3: 5 bytes unread" in caplog.text
