"""The few-shot protocol: samples, resumption, report, and error classes."""

import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from finetuning import analyze_errors, run_few_shot
from finetuning.analyze_errors import CLASSES, classify_rows
from finetuning.qa.questions import QAExample, load_questions
from finetuning.study import parallel
from finetuning.study import protocol as few_shot
from finetuning.study.protocol import FULL, Run, StudySettings, draw_sample
from finetuning.study.report import (
    compare,
    hangul_font,
    label,
    markdown_report,
    paired_bootstrap,
    summarize,
)
from kosplinter_common.cli import InputError
from tests.finetuning.tiny_qa import bert_folder, qass_folder, question_file

EXAMPLES = [QAExample(str(i), "누가?", "가", ((0, "가"),), ("가",), "글") for i in range(40)]


def ids(examples: list[QAExample]) -> list[str]:
    return [example.id for example in examples]


def test_samples_are_drawn_by_seed_without_repeats_and_independently() -> None:
    drawn = {(size, k): ids(draw_sample(EXAMPLES, size, k, 0)) for size in ("8", "16") for k in range(3)}
    assert drawn == {(size, k): ids(draw_sample(EXAMPLES, size, k, 0)) for size in ("8", "16") for k in range(3)}
    assert all(len(set(sample)) == int(size) for (size, _), sample in drawn.items())
    assert len({tuple(sample) for sample in drawn.values()}) == 6
    assert not set(drawn["8", 0]) <= set(drawn["16", 0])  # not nested
    assert ids(draw_sample(EXAMPLES, "8", 0, 1)) != drawn["8", 0]
    assert draw_sample(EXAMPLES, FULL, 0, 0) == EXAMPLES
    with pytest.raises(InputError, match="found 41, the training set has 40"):
        draw_sample(EXAMPLES, "41", 0, 0)


def test_samples_are_uniform() -> None:
    counts = np.zeros(len(EXAMPLES))
    for k in range(2000):
        for name in ids(draw_sample(EXAMPLES, "10", k, 0)):
            counts[int(name)] += 1
    # binomial(2000, 1/4): mean 500, standard deviation 19.4; 40 counts stay within 4.5 of them
    assert abs(counts - 500).max() < 4.5 * 19.4


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"models": []}, "--models"),
        ({"models": ["a/x", "b/x"]}, "equal names"),
        ({"models": ["a"], "sizes": ["16", "many"]}, "many"),
        ({"models": ["a"], "sizes": ["0"]}, "positive"),
        ({"models": ["a"], "num_samples": 0}, "num_samples"),
    ],
)
def test_bad_studies_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        StudySettings(**settings)


