"""Every layout says the same thing; what is broken is named."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from finetuning.qa.questions import QAExample, load_questions, split_by_article, squad_json
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
    ],
)
def test_every_layout_gives_the_same_question(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    data = load_questions(str(tmp_path / name))
    (example,) = data.examples
    assert (example.id, example.question, example.context) == ("1", "어디?", CONTEXT)
    assert example.spans == ((5, "서울"),) and example.golds == ("서울",)
    assert data.prepared_questions == int("mrqa" in name or "line" in name or "wrongly" in name)


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
