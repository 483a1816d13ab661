"""Worked examples by hand, and properties that every score has."""

from hypothesis import given
from hypothesis import strategies as st
from pytest import approx, mark

from finetuning.qa.metrics import (
    METRICS,
    best_null_threshold,
    evaluate_oracle,
    evaluate_predictions,
    normalize_korquad,
    normalize_squad,
)
from finetuning.qa.questions import QAExample

KOREAN_TEXT = st.text(alphabet="가나다 the an《》()'\".,!-0AbC\u200b", max_size=12)


def example(question: str, *golds: str) -> QAExample:
    return QAExample(question, "질문", "본문", spans=(), golds=golds, article="글")


@mark.parametrize(
    ("text", "expected"),
    [
        ("《토지》(1969)", "토지 1969"),
        ("‘태백산맥’의  저자", "태백산맥 의 저자"),
        ("A-B, C.", "ab c"),
        ("The 〈별〉", "the 별"),
        ("“별”", "“별”"),
    ],
)
def test_korquad_normalisation(text: str, expected: str) -> None:
    assert normalize_korquad(text) == expected


def test_squad_normalisation() -> None:
    assert normalize_squad("The cat's  an (anchor)!") == "cats anchor"


@mark.parametrize(
    ("metric", "prediction", "golds", "exact", "f1"),
    [
        ("korquad", "임종석은", ["임종석"], 0, 2 * 0.75 / 1.75),  # 3 of 4 characters, all 3 of the gold
        ("korquad", "1989년 2월", ["1989년2월"], 0, 1.0),  # the blank counts in EM only
        ("korquad", "《토지》", ["토지"], 1, 1.0),
        ("korquad", "나가", ["가나", "나가다"], 0, 1.0),  # bags: the first gold has the same characters
        ("korquad", "다", ["가나"], 0, 0.0),
        ("squad", "임종석은", ["임종석"], 0, 0.0),  # words, not characters
        ("squad", "the cat sat", ["a cat"], 0, 2 * 0.5 / 1.5),
        ("squad", "The Cat.", ["cat"], 1, 1.0),
        ("squad2", "", [], 1, 1.0),
        ("squad2", "cat", [], 0, 0.0),
        ("squad2", "", ["cat"], 0, 0.0),
        ("squad2", "the", ["an"], 1, 1.0),  # golds that normalise to nothing make a question unanswerable
        ("klue", "가나마라", ["가나다라"], 0, 0.5),  # the longest common run, not all common characters
        ("klue", "1989년 2월", ["1989년2월"], 0, 2 * (5 / 8) * (5 / 7) / (5 / 8 + 5 / 7)),  # the blank counts
        ("klue", "<토지>, 'X'", ["토지 x"], 1, 1.0),  # ASCII punctuation and case do not
        ("klue", "《토지》", ["토지"], 0, 2 * 0.5 / 1.5),  # other marks do
        ("klue", "라", ["가나", "다라마"], 0, 0.5),  # the best of the golds
        ("klue", "라", ["가나"], 0, 0.0),
        ("klue", "", [], 1, 1.0),
        ("klue", "가", [], 0, 0.0),
        ("klue", "", ["가"], 0, 0.0),
        ("klue", "나나" + "가" * 9, ["가" * 150 + "나" * 150], 0, 0.0),  # difflib passes over what fills a long text
        ("mrqa", "new york city", ["New York"], 0, 2 * (2 / 3) / (5 / 3)),
    ],
)
def test_worked_examples(metric: str, prediction: str, golds: list[str], exact: int, f1: float) -> None:
    assert METRICS[metric].score(prediction, example("1", *golds)) == (exact, approx(f1, abs=1e-12))


def test_percentages_count_unanswered_questions_as_zero() -> None:
    examples = [example("1", "가"), example("2", "가나"), example("3", "다"), example("4", "라")]
    results = evaluate_predictions({"1": "가", "2": "가", "3": ""}, examples, ["korquad"])
    assert results == {
        "total": 4,
        "unanswered": 1,
        "korquad_exact_match": 25.0,
        "korquad_f1": 100.0 * (1 + 2 * 0.5 / 1.5) / 4,
    }