def test_a_study_runs_reports_and_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    qass_folder(tmp_path / "Qass")
    bert_folder(tmp_path / "Bert")
    question_file(tmp_path / "questions.json")
    output_dir = tmp_path / "study"

    def study(flags: str) -> None:
        command = (
            f"run_few_shot.py --train_file {tmp_path}/questions.json --split_by_article 0.75 --output_dir {output_dir} "
            "--min_steps 2 --num_train_epochs 1 --max_seq_length 48 --disable_tqdm True --bootstrap_samples 50 "
            f"--num_samples 2 --models {tmp_path}/Qass {tmp_path}/Bert {flags}"
        )
        monkeypatch.setattr(sys, "argv", command.split())
        run_few_shot.main()

    with pytest.raises(InputError, match="found 99, the training set has 24"):
        study("--sizes 4 99")
    assert not output_dir.exists()
    study("--sizes 4 full --parallel_runs 2 --full_epochs 2.5 --per_device_train_batch_size 8")
    results = json.loads((output_dir / "results.json").read_text(encoding="utf-8"))
    assert [(run["model"], run["size"], run["sample"]) for run in results["runs"]] == [
        *(("Qass", "4", 0), ("Bert", "4", 0), ("Qass", "4", 1), ("Bert", "4", 1)),
        *(("Qass", "full", 0), ("Bert", "full", 0)),
    ]
    sample = load_questions(f"{output_dir}/samples/4-1.json").examples
    assert len(sample) == 4
    held_out = {example.article for example in load_questions(f"{output_dir}/split_predict.json").examples}
    assert not held_out & {example.article for example in sample}
    assert (output_dir / "learning_curve.png").read_bytes()[:4] == b"\x89PNG"
    report = (output_dir / "results.md").read_text(encoding="utf-8")
    assert "| model | metric | 4 | full |" in report and "Qass − Bert" in report
    assert not list(output_dir.rglob("*.safetensors"))

    runs = {(run["size"], run["sample"]): run["results"] for run in results["runs"]}
    assert {place: run["seed"] for place, run in runs.items()} == {("4", 0): 42, ("4", 1): 43, ("full", 0): 42}
    steps = {
        size: json.loads((output_dir / f"runs/Qass/{size}-0/train_results.json").read_text(encoding="utf-8"))["steps"]
        for size in ("4", "full")
    }
    assert steps == {"4": 2, "full": 8}  # 2.5 epochs of 24 windows in batches of 8

    run_again = []
    monkeypatch.setattr(few_shot, "run_question_answering", lambda *_: run_again.append(1))
    shared = " --full_epochs 2.5 --per_device_train_batch_size 8"
    study("--sizes 4 full" + shared)
    assert not run_again
    with pytest.raises(InputError, match="another study: found learning_rate"):
        study("--sizes 4 full --learning_rate 1e-4" + shared)
    qass_folder(tmp_path / "elsewhere" / "Qass")
    with pytest.raises(InputError, match="holds another run: found model_name_or_path"):
        study(f"--sizes 4 full --models {tmp_path}/elsewhere/Qass {tmp_path}/Bert" + shared)
    weights = tmp_path / "Bert" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x01")
    with pytest.raises(InputError, match="holds another run: found model_sha256"):
        study("--sizes 4 full" + shared)


def test_runs_have_a_gpu_each_or_share_what_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(parallel.torch.cuda, "device_count", lambda: 0)
    monkeypatch.setattr(parallel.os, "cpu_count", lambda: 8)
    assert parallel.places(0, use_cpu=False) == parallel.places(1, use_cpu=True) == [{}]
    assert parallel.places(3, use_cpu=False) == [{"OMP_NUM_THREADS": "2"}] * 3
    monkeypatch.setattr(parallel.torch.cuda, "device_count", lambda: 1)
    assert parallel.places(0, use_cpu=False) == [{}]
    monkeypatch.setattr(parallel.torch.cuda, "device_count", lambda: 2)

    def gpus(runs: int) -> list[str]:
        return [place["CUDA_VISIBLE_DEVICES"] for place in parallel.places(runs, use_cpu=False)]

    assert (gpus(0), gpus(1), gpus(3)) == (["0", "1"], ["0"], ["0", "1", "0"])
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-a, 5")
    assert gpus(0) == ["GPU-a", "5"] and parallel.places(0, use_cpu=True) == [{}]


def ready() -> str:
    return os.environ.get("PLACE", "none")


def note_place(place: str, job: Path) -> None:
    if job.name == "bad":
        raise InputError("a clear line")
    if job.name == "dies":
        os._exit(3)
    job.write_text(place)


def test_processes_work_where_they_are_put_and_the_first_fault_ends_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parallel, "SECONDS_BETWEEN_LOOKS", 0.2)
    jobs = [tmp_path / str(i) for i in range(4)]
    parallel.run_in_processes(ready, note_place, jobs, [{"PLACE": "a"}])
    assert [job.read_text() for job in jobs] == ["a"] * 4 and "PLACE" not in os.environ
    with pytest.raises(InputError, match="a clear line"):
        parallel.run_in_processes(ready, note_place, [tmp_path / "bad", *jobs], [{}])
    with pytest.raises(InputError, match="ended with status 3"):
        parallel.run_in_processes(ready, note_place, [tmp_path / "dies", *jobs], [{}])


