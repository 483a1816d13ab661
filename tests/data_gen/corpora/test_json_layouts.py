import itertools
import json
from collections import Counter
from pathlib import Path

import pytest

from data_gen.corpora import json_stream
from data_gen.corpora.base import BYTES_UNREAD
from data_gen.corpora.reading import ReaderOptions, plan_units, read_unit
from tests.data_gen.corpora.test_line_layouts import read


def nikl(*documents: dict) -> str:
    return json.dumps({"id": "X", "metadata": {"title": "t"}, "document": list(documents)}, ensure_ascii=False)


def paragraphs(*forms: str) -> dict:
    return {"id": "d", "metadata": {"title": "기사"}, "paragraph": [{"id": "p", "form": form} for form in forms]}


def utterances(*turns: tuple[str, str | None]) -> dict:
    return {"id": "d", "utterance": [{"id": "u", "form": form, "speaker_id": speaker} for form, speaker in turns]}


@pytest.mark.parametrize("corpus_format", ["auto", "nikl"])
def test_nikl_written(tmp_path: Path, corpus_format: str):
    content = "\ufeff" + nikl(paragraphs("제목", "첫 문단이다."), paragraphs(), paragraphs("둘째 기사\n이어서"))
    documents, skipped = read(tmp_path, content, corpus_format)
    assert documents == [["제목", "첫 문단이다."], ["둘째 기사", "이어서"]]
    assert skipped == {"document without text": 1}


def test_nikl_pretty_printed(tmp_path: Path):
    content = json.dumps(json.loads(nikl(paragraphs("제목", "본문"))), ensure_ascii=False, indent=4)
    assert read(tmp_path, content)[0] == [["제목", "본문"]]


def test_nikl_web_original_form(tmp_path: Path):
    document = {"paragraph": [{"original_form": "원문"}, {"form": " ", "original_form": "둘째"}, {"form": None}]}
    assert read(tmp_path, nikl(document))[0] == [["원문", "둘째"]]


def test_nikl_news_2024_markup(tmp_path: Path):
    content = nikl(paragraphs("<p>R&amp;D &quot;예산&quot;</p><p class='a'>둘째<br/>셋째</p>", "AT&amp;T <p>"))
    assert read(tmp_path, content)[0] == [['R&D "예산"', "둘째", "셋째", "AT&amp;T <p>"]]


def test_nikl_spoken_turns(tmp_path: Path):
    said = [("안녕", "1"), ("반가워\n요", "1"), ("네", "2"), ("혼잣말", None), ("또", None), ("다시", "1")]
    documents, _ = read(tmp_path, nikl(utterances(*said), utterances(("새 대화", "1"))))
    assert documents == [["안녕 반가워 요", "네", "혼잣말", "또", "다시"], ["새 대화"]]


def test_nikl_messenger_and_empty_form(tmp_path: Path):
    document = {"utterance": [{"form": "", "original_form": "머해", "speaker_id": "1", "time": "20190101 15:04"}]}
    assert read(tmp_path, nikl(document))[0] == [["머해"]]


SPEECH = "&name1&이가 &company-name& 옆 ((xx)) (()) ((아마)) - 갔어 AT&T 3-4"


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, "아무개이가 모처 옆 아마 갔어 AT&T 3-4"),
        ({"anonymised_speech": "remove"}, "이가 옆 아마 갔어 AT&T 3-4"),
        ({"anonymised_speech": "keep", "unheard_speech": "keep"}, SPEECH),
    ],
)
def test_nikl_speech_marks(tmp_path: Path, options: dict, expected: str):
    assert read(tmp_path, nikl(utterances((SPEECH, "1"))), **options)[0] == [[expected]]


def test_nikl_written_text_keeps_its_hyphens(tmp_path: Path):
    assert read(tmp_path, nikl(paragraphs("제목 - 부제 (( )) &name&")))[0] == [["제목 - 부제 (( )) 아무개"]]


