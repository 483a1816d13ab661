"""The library: equal to run_qa.py, several documents as one, threads, bad input, learning, saving."""

import json
import random
import threading
from pathlib import Path

import numpy as np
import pytest

from finetuning import flags
from finetuning.qa.identity import RunSettings
from finetuning.qa.questions import load_questions
from finetuning.qa.run import load_run_data, run_question_answering
from kosplinter import Answer, InputError, QuestionAnswerer
from kosplinter.answering import fitting
from kosplinter.engine import engine, torch_model
from kosplinter.engine.answer import sentence_around
from kosplinter.engine.use import UseSettings
from tests.finetuning.tiny_qa import CITIES, PEOPLE
from tests.kosplinter.conftest import KINDS, USE, qass_without_question_token

SENTENCE = "류현진은 부산에서 태어났다. 지금도 부산에 살며 날마다 강가를 걷는다."
OTHER = "권도현은 대전에서 태어났다. 지금도 대전에 살며 날마다 강가를 걷는다."


def long_questions(path: Path) -> Path:
    """Questions on documents of 1 to 9 windows, and one of white space that no wordpiece covers."""
    generator = random.Random(3)
    rows = []
    for i in range(12):
        text = " ".join(
            f"{generator.choice(PEOPLE)}은 {generator.choice(CITIES)}에서 태어났다." for _ in range(1 + 2 * i)
        )
        rows.append({"id": f"q{i}", "question": "누가 태어났는가?", "context": text, "answer_text": text[:3]})
    rows.append({"id": "blank", "question": "어디에서 태어났는가?", "context": "\u200b \u200b", "answer_text": "x"})
    path.write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows), encoding="utf-8")
    return path


@pytest.mark.parametrize("kind", KINDS)
def test_answers_are_those_of_run_qa(kind: str, models: Path, tmp_path: Path) -> None:
    questions = long_questions(tmp_path / "questions.jsonl")
    command = (
        f"--model_name_or_path {models / kind} --predict_file {questions} --output_dir {tmp_path / 'out'} --do_eval"
    )
    command += " --n_best_size 5 --disable_tqdm True " + " ".join(f"--{name} {value}" for name, value in USE.items())
    parser = flags.make_parser("run_qa.py", "", *flags.SETTINGS)
    model, data, schedule, arguments = flags.parse_settings(parser, command.split())
    run_data = load_run_data(data, False, True)
    results = run_question_answering(RunSettings(model, data, schedule), arguments, run_data)
    nbest = json.loads((tmp_path / "out" / "nbest_predictions.json").read_text(encoding="utf-8"))

    qa = QuestionAnswerer.from_pretrained(models / kind, **USE)
    examples = load_questions(str(questions)).examples
    together = qa.answer_many(
        [(example.question, example.context) for example in examples if example.id != "blank"], top_k=5
    )
    alone = [qa.answer(example.question, example.context, top_k=5) for example in examples[:-1]]
    for example, found, again in zip(examples[:-1], together, alone, strict=True):
        expected = nbest[example.id]
        assert len(found) == len(again) == len(expected) == 5
        for mine, other, theirs in zip(found, again, expected, strict=True):
            assert (mine.text, mine.start, mine.end) == (theirs["text"], theirs["start"], theirs["end"])
            assert mine.text == other.text == example.context[mine.start : mine.end]
            assert mine.score == pytest.approx(theirs["score"], abs=1e-4)
            assert mine.probability == pytest.approx(theirs["probability"], rel=1e-4)
    assert (
        qa.evaluate(questions).items() >= {name: results[name] for name in ("korquad_f1", "squad_f1", "total")}.items()
    )


def test_the_pattern_is_answered_with_its_sentence(taught: Path) -> None:
    qa = QuestionAnswerer.from_pretrained(taught)  # its sizes are noted in it
    answer = qa.answer("누가 태어났는가?", SENTENCE)
    assert isinstance(answer, Answer) and answer.text.startswith("류현진") and answer.document == 0
    assert answer.sentence == "류현진은 부산에서 태어났다." and SENTENCE[answer.start : answer.end] == answer.text
    assert qa.answer("누가 태어났는가? [QUESTION] .", SENTENCE) == answer


