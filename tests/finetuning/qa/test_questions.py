"""Every layout says the same thing; what is broken is named."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from finetuning.qa.examples import QAExample
from finetuning.qa.questions import QAData, load_questions, split_by_article, squad_json
from kosplinter_common.cli import InputError
from tests.finetuning.tiny_qa import question_file

CONTEXT = "김민수는 서울에서 태어났다."
ANSWER = {"text": "서울", "answer_start": 5}


def squad(answers: Any, **question: Any) -> dict[str, Any]:
    qas = [{"id": "1", "question": "어디?", "answers": answers} | question]
    return {"version": "x", "data": [{"title": "글", "paragraphs": [{"context": CONTEXT, "qas": qas}]}]}


def administrative(answers: Any) -> dict[str, Any]:
    """AI Hub 행정/뉴스 기계독해: answers are one object, ids have other names."""
    question = {"question_id": "1", "question": "어디?", "answers": answers, "is_impossible": False}
    paragraph = {"context_id": "c", "context": CONTEXT, "qas": [question]}
    return {"data": [{"doc_id": "글", "doc_title": "제목", "paragraphs": [paragraph]}]}


MRQA = [
    {"header": {"dataset": "x", "split": "train"}},
    {
        "context": CONTEXT,
        "context_tokens": [["김민수는", 0], ["서울에서", 5]],
        "qas": [
            {
                "qid": "1",
                "question": "어디? [MASK].",
                "answers": ["서울"],
                "detected_answers": [{"text": "서울", "char_spans": [[5, 6]], "token_spans": [[1, 1]]}],
            }
        ],
    },
]
FLAT = [{"id": "1", "context": CONTEXT, "question": "어디?", "answer_text": "서울", "answer_start": 5}]
COLUMNS = {key: value for key, value in FLAT[0].items() if not key.startswith("answer")}
COLUMN_ANSWERS = {"text": ["서울"], "answer_start": [5]}
# MRQA as the Hub exports it: one question a row, lists of objects as columns
MRQA_ROW = {
    "context": CONTEXT,
    "context_tokens": {"tokens": ["김민수는", "서울에서"], "offsets": [0, 5]},
    "id": "other",
    "qid": "1",
    "question": "어디? [MASK].",
    "answers": ["서울"],
    "detected_answers": {"text": ["서울"], "char_spans": [{"start": [5], "end": [6]}]},
}
CLUED = ANSWER | {"clue_text": "태어났다", "clue_start": 10}


def lines(rows: list[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("korquad.json", json.dumps(squad([ANSWER])).encode()),
        ("with_bom.json", b"\xef\xbb\xbf" + json.dumps(squad([ANSWER])).encode()),
        ("klue.json", json.dumps(squad([ANSWER], id=None, guid="1", is_impossible=False)).encode()),
        ("aihub_list.json", json.dumps(squad([ANSWER])).encode()),
        ("aihub_object.json", json.dumps(administrative(CLUED)).encode()),
        ("mrqa.jsonl", lines(MRQA)),
        ("mrqa.jsonl.gz", gzip.compress(lines(MRQA))),
        ("named_wrongly.json", lines(MRQA)),
        ("one_line_without_header.jsonl", lines(MRQA[1:])),
        ("flat.jsonl", lines(FLAT)),
        ("flat_list.json", json.dumps(FLAT).encode()),
        ("flat_columns.jsonl", lines([COLUMNS | {"answers": {"text": ["서울"], "answer_start": [5]}}])),
        ("flat_answers.jsonl", lines([COLUMNS | {"answers": [ANSWER]}])),
        ("flat_under_data.json", json.dumps({"version": "1", "data": FLAT}).encode()),
        ("columns_under_data.json", json.dumps({"data": [COLUMNS | {"answers": COLUMN_ANSWERS}]}).encode()),
        ("paragraphs.json", json.dumps(squad([ANSWER])["data"][0]["paragraphs"]).encode()),
        ("paragraphs_under_data.json", json.dumps({"data": squad([ANSWER])["data"][0]["paragraphs"]}).encode()),
        ("paragraphs.jsonl", lines(squad([ANSWER])["data"][0]["paragraphs"])),
        ("one_article.json", json.dumps(squad([ANSWER])["data"][0]).encode()),
        ("answer_key.json", json.dumps(squad(None, answer=ANSWER)).encode()),
        ("answer_key_list.json", json.dumps(squad(None, answer=[ANSWER])).encode()),
        ("answer_key_columns.jsonl", lines([COLUMNS | {"answer": COLUMN_ANSWERS}])),
        ("answer_text_beside_its_place.jsonl", lines([COLUMNS | {"answer": "서울", "answer_start": "5"}])),
        ("texts_beside_places.jsonl", lines([COLUMNS | {"answers": ["서울"], "answer_start": [5.0]}])),
        ("id_is_a_number.json", json.dumps(squad([ANSWER], id=1, is_impossible="false")).encode()),
        ("mrqa_of_the_hub.jsonl", lines([MRQA_ROW])),
        ("mrqa_by_qid.jsonl", lines([MRQA[1] | {"qas": [MRQA[1]["qas"][0] | {"id": "other"}]}])),
    ],
)
def test_every_layout_gives_the_same_question(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    data = load_questions(str(tmp_path / name))
    (example,) = data.examples
    assert (example.id, example.question, example.context) == ("1", "어디?", CONTEXT)
    assert example.spans == ((5, "서울"),) and example.golds == ("서울",)
    assert data.prepared_questions == int("mrqa" in name or "line" in name or "wrongly" in name)


def load(tmp_path: Path, rows: Any, name: str = "a.json") -> QAData:
    """Written with escapes, as json.dumps does, so that halves of surrogate pairs come through."""
    (tmp_path / name).write_text(json.dumps(rows), encoding="utf-8")
    return load_questions(str(tmp_path / name))


@pytest.mark.parametrize(
    "rows",
    [
        [COLUMNS | {"answers": COLUMN_ANSWERS, "is_impossible": True}],  # KLUE-MRC: the answer is a plausible one
        {"data": [COLUMNS | {"answers": COLUMN_ANSWERS, "is_impossible": "True"}]},
        [COLUMNS | {"answer_text": "서울", "answer_start": 5, "is_impossible": 1}],
        [COLUMNS | {"answers": COLUMN_ANSWERS, "is_impossible": 1.0}],  # a table with gaps writes numbers so
        [{"context": CONTEXT, "qas": [{"id": "1", "question": "어디?", "answers": [ANSWER], "is_impossible": True}]}],
        [COLUMNS | {"answers": {"text": [], "answer_start": []}}],
        squad(None, answer=ANSWER, is_impossible=True),
        [MRQA_ROW | {"is_impossible": True}],
    ],
)
def test_a_plausible_answer_is_no_gold(tmp_path: Path, rows: Any) -> None:
    (example,) = load(tmp_path, rows).examples
    assert (example.id, example.spans, example.golds) == ("1", (), ())
    assert example.labelled and not example.answerable


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"question": None}, "question: found null, expected text"),
        ({"context": None}, "context: found null, expected text"),
        ({"answers": [{"text": None, "answer_start": 5}]}, "answer: found null, expected text"),
        ({"answers": {"text": ["서울", None], "answer_start": [5, 0]}}, "answer: found null, expected text"),
        ({"answers": {"text": ["서울"], "answer_start": [5, 0]}}, "found 2 places, expected 1"),
        ({"answers": [{"word": "서울"}]}, "found the keys word, expected text"),
        ({"answers": ["서울", {"text": "서울"}]}, "answer: found text, expected object"),
        ({"is_impossible": "perhaps"}, "is_impossible: found 'perhaps'"),
        ({"id": {"a": 1}}, "id: found object, expected a text or a number"),
        ({"detected_answers": [{"char_spans": [[5]]}]}, "detected_answers: not MRQA's"),
        ({"context": {"text": CONTEXT}}, "context: found object, expected text"),
    ],
)
def test_a_question_that_cannot_be_read_is_named_and_leaves_the_others(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    wrong = FLAT[0] | {"id": "2", "answers": [ANSWER]} | change
    data = load(tmp_path, [FLAT[0], wrong, FLAT[0] | {"id": "3"}])
    assert [example.id for example in data.examples] == ["1", "3"]
    (fault,) = data.faults
    assert fault.detail.startswith(f"{tmp_path}/a.json#1: ") and message in fault.detail
    assert data.left_out() == {"unreadable_question": 1} and not data.mended()


@pytest.mark.parametrize("row", [None, 7, {"a": 1}, {"qas": None, "context": CONTEXT}, {"paragraphs": {}}])
def test_a_row_of_no_layout_is_named_and_leaves_the_others(tmp_path: Path, row: Any) -> None:
    data = load(tmp_path, [FLAT[0], row])
    assert len(data.examples) == 1 and data.left_out() == {"unreadable_row": 1}
    assert "a.json#1: " in data.faults[0].detail


@pytest.mark.parametrize("start", [None, "x", 1.5, True, -7])
def test_an_answer_without_a_readable_place_counts_and_is_listed(tmp_path: Path, start: Any) -> None:
    rows = [FLAT[0], FLAT[0] | {"id": "2", "answer_start": start}]
    rows += [COLUMNS | {"id": "3", "answers": [ANSWER, {"text": "서울시", "answer_start": start}]}]
    data = load(tmp_path, rows)
    assert [example.spans for example in data.examples] == [((5, "서울"),), (), ((5, "서울"),)]
    assert [example.golds for example in data.examples] == [("서울",), ("서울",), ("서울", "서울시")]
    assert data.mended() == {"answer_start_unreadable": 2} and not data.left_out()
    assert [fault.id for fault in data.faults] == ["2", "3"] and "a.json#1: answer_start:" in data.faults[0].detail


def test_null_is_no_answer_and_an_untold_place_is_no_fault(tmp_path: Path) -> None:
    rows = [COLUMNS | {"answers": None}, COLUMNS | {"id": "2", "answer_text": None}]
    rows += [COLUMNS | {"id": "3", "answer_text": "서울"}, COLUMNS | {"id": "4", "answers": [ANSWER | {"text": 1998}]}]
    data = load(tmp_path, rows)
    assert [example.labelled for example in data.examples] == [False, False, True, True]
    assert [example.golds for example in data.examples] == [(), (), ("서울",), ("1998",)] and not data.faults


def test_blank_answers_are_no_golds_and_listed(tmp_path: Path) -> None:
    rows = [COLUMNS | {"answer_text": ""}, COLUMNS | {"id": "2", "answers": [ANSWER, {"text": " ", "answer_start": 0}]}]
    data = load(tmp_path, rows)
    assert [example.golds for example in data.examples] == [(), ("서울",)]
    assert data.mended() == {"blank_answer": 2}


def test_halves_of_surrogate_pairs_are_replaced_one_for_one_and_listed(tmp_path: Path) -> None:
    whole, half = "😀", "\ud83d"
    row = {"id": f"1{half}", "title": half, "context": f"{half}{whole} 서{half}울", "question": f"어디{half}?"}
    data = load(tmp_path, [row | {"answers": [{"text": f"서{half}울", "answer_start": 3}]}, FLAT[0]])
    example = data.examples[0]
    assert (example.id, example.question, example.article) == ("1\ufffd", "어디\ufffd?", "\ufffd")
    assert example.context == "\ufffd😀 서\ufffd울" and example.spans == ((3, "서\ufffd울"),)
    assert example.golds == ("서\ufffd울",) and data.mended() == {"lone_surrogate": 1}
    json.dumps(squad_json(data.examples), ensure_ascii=False).encode()


PAGE = """<!DOCTYPE html>
<html><head><style>p { color: red }</style></head><body><h1>김민수</h1>
<p>김민수는 &lt;서울&gt; <b>강남</b>구에서 태어났다.</p><table><tr><th>해</th><td>1998</td></tr></table>
<ul><li>가수</li><li>배우</li></ul><script>var x = '<p>서울</p>';</script></body></html>"""


def test_korquad_2_is_read_as_the_text_of_its_pages(tmp_path: Path) -> None:
    def question(number: int, told: str, **more: Any) -> dict[str, Any]:
        answer = {"text": told, "answer_start": PAGE.index(told), "html_answer_start": 0, "html_answer_text": told}
        return {"id": str(number), "question": "무엇?", "answer": answer | more}

    told = ["강남</b>구", "&lt;서울&gt;", "<th>해</th><td>1998</td>", "<ul><li>가수</li><li>배우</li></ul>", "태어났다"]
    qas = [question(i, text) for i, text in enumerate(told)]
    qas += [question(5, "태어났다", answer_start=3), question(6, "<b>", answer_start=PAGE.index("<b>"))]
    article = {"title": "글", "url": "u", "context": PAGE, "raw_html": "<html></html>"}
    data = load(tmp_path, {"version": "KorQuAD_v2.1", "data": [article | {"qas": qas}]})
    golds = ["강남구", "<서울>", "해 1998", "가수\n배우", "태어났다", "태어났다"]
    assert [example.golds for example in data.examples] == [(gold,) for gold in golds]
    for example in data.examples[:5]:
        ((start, text),) = example.spans
        assert text == example.golds[0] == example.context[start : start + len(text)]
        assert "color" not in example.context and "var x" not in example.context and "</" not in example.context
    ((start, text),) = data.examples[5].spans  # a wrong place: features name it
    assert example.context[start : start + len(text)] != text
    assert data.left_out() == {"unreadable_question": 1} and "nothing but markup" in data.faults[0].detail
    rows = [{"title": "글", "context": PAGE} | entry for entry in qas[:5]]  # as the Hub exports it
    assert [(e.context, e.spans) for e in load(tmp_path, rows).examples] == [
        (e.context, e.spans) for e in data.examples[:5]
    ]


def test_fragments_of_pages_are_told_by_the_layouts_keys(tmp_path: Path) -> None:
    question = {"id": "1", "question": "무엇?"}
    answer = {"text": "서울", "answer_start": 6, "html_answer_start": 0}
    row = {"context": "<b>가</b>서울&amp;"} | question
    for rows in ({"raw_html": "x", "qas": [question]} | row, [row | {"answer": answer | {"answer_start": 8}}]):
        assert load(tmp_path, rows).examples[0].context == "가서울&"


def test_pages_of_other_data_stay_as_they_are(tmp_path: Path) -> None:
    (example,) = load(tmp_path, [FLAT[0] | {"context": "김민수는 <b>서울</b>에서 &amp;"}]).examples
    assert example.context == "김민수는 <b>서울</b>에서 &amp;"


@pytest.mark.parametrize("layout", ["list", "lines", "articles"])
def test_ids_that_start_anew_in_another_file_are_kept_apart(tmp_path: Path, layout: str) -> None:
    for folder, count in (("x", 3), ("y", 2), ("z", 2)):
        (tmp_path / folder).mkdir()
        rows = [FLAT[0] | {"id": i, "question": f"{folder}{i}?"} for i in range(count)]
        content = {"list": json.dumps(rows).encode(), "lines": lines(rows)}.get(layout)
        if content is None:
            content = json.dumps(squad(None) | {"data": [{"context": CONTEXT, "qas": rows}]}).encode()
        (tmp_path / folder / "dev.json").write_bytes(content)
    data = load_questions(f"{tmp_path}/*/dev.json")
    assert [example.question for example in data.examples] == ["x0?", "x1?", "x2?", "y0?", "y1?", "z0?", "z1?"]
    expected = ["0", "1", "2", "dev.json:0", "dev.json:1", f"{tmp_path}/z/dev.json:0", f"{tmp_path}/z/dev.json:1"]
    assert [example.id for example in data.examples] == expected
    assert data.mended() == {"id_of_another_file": 4} and not data.left_out()


def test_the_same_question_in_two_files_is_one(tmp_path: Path) -> None:
    for name in ("a.json", "b.json"):
        (tmp_path / name).write_text(json.dumps(FLAT))
    data = load_questions(f"{tmp_path}/*.json,{tmp_path}/a.json")
    assert len(data.examples) == 1 and data.left_out() == {"duplicate_id": 1}


def test_questions_whose_answer_is_not_told_are_not_unanswerable(tmp_path: Path) -> None:
    blind = squad([ANSWER])
    del blind["data"][0]["paragraphs"][0]["qas"][0]["answers"]
    for name, content in (("squad.json", json.dumps(blind).encode()), ("flat.jsonl", lines([COLUMNS]))):
        (tmp_path / name).write_bytes(content)
        (example,) = load_questions(str(tmp_path / name)).examples
        assert not example.labelled and example.answerable and example.golds == ()
        (tmp_path / "again.json").write_text(json.dumps(squad_json([example])))
        assert load_questions(str(tmp_path / "again.json")).examples[0] == example


def test_what_is_written_holds_every_gold(tmp_path: Path) -> None:
    examples = [
        QAExample("1", "어디?", CONTEXT, ((5, "서울"),), ("서울시", "서울"), "글"),
        QAExample("2", "누가?", CONTEXT, (), ("부산",), "글"),
    ]
    (tmp_path / "a.json").write_text(json.dumps(squad_json(examples)))
    found = load_questions(str(tmp_path / "a.json")).examples
    assert [(e.spans, set(e.golds)) for e in found] == [(((5, "서울"),), {"서울시", "서울"}), ((), {"부산"})]
    assert all(example.answerable for example in found)


def test_mrqa_places_that_hold_another_text_keep_the_answers_own(tmp_path: Path) -> None:
    question = MRQA[1]["qas"][0] | {"detected_answers": [{"text": "서울", "char_spans": [[0, 1]]}]}
    (tmp_path / "a.jsonl").write_bytes(lines([MRQA[1] | {"qas": [question]}]))
    assert load_questions(str(tmp_path / "a.jsonl")).examples[0].spans == ((0, "서울"),)


def test_line_ends_inside_texts_end_no_line(tmp_path: Path) -> None:
    rows = [FLAT[0] | {"id": str(i), "question": f"어디?{end}정말?"} for i, end in enumerate("\u2028\x85\x0c")]
    (tmp_path / "a.jsonl").write_bytes(b"\n" + lines(rows))
    assert [e.question for e in load_questions(str(tmp_path / "a.jsonl")).examples] == [r["question"] for r in rows]


def test_mrqa_token_spans_serve_where_character_spans_are_missing(tmp_path: Path) -> None:
    question = MRQA[1]["qas"][0] | {"detected_answers": [{"text": "서울에서", "token_spans": [[1, 1]]}]}
    (tmp_path / "a.jsonl").write_bytes(lines([MRQA[1] | {"qas": [question]}]))
    assert load_questions(str(tmp_path / "a.jsonl")).examples[0].spans == ((5, "서울에서"),)


@pytest.mark.parametrize("impossible", [True, "true"])
def test_unanswerable_questions_have_no_golds(tmp_path: Path, impossible: Any) -> None:
    path = tmp_path / "squad2.json"
    path.write_text(json.dumps(squad([ANSWER], is_impossible=impossible)), encoding="utf-8")
    data = load_questions(str(path))
    assert data.examples[0].golds == () and not data.examples[0].answerable


def test_a_mask_inside_a_question_is_no_suffix(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps(squad([ANSWER], question="[MASK]란 무엇인가? [MASK].")), encoding="utf-8")
    assert load_questions(str(path)).examples[0].question == "[MASK]란 무엇인가?"


def test_duplicate_ids_and_empty_questions_are_listed(tmp_path: Path) -> None:
    rows = [FLAT[0], FLAT[0] | {"question": "다른?"}, FLAT[0] | {"id": "2", "question": " "}]
    (tmp_path / "a.jsonl").write_bytes(lines(rows))
    data = load_questions(str(tmp_path / "a.jsonl"))
    assert len(data.examples) == 1
    assert data.fault_counts() == {"duplicate_id": 1, "empty_question": 1}


def test_globs_read_several_files_in_order(tmp_path: Path) -> None:
    question_file(tmp_path / "a.json", 0, 2)
    question_file(tmp_path / "b.json", 2, 4)
    ids = [example.id for example in load_questions(f"{tmp_path}/*.json").examples]
    assert ids == [f"{i}-{kind}" for i in range(4) for kind in ("who", "where")]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty"),
        (json.dumps(squad([ANSWER])).encode()[:-20], "broken JSON at line 1"),
        (lines(FLAT * 2)[:-9], "broken JSON at line 2"),
        ("한글".encode("euc-kr"), "not UTF-8"),
        (gzip.compress(lines(FLAT))[:-9], "broken gzip"),
        (b'{"a": 1}', "not a layout"),
        (b"[1, 2]", "not a layout"),
        (b'{"data": []}', "no usable question"),
    ],
)
def test_a_broken_file_is_named_in_one_line(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "broken.json"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message) as error:
        load_questions(str(path))
    assert str(path) in str(error.value) and "\n" not in str(error.value)


def test_split_by_article_shares_neither_articles_nor_contexts() -> None:
    def example(number: int, article: str, context: str) -> QAExample:
        return QAExample(str(number), "누가?", context, ((0, "가"),), ("가",), article)

    examples = [example(i, f"글{i % 7}", f"문단{i % 13}") for i in range(60)]
    examples += [example(i, f"다른 글{i % 4}", f"다른 문단{i % 4}") for i in range(60, 80)]
    for seed in range(5):
        train, test = split_by_article(examples, 0.5, seed)
        assert sorted(train + test, key=lambda e: int(e.id)) == examples and train and test
        assert not {e.article for e in train} & {e.article for e in test}
        assert not {e.context for e in train} & {e.context for e in test}
    assert split_by_article(examples, 0.5, 1) == split_by_article(examples, 0.5, 1)
    with pytest.raises(InputError, match="cannot split"):
        split_by_article(examples[:1], 0.5, 0)


def test_squad_json_reads_back(tmp_path: Path) -> None:
    examples = load_questions(str(question_file(tmp_path / "a.json"))).examples
    (tmp_path / "b.json").write_text(json.dumps(squad_json(examples), ensure_ascii=False), encoding="utf-8")
    assert load_questions(str(tmp_path / "b.json")).examples == examples