def test_nikl_cut_short_keeps_what_stands_before_the_cut(tmp_path: Path):
    content = nikl(paragraphs("온전한 글"), paragraphs("앞부분", "뒷부분"))
    documents, skipped = read(tmp_path, content[: content.index("뒷부분")])
    assert documents == [["온전한 글"], ["앞부분"]]
    assert skipped == {"broken JSON": 1, BYTES_UNREAD: len('"')}


def test_nikl_bytes_that_are_not_utf8_cost_their_paragraph(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    content = nikl(paragraphs("온전한 글"), paragraphs("나쁜", "좋은")).encode().replace("나쁜".encode(), b"\xb3\xaa")
    documents, skipped = read(tmp_path, content)
    assert documents == [["온전한 글"], ["좋은"]]
    assert skipped == {"JSON string not UTF-8": 1, BYTES_UNREAD: 2}
    assert "\\udcb3\\udcaa" in caplog.text  # in a form that any terminal and file takes


def test_json_string_over_the_limit(tmp_path: Path):
    long = "긴" * 2_000_000
    content = nikl(paragraphs("앞"), paragraphs(long, "옆"), paragraphs("뒤"))
    documents, skipped = read(tmp_path, content, max_line_bytes=200_000)
    assert documents == [["앞"], ["옆"], ["뒤"]]
    assert skipped == {"JSON string over the limit": 1, BYTES_UNREAD: len(f'"{long}"'.encode())}


def test_long_turn_is_cut(tmp_path: Path):
    said = [("열 글자쯤 되는 말", "1")] * 6
    documents, _ = read(tmp_path, nikl(utterances(*said)), max_document_characters=15)
    assert list(itertools.chain(*documents)) == ["열 글자쯤 되는 말 열 글자쯤 되는 말"] * 3


@pytest.mark.parametrize("content", ['{\n "a": {"b": 1}\n}', '{"document": "글"}', "{}"])
def test_json_of_another_schema(tmp_path: Path, content: str):
    assert read(tmp_path, content, "nikl") == ([], {"JSON of another schema": 1})
    assert read(tmp_path, content, "aihub") == ([], {"JSON of another schema": 1})
    assert read(tmp_path, content)[0] == []


AIHUB = {
    "release A": (
        {"data": [{"title": "제목", "rows": [{"text": "첫 문장."}, {"text": "둘째."}]}, {"rows": [{"text": "끝."}]}]},
        [["제목", "첫 문장.", "둘째."], ["끝."]],
    ),
    "release B, text": (
        [
            {"doc_type": "논문", "doc_id": "1", "title": "제목", "sentno": 1, "text": "하나.", "NE": [{"text": "x"}]},
            {"doc_type": "논문", "doc_id": "1", "title": "제목", "sentno": 2, "text": "둘."},
            {"doc_type": "논문", "doc_id": "2", "title": "다음", "sentno": 1, "text": "셋."},
        ],
        [["제목", "하나.", "둘."], ["다음", "셋."]],
    ),
    "release B, sentence": (
        {
            "data": [
                {"doc_id": 7, "title": "판례", "sentno": 1, "sentence": [{"text": "주문.", "NE": []}]},
                {"doc_id": 7, "title": "판례", "sentno": 2, "sentence": [{"text": "이유.", "NE": []}]},
            ]
        },
        [["판례", "주문.", "이유."]],
    ),
    "purchased books": (
        {
            "paragraphs": [{"info": {"kdc": "813"}, "sentences": [{"original_text": "가."}, {"original_text": "나."}]}]
            * 2
        },
        [["가.", "나."], ["가.", "나."]],
    ),
    "web data": (
        {
            "named_entity": [
                {
                    "title": [{"sentence": "제목", "labels": []}],
                    "subtitle": [{"sentence": "부제"}],
                    "content": [{"sentence": "문장."}],
                    "source_site": "어딘가",
                }
            ]
        },
        [["제목", "부제", "문장."]],
    ),
    "professional books": (
        {"data": [{"book_id": "b", "category": "의료", "keyword": ["k"], "text": "첫 줄\n둘째 줄"}]},
        [["첫 줄", "둘째 줄"]],
    ),
}


@pytest.mark.parametrize("corpus_format", ["auto", "aihub"])
@pytest.mark.parametrize("release", AIHUB)
def test_aihub(tmp_path: Path, release: str, corpus_format: str):
    content, expected = AIHUB[release]
    assert read(tmp_path, json.dumps(content, ensure_ascii=False, indent=1), corpus_format) == (expected, {})


def test_aihub_sentences_one_a_line(tmp_path: Path):
    content, expected = AIHUB["release B, text"]
    lines = "\n".join(json.dumps(item, ensure_ascii=False) for item in content)
    assert read(tmp_path, lines) == (expected, {})


def test_aihub_without_text(tmp_path: Path):
    info = {"paragraphs": [{"info": {"kdc": "813"}}]}
    assert read(tmp_path, json.dumps(info)) == ([], {"document without text": 1})


def test_what_stands_beside_the_documents_is_no_text(tmp_path: Path):
    corpus = {
        "title": "말뭉치",
        "content": "말뭉치의 설명",
        "info": {"text": 1},
        "data": [{"text": "글"}],
    }
    for indent in (None, 1):
        content = json.dumps(corpus, ensure_ascii=False, indent=indent)
        assert read(tmp_path, content) == ([["글"]], {"text beside the documents of an object": 1})


@pytest.mark.parametrize("key", ["text", "sentence", "content", "passage"])
@pytest.mark.parametrize("place", ["info", "Meta", "data", "documents"])
def test_text_beside_objects_without_text_is_read(tmp_path: Path, place: str, key: str):
    """Places where other corpora keep their documents, but this one what describes them."""
    corpus = [{place: {"id": number}, key: f"글 {number}"} for number in range(2)]
    assert read(tmp_path, json.dumps(corpus, ensure_ascii=False))[0] == [["글 0"], ["글 1"]]


def test_text_beside_documents_is_counted_wherever_they_stand(tmp_path: Path):
    corpus = [{"SJML": {"text": [{"content": "글"}]}, "text": "설명"}, {"SJML": {"text": []}, "text": "본문"}]
    documents, skipped = read(tmp_path, json.dumps(corpus, ensure_ascii=False))
    assert documents == [["글"], ["본문"]]
    assert skipped["text beside the documents of an object"] == 1


def test_a_key_that_was_asked_for_is_read_beside_documents(tmp_path: Path):
    corpus = {"body": "본문", "data": [{"text": "글"}]}
    assert read(tmp_path, json.dumps(corpus), "json", json_text_key="body") == ([["글"], ["본문"]], {})


def test_a_line_with_text_is_one_document(tmp_path: Path):
    lines = [{"text": f"전체 {number}", "paragraphs": [{"text": "전체"}, {"text": str(number)}]} for number in range(2)]
    content = "\n".join(json.dumps(line, ensure_ascii=False) for line in lines)
    assert read(tmp_path, content) == ([["전체 0"], ["전체 1"]], {})


def test_json_is_streamed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The first document comes out before the file has been read through."""
    filled = []
    original = json_stream.JsonStream._fill

    def counting(self) -> None:
        original(self)
        filled.append(len(self._text))

    monkeypatch.setattr(json_stream.JsonStream, "_fill", counting)
    path = tmp_path / "big.json"
    path.write_text(nikl(*[paragraphs("문단 " * 500)] * 10_000))  # 35 MB
    (unit,) = plan_units([str(path)])
    documents = read_unit(unit, ReaderOptions(), Counter())
    next(documents)
    assert sum(filled) < path.stat().st_size / 5
    assert 1 + sum(1 for _ in documents) == 10_000
    assert max(filled) < 4 << 20  # characters held