def test_several_documents_have_one_ranking_and_one_probability(taught: Path) -> None:
    qa = QuestionAnswerer.from_pretrained(taught)
    documents = ["날마다 강가를 걷는다. " * 6, SENTENCE, "\u200b \u200b", OTHER]
    one_by_one = [qa.answer("누가 태어났는가?", text, top_k=1000) for text in documents]
    together = qa.answer("누가 태어났는가?", documents, top_k=1000)
    assert one_by_one[2] == [] and {answer.document for answer in together} == {0, 1, 3}
    scores = [answer.score for answer in together]
    assert scores == sorted(scores, reverse=True)
    expected = np.array(sorted((answer.score for part in one_by_one for answer in part), reverse=True))
    assert np.allclose(scores, expected, atol=1e-4)
    assert sum(answer.probability for answer in together) == pytest.approx(1, abs=1e-6)  # all spans are listed
    softmax = np.exp(expected) / np.exp(expected).sum()
    assert np.allclose([answer.probability for answer in together], softmax, rtol=1e-3)
    for answer in together[:3]:
        assert documents[answer.document][answer.start : answer.end] == answer.text
    (best,) = qa.answer("누가 태어났는가?", documents, top_k=1)
    assert best == qa.answer("누가 태어났는가?", documents) == together[0]