def test_klue_names_its_f1_rouge_w() -> None:
    results = evaluate_predictions({"1": "가나", "2": ""}, [example("1", "가다"), example("2")], ["klue"])
    assert results["klue_rouge_w"] == results["klue_f1"] == 75.0 and results["klue_exact_match"] == 50.0


def test_squad2_tells_answerable_and_unanswerable_questions_apart() -> None:
    examples = [example("1", "cat"), example("2"), example("3")]
    results = evaluate_predictions({"1": "cat", "2": "", "3": "dog"}, examples, ["squad2"])
    assert results["squad2_f1"] == approx(200 / 3)
    assert results["squad2_has_answer_f1"] == 100.0
    assert results["squad2_no_answer_exact_match"] == 50.0


def test_oracle_takes_the_best_candidate() -> None:
    nbest = {"1": [{"text": "나"}, {"text": "가"}], "2": [{"text": "다라"}]}
    results = evaluate_oracle(nbest, [example("1", "가"), example("2", "다")], "korquad")
    assert results == {"korquad_oracle_exact_match": 50.0, "korquad_oracle_f1": approx(100 * (1 + 2 / 3) / 2)}


@mark.parametrize("name", ["squad2", "korquad", "klue", "squad"])
def test_best_null_threshold_against_every_threshold(name: str) -> None:
    examples = [example("1", "cat"), example("2"), example("3", "dog"), example("4"), example("5", "a b"), example("6")]
    examples += [example("7"), example("8", "cow")]
    differences = {"1": -3.0, "2": 2.0, "3": 1.0, "4": -1.0, "5": 4.0, "7": 1.0, "8": 1.0}  # three speak together
    predictions = {"1": "cat", "2": "x", "3": "dog", "4": "y", "5": "b c", "6": "", "7": "z", "8": "crow"}
    found = best_null_threshold(differences, predictions, examples, name)

    def f1_at(threshold: float) -> float:
        chosen = {
            key: text if differences.get(key, float("inf")) <= threshold else "" for key, text in predictions.items()
        }
        return evaluate_predictions(chosen, examples, [name])[f"{name}_f1"]

    assert found["best_null_threshold_metric"] == f"{name}_f1"
    assert found["best_f1_at_threshold"] == approx(f1_at(float(found["best_null_threshold"])))
    assert found["best_f1_at_threshold"] == approx(max(f1_at(t) for t in [-9.0, *differences.values()]))


def test_the_best_null_threshold_is_the_lowest_of_equally_good_ones_and_goes_by_its_metric() -> None:
    assert best_null_threshold({}, {"6": ""}, [example("6")], "squad2")["best_f1_at_threshold"] == 100
    differences, predictions = {"1": 0.0, "2": 1.0}, {"1": "x", "2": "cats"}
    examples = [example("1"), example("2", "cat")]  # saying "cats" is worth nothing by words, and 6/7 by characters
    assert best_null_threshold(differences, predictions, examples, "squad2")["best_null_threshold"] == -1.0
    better = [example("1"), example("2", "cat"), example("3", "kit")]
    differences["3"], predictions["3"] = 1.0, "kits"
    assert best_null_threshold(differences, predictions, better, "korquad")["best_null_threshold"] == 1.0
    assert best_null_threshold(differences, predictions, better, "squad2")["best_null_threshold"] == -1.0


@given(KOREAN_TEXT, KOREAN_TEXT)
def test_f1_is_symmetric_bounded_and_one_where_exact(first: str, second: str) -> None:
    for name in ("korquad", "squad", "squad2", "klue"):
        metric = METRICS[name]
        exact, f1 = metric.score(first, example("1", second))
        assert 0 <= f1 <= 1
        if name != "squad2":
            assert f1 == metric.score(second, example("1", first))[1]
        if exact and metric.units(first):
            assert f1 == 1


@given(KOREAN_TEXT)
def test_normalisation_is_idempotent(text: str) -> None:
    once = normalize_korquad(text)
    assert normalize_korquad(once) == once