def test_models_and_sizes_are_added_to_a_study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From other folders, a model's own among them, by other paths to the same places: still the same study."""
    for name, make in (("A", qass_folder), ("B", bert_folder)):
        make(tmp_path / name)
    questions = json.loads(question_file(tmp_path / "questions.json").read_text(encoding="utf-8"))
    for article in questions["data"]:
        for question in article["paragraphs"][0]["qas"]:
            del question["id"]  # named by their places then, which must not hold the path they were read from
    (tmp_path / "questions.json").write_text(json.dumps(questions))
    trained = []
    real = few_shot.run_question_answering

    def noted(settings: Any, *rest: Any) -> Any:
        trained.append(Path(settings.model.model_name_or_path).resolve().name)
        return real(settings, *rest)

    monkeypatch.setattr(few_shot, "run_question_answering", noted)

    def study(folder: Path, output_dir: str, flags: str) -> list[tuple[str, str]]:
        monkeypatch.chdir(folder)
        path = "questions.json" if folder == tmp_path else "../questions.json"
        command = (
            f"run_few_shot.py --train_file {path} --split_by_article 0.75 --output_dir {output_dir} --min_steps 1 "
        )
        command += "--num_train_epochs 1 --max_seq_length 48 --disable_tqdm True --bootstrap_samples 5 "
        command += "--num_samples 1 "
        monkeypatch.setattr(sys, "argv", (command + flags).split())
        run_few_shot.main()
        results = json.loads((tmp_path / "study" / "results.json").read_text(encoding="utf-8"))
        return [(run["model"], run["size"]) for run in results["runs"]]

    assert study(tmp_path, "study", "--sizes 8 --models A") == [("A", "8")]
    assert study(tmp_path / "A", "../study", "--sizes 8 --models ../B") == [("A", "8"), ("B", "8")]
    runs = [("A", "4"), ("A", "8"), ("B", "8")]
    assert study(tmp_path / "A", f"{tmp_path}/study", "--sizes 4 8 --models .") == runs
    assert study(tmp_path / "B", "../study", f"--sizes 8 full --models {tmp_path}/B") == [*runs, ("B", "full")]
    assert trained == ["A", "B", "A", "B"]  # nothing that was done before
    report = (tmp_path / "study" / "results.md").read_text(encoding="utf-8")
    assert "| model | metric | 4 | 8 | full |" in report and "A − B" in report and "| B | EM | – |" in report
    qass_folder(tmp_path / "other" / "A")
    with pytest.raises(InputError, match=r"A holds another run: found model_name_or_path .*name it with --model_names"):
        study(tmp_path, "study", "--sizes 2 --models other/A")


def test_a_study_that_stops_early_scores_the_best_epoch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    qass_folder(tmp_path / "Qass")
    command = (
        f"run_few_shot.py --train_file {question_file(tmp_path / 'questions.json')} --split_by_article 0.75 "
        f"--output_dir {tmp_path}/study --models {tmp_path}/Qass --sizes 16 --num_samples 1 --min_steps 1 "
        "--num_train_epochs 20 --learning_rate 1e-2 --max_seq_length 48 --disable_tqdm True --bootstrap_samples 50 "
        "--evaluate_every_epoch --early_stopping_patience 2"
    )
    monkeypatch.setattr(sys, "argv", command.split())
    run_few_shot.main()
    run_dir = tmp_path / "study" / "runs" / "Qass" / "16-0"
    results = json.loads((run_dir / "eval_results.json").read_text(encoding="utf-8"))
    f1 = [epoch["eval_korquad_f1"] for epoch in results["epochs"]]
    assert results["korquad_f1"] == max(f1) and f1.index(max(f1)) == len(f1) - 3 < 17
    assert not list(run_dir.rglob("*.safetensors"))


def fake_run(folder: Path, model: str, sample: int, scores: list[float]) -> Run:
    path = folder / f"{model}-{sample}.jsonl"
    rows = [{"korquad_exact_match": score, "korquad_f1": score} for score in scores]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    mean = 100 * sum(scores) / len(scores)
    return Run(model, "16", sample, 16, {"korquad_exact_match": mean, "korquad_f1": mean}, path)