def test_documents_beyond_one_part_are_ranked_together(taught: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    qa = QuestionAnswerer.from_pretrained(taught)
    documents = [OTHER, "날마다 강가를 걷는다.", SENTENCE]
    expected = qa.answer("어디에서 태어났는가?", documents, top_k=9)
    monkeypatch.setattr(engine, "EXAMPLES_AT_ONCE", 2)
    found = qa.answer("어디에서 태어났는가?", documents, top_k=9)
    assert [(a.text, a.document) for a in found] == [(a.text, a.document) for a in expected]
    assert np.allclose([a.probability for a in found], [a.probability for a in expected], rtol=1e-4)


def test_what_is_less_probable_is_not_given(taught: Path) -> None:
    qa = QuestionAnswerer.from_pretrained(taught)
    best, second = qa.answer("누가 태어났는가?", [SENTENCE, OTHER], top_k=2)
    between = (best.probability + second.probability) / 2
    assert qa.answer("누가 태어났는가?", [SENTENCE, OTHER], top_k=2, min_probability=between) == [best]
    assert qa.answer("누가 태어났는가?", [SENTENCE, OTHER], min_probability=1.0) is None


def test_a_model_that_learned_to_say_nothing_says_nothing(models: Path) -> None:
    silent = QuestionAnswerer.from_pretrained(models / "bert", **USE, null_score_diff_threshold=-1e9)
    assert silent.answer("누가 태어났는가?", SENTENCE) is None and silent.answer("누가?", SENTENCE, top_k=3) == []
    loud = QuestionAnswerer.from_pretrained(models / "bert", **USE, null_score_diff_threshold=1e9)
    sure = QuestionAnswerer.from_pretrained(models / "bert", **USE)
    with_null, without = (qa.answer("누가 태어났는가?", SENTENCE) for qa in (loud, sure))
    assert with_null and without and with_null.text == without.text
    assert with_null.probability < without.probability  # "no answer" takes its share


def test_sixteen_threads_get_what_one_gets(taught: Path) -> None:
    qa = QuestionAnswerer.from_pretrained(taught)
    texts = [
        f"{person}은 {city}에서 태어났다. " + "날마다 강가를 걷는다. " * i
        for i, (person, city) in enumerate(zip(PEOPLE, CITIES, strict=True))
    ]
    expected = [qa.answer("누가 태어났는가?", text) for text in texts]
    found: dict[int, list[Answer | None]] = {}
    start = threading.Barrier(16)

    def ask(own: int) -> None:
        start.wait()
        found[own] = [qa.answer("누가 태어났는가?", texts[(own + i) % 16]) for i in range(4)]

    threads = [threading.Thread(target=ask, args=(i,)) for i in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {own: [expected[(own + i) % 16] for i in range(4)] for own in range(16)}


@pytest.mark.parametrize(("found", "dtype"), [(None, "float32"), ("AMX", "bfloat16")])
def test_auto_chooses_by_the_machine(
    found: str | None, dtype: str, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch_model, "fast_bfloat16", lambda use_cpu: found)
    scores = {}
    for name in ("auto", "float32", "bfloat16"):
        qa = QuestionAnswerer.from_pretrained(models / "qass", dtype=name, **USE)
        best = qa.answer("누가 태어났는가?", SENTENCE)
        assert best
        scores[name] = best.score
    assert scores["auto"] == scores[dtype] and scores["float32"] != scores["bfloat16"]
    assert scores["float32"] == pytest.approx(scores["bfloat16"], abs=0.1)


BAD_FIELDS = [
    ("", SENTENCE, "question: found an empty text"),
    (" \n", SENTENCE, "question: found nothing but white space"),
    ("[QUESTION] .", SENTENCE, "question: found nothing but"),
    (None, SENTENCE, "question: found nothing, expected text"),
    ("누가?".encode("cp949"), SENTENCE, "question: found bytes"),
    ("누가\ud800?", SENTENCE, "question: found half a surrogate pair .U.D800. at character 2"),
    ("누가?", "", "document: found an empty text"),
    ("누가?", "부산\0", "document: found NUL at character 2"),
    ("누가?", [], "documents: found an empty list"),
    ("누가?", None, "documents: found nothing"),
    ("누가?", 7, "documents: found int"),
    ("누가?", SENTENCE.encode(), "documents: found bytes"),
    ("누가?", [SENTENCE, "\t"], r"documents\[1\]: found nothing but white space"),
    ("누가?", [SENTENCE, "\udfff"], r"documents\[1\]: found half"),
    ("누가?", [SENTENCE, {"text": SENTENCE}], r"documents\[1\]: found dict"),
]


@pytest.mark.parametrize(("question", "documents", "message"), BAD_FIELDS)
def test_a_field_that_cannot_be_used_is_named(taught: Path, question: object, documents: object, message: str) -> None:
    qa = QuestionAnswerer.from_pretrained(taught)
    with pytest.raises(InputError, match=f"^{message}"):
        qa.answer(question, documents)  # type: ignore[call-overload]
    with pytest.raises(InputError, match=rf"^requests\[1\]\.{message}"):
        qa.answer_many([("누가?", SENTENCE), (question, documents)])  # type: ignore[list-item]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"top_k": 0}, "top_k: found 0"),
        ({"top_k": 1.5}, "top_k: found 1.5"),
        ({"top_k": 1001}, "top_k: found 1001, expected a whole number from 1 to 1000"),
        ({"min_probability": 1.1}, "min_probability: found 1.1"),
        ({"min_probability": float("nan")}, "min_probability: found nan"),
        ({"min_probability": True}, "min_probability: found True"),
    ],
)
def test_a_number_out_of_range_is_named(taught: Path, arguments: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        QuestionAnswerer.from_pretrained(taught).answer("누가?", SENTENCE, **arguments)


def test_models_that_cannot_be_used_say_why(models: Path, tmp_path: Path) -> None:
    for model, use, message in (
        (tmp_path / "absent", {}, "no such model folder"),
        (models, {}, "found no config.json"),
        (models / "qass", {"dtype": "float64"}, "dtype: found 'float64'"),
        (models / "qass", {"max_length": 3}, "max_length: no setting of a model's use"),
        (models / "qass", {"device": "abacus"}, "device: found 'abacus'"),
        (models / "bert", {"max_seq_length": 4000}, "max_seq_length: found 4000"),
    ):
        with pytest.raises(InputError, match=message):
            QuestionAnswerer.from_pretrained(model, **use)


def test_a_qass_model_without_the_question_token_is_refused(models: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"has no \[QUESTION\]"):
        QuestionAnswerer.from_pretrained(qass_without_question_token(models, tmp_path / "model"), **USE)


def test_two_megabytes_are_read_to_their_end(taught: Path) -> None:
    answer = QuestionAnswerer.from_pretrained(taught).answer("누가 태어났는가?", "\n" * 2_000_000 + SENTENCE)
    assert answer and answer.start >= 2_000_000 and answer.sentence in SENTENCE


def test_learning_keeps_the_best_seed_and_what_is_saved_answers_alike(models: Path, tmp_path: Path) -> None:
    qa = QuestionAnswerer.from_pretrained(models / "qass", **USE)
    before = qa.answer("누가 태어났는가?", SENTENCE)
    learn = {"learning_rate": 1e-2, "min_steps": 12, "num_train_epochs": 1, "disable_tqdm": True}
    results = qa.fit(
        models / "questions.json",
        validation=models / "questions.json",
        seeds=(1, 2),
        output_dir=tmp_path / "runs",
        **learn,
    )
    of_seeds = {
        seed: json.loads((tmp_path / "runs" / f"seed-{seed}" / "eval_results.json").read_text())["korquad_f1"]
        for seed in (1, 2)
    }
    assert results["korquad_f1"] == max(of_seeds.values()) == of_seeds[results["seed"]]
    assert qa.evaluate(models / "questions.json")["korquad_f1"] == pytest.approx(results["korquad_f1"])
    after = qa.answer("누가 태어났는가?", SENTENCE)
    assert before and after and after.score != before.score
    qa.save_pretrained(tmp_path / "mine")
    qa.save_pretrained(tmp_path / "mine")  # again, over itself
    assert QuestionAnswerer.from_pretrained(tmp_path / "mine").answer("누가 태어났는가?", SENTENCE) == after
    assert not [path for path in (tmp_path / "mine").iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize("best", [1, 2, 3])
def test_of_several_seeds_the_best_is_kept(best: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def scores(argv: list[str], do_eval: bool) -> dict[str, float]:
        return {"korquad_exact_match": 50.0, "korquad_f1": 60.0 + (f"--seed={best}" in argv)}

    monkeypatch.setattr(fitting, "_run", scores)
    folder, results = fitting.fit_model("model", UseSettings(), "train", "dev", tmp_path, (1, 2, 3), {})
    assert folder == tmp_path / f"seed-{best}" and results["seed"] == best


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"seeds": ()}, "seeds: found .*at least one"),
        ({"seeds": (1, 2)}, "seeds: found .*validation"),
        ({"rate": 1}, "rate"),
        ({"do_train": False}, "do_train: fit sets it itself"),
        ({"learning_rate": "fast"}, "fit: a flag"),
    ],
)
def test_what_fit_cannot_do_is_said(models: Path, arguments: dict, message: str) -> None:
    qa = QuestionAnswerer.from_pretrained(models / "qass", **USE)
    with pytest.raises(InputError, match=message):
        qa.fit(models / "questions.json", **arguments)


@pytest.mark.parametrize(
    ("text", "inside", "sentence"),
    [
        ("하나. 둘은 둘이다. 셋.", "둘", "둘은 둘이다."),
        ("그는 “간다.” 하고 말했다. 끝.", "간다", "그는 “간다.”"),
        ("제목\n본문이 있다", "본문", "본문이 있다"),
        ("3.14는 수다. 끝", "14", "3.14는 수다."),
        ("  홀로  ", "홀로", "홀로"),
        ("하나. 둘.", "나. 둘", "하나. 둘."),
    ],
)
def test_the_sentence_around_an_answer(text: str, inside: str, sentence: str) -> None:
    start = text.index(inside)
    assert sentence_around(text, start, start + len(inside)) == sentence