def test_the_table_has_means_and_sample_deviations(tmp_path: Path) -> None:
    runs = [fake_run(tmp_path, "A", 0, [1, 1, 1, 0]), fake_run(tmp_path, "A", 1, [1, 1, 0, 0])]
    cells = summarize(runs, "korquad")
    assert [(cell.score, cell.mean) for cell in cells] == [("exact_match", 62.5), ("f1", 62.5)]
    assert cells[0].deviation == pytest.approx(25 / 2**0.5)  # n − 1 in the denominator
    assert "| A | EM | 62.50 ± 17.68 |" in markdown_report(cells, [], 4, "korquad")


def test_compare_pairs_questions_and_samples(tmp_path: Path) -> None:
    better, worse = [1.0] * 60 + [0.0] * 40, [1.0] * 30 + [0.0] * 70
    scores = {"A": better, "B": worse}
    runs = [fake_run(tmp_path, model, k, scores[model]) for model in scores for k in range(2)]
    difference = compare(runs, "korquad", 500, seed=0)[0]
    assert (difference.first, difference.second, difference.mean) == ("A", "B", 30.0)
    assert 15 < difference.low < 30 < difference.high < 45


def test_bootstrap_intervals_hold_the_true_mean_as_often_as_they_say() -> None:
    generator = np.random.default_rng(0)
    trials, inside = 200, 0
    for trial in range(trials):
        low, high = paired_bootstrap(generator.normal(1.0, 5.0, (1, 80)), 200, seed=trial)
        inside += low <= 1.0 <= high
    # 95% of 200 is 190 with standard deviation 3.1; a percentile bootstrap of 80 values falls a little short
    assert 176 <= inside <= 199


def test_labels_are_english_where_hangul_cannot_render() -> None:
    assert label("학습 질문 수", "Training questions", None) == "Training questions"
    assert label("학습 질문 수", "Training questions", "NanumGothic") == "학습 질문 수 (Training questions)"
    assert hangul_font() is None or isinstance(hangul_font(), str)


@pytest.mark.parametrize(
    ("expected", "prediction", "span", "golds"),
    [
        ("right", "서울.", [10, 13], ["서울"]),
        ("too_long_by_particle", "서울에서", [10, 14], ["서울"]),
        ("too_short_by_particle", "서울", [10, 12], ["서울에서"]),
        ("too_long", "수도 서울", [7, 12], ["서울"]),
        ("too_short", "서", [10, 11], ["서울"]),
        ("overlapping", "울에서", [11, 14], ["서울"]),
        ("other_window", "부산", [95, 97], ["서울"]),
        ("wrong_span", "부산", [40, 42], ["서울"]),
        ("should_be_silent", "부산", [40, 42], []),
        ("right", "", None, []),
        ("silent", "", None, ["서울"]),
    ],
)
def test_error_classes(expected: str, prediction: str, span: list[int] | None, golds: list[str]) -> None:
    gold_spans = [[10, 10 + len(gold)] for gold in golds]
    windows = [[0, 60], [50, 100]]
    row = {"prediction": prediction, "span": span, "golds": golds, "gold_spans": gold_spans, "windows": windows}
    classes = classify_rows([row], "korquad")
    assert {name for name, rows in classes.items() if rows} == {expected} and classes.keys() == CLASSES.keys()


def test_analyze_errors_prints_classes_with_examples(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    row = {"id": "1", "question": "어디?", "prediction": "서울에서", "span": [0, 4], "golds": ["서울"]}
    row |= {"gold_spans": [[0, 2]], "windows": [[0, 9]]}
    (tmp_path / "rows.jsonl").write_text(json.dumps(row) + "\n", encoding="utf-8")
    monkeypatch.setattr(sys, "argv", ["analyze_errors.py", f"{tmp_path}/rows.jsonl", "--json", f"{tmp_path}/out.json"])
    analyze_errors.main()
    printed = capsys.readouterr().out
    assert "too_long_by_particle: 1 of 1 (100.0%)" in printed and "found '서울에서', expected '서울'" in printed
    counts = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
    assert counts["too_long_by_particle"] == {"count": 1, "ids": ["1"]} and counts["right"]["count"] == 0
    (tmp_path / "rows.jsonl").write_text('{"id": 1}\n', encoding="utf-8")
    with pytest.raises(InputError, match="expected rows of question_results"):
        analyze_errors.main()
