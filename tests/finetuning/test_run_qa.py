"""The entry points from end to end on tiny models: learning, files, resumption, determinism, bad input."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from finetuning import evaluate, flags, predict
from finetuning.qa import answering
from finetuning.qa import run as qa_run
from finetuning.qa.identity import RunSettings, last_checkpoint
from finetuning.qa.model import load_qa_model
from finetuning.qa.questions import load_questions
from finetuning.qa.run import load_run_data, run_question_answering
from finetuning.qa.settings import DataSettings, ModelSettings, ScheduleSettings
from finetuning.qa.usage import usage_of
from kosplinter_common.cli import InputError
from tests.finetuning.tiny_qa import (
    bert_folder,
    electra_folder,
    klue_roberta_folder,
    qass_folder,
    question_file,
    splinter_folder,
)

ROOT = Path(__file__).resolve().parents[2]
LEARN = "--learning_rate=1e-2 --max_seq_length 48 --doc_stride=16 --max_answer_length 6 --disable_tqdm True"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("qa")
    qass_folder(path / "qass")
    splinter_folder(path / "splinter")
    bert_folder(path / "bert")
    electra_folder(path / "electra")
    klue_roberta_folder(path / "roberta")
    bert_folder(path / "bert_without_question", with_question=False)
    question_file(path / "questions.json")
    return path


def run(command: str) -> dict[str, Any]:
    """What `python finetuning/run_qa.py` does with these flags, in this process."""
    parser = flags.make_parser("run_qa.py", "", *flags.SETTINGS)
    model, data, schedule, arguments = flags.parse_settings(parser, command.split())
    flags.prepare_training_arguments(arguments, schedule, data, arguments.do_eval)
    run_data = load_run_data(data, arguments.do_train, arguments.do_eval)
    return run_question_answering(RunSettings(model, data, schedule), arguments, run_data)


@pytest.fixture(scope="module")
def trained(folder: Path) -> Path:
    """The README command of the original, flag for flag."""
    flags = (
        f"--model_type=bert --model_name_or_path {folder}/qass --qass_head=True --tokenizer_name {folder}/qass "
        f"--output_dir {folder}/trained --train_file {folder}/questions.json --predict_file {folder}/questions.json "
        "--do_train --do_eval --threads 1 --save_steps 100 --per_gpu_train_batch_size=8 --per_gpu_eval_batch_size=16 "
        f"{LEARN} --warmup_ratio=0.1 --min_steps 120 --num_train_epochs=1 --seed=42 --use_cache=False "
        "--evaluate_every_epoch=False"
    )
    run(flags)
    return folder / "trained"


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def test_the_original_command_learns_the_pattern(trained: Path) -> None:
    results, training = read(trained / "eval_results.json"), read(trained / "train_results.json")
    assert results["total"] == 32 and results["unanswered"] == 0
    assert results["korquad_f1"] > 80 and results["korquad_exact_match"] > 60
    assert results["korquad_oracle_f1"] >= results["korquad_f1"]
    noted = {"max_seq_length": 48, "doc_stride": 16, "max_answer_length": 6, "hide_sep": True}
    assert usage_of(str(trained)).items() >= noted.items()
    assert training["steps"] == 120 and training["last_logged_loss"] < training["first_logged_loss"] / 3
    assert {"seed", "versions", "squad_f1", "squad_exact_match", "peak_memory_mib"} <= results.keys()
    assert results["dtype"] == training["dtype"] == "float32"


def test_all_result_files_agree(trained: Path, folder: Path) -> None:
    predictions, nbest = read(trained / "predictions.json"), read(trained / "nbest_predictions.json")
    rows = [json.loads(line) for line in (trained / "question_results.jsonl").read_text(encoding="utf-8").splitlines()]
    examples = {example.id: example for example in load_questions(f"{folder}/questions.json").examples}
    assert predictions.keys() == nbest.keys() == {row["id"] for row in rows} == examples.keys()
    for row in rows:
        best, context = nbest[row["id"]][0], examples[row["id"]].context
        assert row["prediction"] == predictions[row["id"]] == best["text"] == context[best["start"] : best["end"]]
        assert sum(answer["probability"] for answer in nbest[row["id"]]) <= 1 + 1e-6
    command = [sys.executable, "-m", "finetuning.evaluate", f"{trained}/predictions.json", f"{folder}/questions.json"]
    command += ["--nbest", f"{trained}/nbest_predictions.json"]
    printed = json.loads(subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout)
    assert printed.items() <= read(trained / "eval_results.json").items()


def test_predict_prints_answer_score_and_offsets(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    context = "권도현은 대전에서 태어났다. 지금도 대전에 살며 날마다 강가를 걷는다."
    (tmp_path / "context.txt").write_text(context, encoding="utf-8")
    command = f"predict.py --model {trained} --json --context_file {tmp_path}/context.txt --question"
    monkeypatch.setattr(sys, "argv", [*command.split(), "누가 태어났는가?"])
    predict.main()
    (answer,) = json.loads(capsys.readouterr().out)["answers"]
    assert context[answer["start"] : answer["end"]] == answer["text"] and 0 < answer["probability"] <= 1
    assert answer["text"].startswith("권도현")


def test_a_long_context_is_read_in_windows(trained: Path) -> None:
    sizes = answering.AnswerSettings(max_seq_length=48, doc_stride=16, max_answer_length=6, n_best=2)
    answerer = answering.Answerer(str(trained), sizes)
    sentence = "류현진은 부산에서 태어났다. 지금도 부산에 살며 날마다 강가를 걷는다. "
    padding = "날마다 강가를 걷는다. " * 40
    short, long = (answerer.answer("누가 태어났는가?", text)[0] for text in (sentence, padding + sentence))
    assert long["start"] >= len(padding) and long["text"] == short["text"]
    assert answerer.answer("누가 태어났는가?", "\u200b \u200b") == []
    assert answerer._qa_model.template.hidden_ids  # as the model notes
    with pytest.raises(InputError, match="question is empty"):
        answerer.answer(" ", sentence)


def test_a_finished_training_is_not_repeated_and_another_run_is_refused(trained: Path, folder: Path) -> None:
    flags = (
        f"--model_name_or_path {folder}/qass --model_type=bert --tokenizer_name {folder}/qass --qass_head=True "
        f"--output_dir {trained} --train_file {folder}/questions.json --predict_file {folder}/questions.json "
        f"--do_train --do_eval {LEARN} --min_steps 120 --num_train_epochs=1 --per_gpu_train_batch_size=8"
    )
    before, predictions = (trained / "model.safetensors").read_bytes(), (trained / "predictions.json").read_bytes()
    run(flags)
    assert (trained / "model.safetensors").read_bytes() == before
    assert (trained / "predictions.json").read_bytes() == predictions
    with pytest.raises(InputError, match="another run: found seed 42, expected 43"):
        run(flags + " --seed 43")
    with pytest.raises(InputError, match="training of another model"):
        run(flags.replace("--do_train", ""))


def test_what_else_makes_another_run_is_refused(folder: Path) -> None:
    flags = training_flags(folder, "kept", "qass", steps=2) + " --max_steps 2"
    run(flags)
    kept = (folder / "kept/predictions.json").read_bytes()
    for more, message in (
        ("--max_grad_norm 0.1", "found max_grad_norm 1.0, expected 0.1"),
        ("--warmup_steps 1", "found warmup_steps"),
        ("--overwrite_output_dir --model_name_or_path {0}/nothing", "no such model folder"),
    ):
        with pytest.raises(InputError, match=message):
            run(f"{flags} {more.format(folder)}")
        assert (folder / "kept/predictions.json").read_bytes() == kept
    run(flags + " --overwrite_output_dir --seed 3")
    assert (folder / "kept/predictions.json").read_bytes() != kept
    answers = f"--predict_file {folder}/questions.json --do_eval {LEARN} --output_dir {folder}/answers "
    run(answers + f"--model_name_or_path {folder}/qass")
    with pytest.raises(InputError, match=r"holds answers of .*qass, not of .*splinter"):
        run(answers + f"--model_name_or_path {folder}/splinter")
    with pytest.raises(InputError, match="--hide_sep: found False, expected True"):
        run(answers.replace("/answers", "/kept") + f"--model_name_or_path {folder}/kept --hide_sep=False")


def test_questions_whose_answer_is_not_told_are_answered(folder: Path, tmp_path: Path) -> None:
    blind = read(folder / "questions.json")
    for article in blind["data"]:
        for question in article["paragraphs"][0]["qas"]:
            del question["answers"]
    (tmp_path / "blind.json").write_text(json.dumps(blind))
    command = f"--model_name_or_path {folder}/qass --do_eval {LEARN} --output_dir {tmp_path}/out"
    results = run(f"{command} --predict_file {tmp_path}/blind.json")
    assert results["total"] == 0 and results["unlabelled"] == 32
    assert not any(name.endswith(("_f1", "_exact_match")) for name in results)
    assert all(read(tmp_path / "out/predictions.json").values())


def test_evaluate_names_files_that_were_mixed_up(
    trained: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    data = f"{folder}/questions.json"
    for files, message in (
        ([f"{trained}/nbest_predictions.json", data], "found list, expected a text"),
        ([f"{trained}/predictions.json", data, "--nbest", f"{trained}/predictions.json"], "expected a list of answers"),
    ):
        monkeypatch.setattr(sys, "argv", ["evaluate.py", *files])
        with pytest.raises(InputError, match=message):
            evaluate.main()
    monkeypatch.setattr(sys, "argv", ["evaluate.py", f"{trained}/predictions.json", f"{data},{data}"])
    evaluate.main()
    assert json.loads(capsys.readouterr().out)["korquad_f1"] == read(trained / "eval_results.json")["korquad_f1"]


def training_flags(folder: Path, name: str, model: str, steps: int = 6) -> str:
    return (
        f"--model_name_or_path {folder}/{model} --output_dir {folder}/{name} --train_file {folder}/questions.json "
        f"--predict_file {folder}/questions.json --do_train --do_eval {LEARN} --min_steps {steps} --num_train_epochs 1 "
        "--per_device_train_batch_size 8 --max_eval_samples 8"
    )


@pytest.mark.parametrize(
    ("model", "flags", "kind"),
    [
        ("splinter", "", "SplinterForQuestionAnswering"),
        ("bert", "", "BertForQuestionAnswering"),
        ("electra", "", "ElectraForQuestionAnswering"),
        ("roberta", "", "RobertaForQuestionAnswering"),
        ("bert", "--qass_head=True", "ModelWithQASSHead"),
        ("qass", "--qass_head=False", "BertForQuestionAnswering"),
        ("bert", "--bf16", "BertForQuestionAnswering"),
        ("qass", "--bf16 --gradient_accumulation_steps 2 --evaluate_every_epoch", "ModelWithQASSHead"),
    ],
)
def test_every_kind_of_model_goes_through_the_same_code(folder: Path, model: str, flags: str, kind: str) -> None:
    name = f"from-{model}{flags.replace(' ', '')}"
    results = run(training_flags(folder, name, model) + " " + flags)
    assert results["total"] == 8 and read(folder / name / "config.json")["architectures"] == [kind]
    assert bool(results["epochs"]) == ("evaluate_every_epoch" in flags)
    training, dtype = read(folder / name / "train_results.json"), "bfloat16" if "bf16" in flags else "float32"
    assert results["dtype"] == training["dtype"] == dtype
    weights = load_file(folder / name / "model.safetensors")
    assert {tensor.dtype for tensor in weights.values()} == {torch.float32}


def test_bfloat16_answers_too(
    trained: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command = f"--model_name_or_path {trained} --predict_file {folder}/questions.json --do_eval --disable_tqdm True"
    kinds: set[torch.dtype] = set()
    multiply = torch.nn.functional.linear

    def noting(values: torch.Tensor, *rest: Any) -> torch.Tensor:
        result = multiply(values, *rest)
        kinds.add(result.dtype)
        return result

    monkeypatch.setattr(torch.nn.functional, "linear", noting)
    results = {flag: run(f"{command} --output_dir {tmp_path}/{flag} {flag}") for flag in ("--bf16", "--bf16=False")}
    assert [result["dtype"] for result in results.values()] == ["bfloat16", "float32"]
    assert kinds == {torch.bfloat16, torch.float32}
    assert abs(results["--bf16"]["korquad_f1"] - results["--bf16=False"]["korquad_f1"]) < 10
    kinds.clear()
    (tmp_path / "context.txt").write_text("권도현은 대전에서 태어났다.", encoding="utf-8")
    predict_command = f"predict.py --model {trained} --context_file {tmp_path}/context.txt --bf16 --json --question"
    monkeypatch.setattr(sys, "argv", [*predict_command.split(), "누가 태어났는가?"])
    predict.main()
    assert kinds == {torch.bfloat16}
    assert json.loads(capsys.readouterr().out)["answers"][0]["text"].startswith("권도현")


def test_the_same_seed_gives_the_same_predictions_also_after_a_resumption(folder: Path) -> None:
    results = {}
    for name, seed in (("once", ""), ("twice", ""), ("other", "--seed 7")):
        run(training_flags(folder, name, "qass") + " --save_steps 3 " + seed)
        results[name] = (folder / name / "nbest_predictions.json").read_bytes()
    assert results["once"] == results["twice"] != results["other"]
    twice = folder / "twice"  # as it was after a kill: one whole checkpoint, and one that was being written
    for path in (twice / "checkpoint-6" / "trainer_state.json", twice / "train_results.json"):
        path.unlink()
    (twice / "model.safetensors").unlink()
    assert last_checkpoint(twice) == twice / "checkpoint-3"
    (twice / "checkpoint-6" / "trainer_state.json").write_text('{"global_')
    assert last_checkpoint(twice) == twice / "checkpoint-3"
    run(training_flags(folder, "twice", "qass") + " --save_steps 3")
    assert read(twice / "train_results.json")["steps"] == 6
    assert (twice / "nbest_predictions.json").read_bytes() == results["once"]


def test_accumulated_parts_and_two_processes_learn_what_one_batch_does(folder: Path) -> None:
    qass_folder(folder / "still", hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    shared = " --optim sgd --learning_rate 0.001 --max_grad_norm 1000 --use_cpu"
    flags = {name: training_flags(folder, name, "still") + shared for name in ("whole", "parts", "processes")}
    halves = {name: flags[name].replace("train_batch_size 8", "train_batch_size 4") for name in flags}
    results = [run(flags["whole"]), run(halves["parts"] + " --gradient_accumulation_steps 2")]
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    command = [*torchrun, "finetuning/run_qa.py", *halves["processes"].split(), "--full_determinism"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    results.append(json.loads(done.stdout[done.stdout.index('{\n  "total"') :]))
    before, whole, *others = (load_file(folder / name / "model.safetensors") for name in ("still", *flags))
    assert max((whole[name] - before[name]).abs().max() for name in whole) > 0.001
    for other in others:
        assert max((whole[name] - other[name]).abs().max() for name in whole) < 1e-6
    answers = [read(folder / name / "predictions.json") for name in flags]
    assert answers[0] == answers[1] == answers[2] and len(answers[0]) == 8
    assert results[0]["korquad_f1"] == results[1]["korquad_f1"] == results[2]["korquad_f1"]
    assert [read(folder / name / "train_results.json")["steps"] for name in flags] == [6, 6, 6]


def test_early_stopping_keeps_the_best_epoch(folder: Path) -> None:
    flags = training_flags(folder, "stopped", "qass").replace("--learning_rate=1e-2", "--learning_rate=0")
    flags += " --num_train_epochs 9 --evaluate_every_epoch --early_stopping_patience 2 --output_format squad,korquad"
    results = run(flags)
    assert len(results["epochs"]) == 3  # nothing is learned: after the first, two epochs without a better F1
    assert read(folder / "stopped" / "train_results.json")["steps"] == 3 * 4
    learning = flags.replace("/stopped", "/best").replace("--learning_rate=0", "--learning_rate=1e-2")
    results = run(learning.replace("--early_stopping_patience 2", "--early_stopping_patience 1"))
    f1 = [epoch["eval_squad_f1"] for epoch in results["epochs"]]
    best = folder / "best" / f"checkpoint-{4 * (1 + f1.index(max(f1)))}" / "model.safetensors"
    assert results["squad_f1"] == max(f1) and len(f1) > 1 + f1.index(max(f1))
    assert (folder / "best/model.safetensors").read_bytes() == best.read_bytes()


def test_early_stopping_takes_the_first_of_equally_good_epochs(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scores = iter([50.0, 60.0, 60.0, 60.0, 70.0, 70.0])

    def scored(*arguments: Any) -> Any:
        silent = {example.id: "" for example in arguments[1]}
        return silent, {}, {"total": 8, "korquad_f1": next(scores)}

    monkeypatch.setattr(qa_run, "score_run", scored)
    flags = training_flags(folder, "ties", "qass") + " --num_train_epochs 9 --evaluate_every_epoch"
    results = run(flags + " --early_stopping_patience 2")
    assert [epoch["eval_korquad_f1"] for epoch in results["epochs"]] == [50.0, 60.0, 60.0, 60.0]
    state = read(folder / "ties/checkpoint-16/trainer_state.json")
    assert state["best_metric"] == 60.0 and state["best_global_step"] == 8
    best = folder / "ties/checkpoint-8/model.safetensors"
    assert (folder / "ties/model.safetensors").read_bytes() == best.read_bytes()


def test_unanswerable_questions_are_learned_and_scored(folder: Path) -> None:
    questions = read(folder / "questions.json")
    for article in questions["data"][::2]:
        article["paragraphs"][0]["qas"][0] |= {"is_impossible": True, "answers": []}
    unseen = {"id": "unseen", "question": "누가?", "is_impossible": True, "answers": []}
    questions["data"][0]["paragraphs"].append({"context": "\u200b", "qas": [unseen]})  # no wordpiece, so no window
    (folder / "squad2.json").write_text(json.dumps(questions), encoding="utf-8")
    flags = training_flags(folder, "squad2", "qass").replace("questions.json", "squad2.json")
    results = run(flags + " --output_format squad2,korquad --null_score_diff_threshold=-1000")
    assert results["questions_without_window"] == 1
    answers = read(folder / "squad2" / "predictions.json").values()
    assert set(answers) == {""}  # so low a threshold silences every answer
    assert results["squad2_no_answer_f1"] == 100 and results["squad2_has_answer_f1"] == 0
    assert results["best_f1_at_threshold"] >= results["squad2_f1"]
    nbest = read(folder / "squad2" / "nbest_predictions.json")
    assert list(nbest) == list(read(folder / "squad2" / "predictions.json")) and len(nbest["unseen"]) == 1
    for answers in nbest.values():
        assert [answer["text"] for answer in answers].count("") == 1
        assert [answer["score"] for answer in answers] == sorted((a["score"] for a in answers), reverse=True)
        assert sum(answer["probability"] for answer in answers) <= 1 + 1e-6


def test_a_model_that_learned_to_abstain_does_so_by_the_threshold_that_it_notes(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    questions = read(question_file(tmp_path / "plain.json"))
    for article in questions["data"]:
        hidden = {"id": f"{article['title']}-none", "question": "가각나?", "is_impossible": True, "answers": []}
        article["paragraphs"][0]["qas"].append(hidden)
    (tmp_path / "some.json").write_text(json.dumps(questions), encoding="utf-8")
    flags = training_flags(folder, "abstains", "qass", steps=60).replace(f"{folder}/questions", f"{tmp_path}/some")
    flags = flags.replace(" --max_eval_samples 8", "") + f" --output_dir {tmp_path}/out"
    results, config = run(flags), read(tmp_path / "out/config.json")
    assert results["null_score_diff_threshold"] == 0.0 and results["best_null_threshold_metric"] == "korquad_f1"
    assert config["null_score_diff_threshold"] == results["best_null_threshold"] != 0.0
    assert config["null_threshold_source"] == "best korquad_f1 of the evaluation"

    again = f"--model_name_or_path {tmp_path}/out --do_eval --disable_tqdm True --output_dir {tmp_path}/answers"
    by_noted = run(f"{again} --predict_file {tmp_path}/some.json")
    assert by_noted["null_score_diff_threshold"] == results["best_null_threshold"]
    assert by_noted["korquad_f1"] == pytest.approx(results["best_f1_at_threshold"])
    predictions = read(tmp_path / "answers/predictions.json")
    assert {bool(answer) for answer in predictions.values()} == {True, False}
    run(f"{again.replace('/answers', '/told')} --predict_file {tmp_path}/plain.json")
    assert all(read(tmp_path / "told/predictions.json").values())  # each is said to have an answer
    for article in questions["data"]:
        for question in article["paragraphs"][0]["qas"]:
            del question["answers"], question["is_impossible" if "is_impossible" in question else "id"]
            question.setdefault("id", f"{article['title']}-{question['question']}")
    (tmp_path / "blind.json").write_text(json.dumps(questions), encoding="utf-8")
    assert run(f"{again.replace('/answers', '/blind')} --predict_file {tmp_path}/blind.json")["unlabelled"] == 48
    assert list(read(tmp_path / "blind/predictions.json").values()) == list(predictions.values())

    def predicted(model: str, question: str, flags: str = "") -> Any:
        command = f"predict.py --json --model {model} --context_file {tmp_path}/context.txt {flags} --question"
        monkeypatch.setattr(sys, "argv", [*command.split(), question])
        capsys.readouterr()
        predict.main()
        return json.loads(capsys.readouterr().out)["answers"]

    nbest = read(tmp_path / "answers/nbest_predictions.json")
    for article in read(tmp_path / "some.json")["data"][:3]:
        (tmp_path / "context.txt").write_text(article["paragraphs"][0]["context"], encoding="utf-8")
        for question in article["paragraphs"][0]["qas"]:
            (answer,) = predicted(f"{tmp_path}/out", question["question"])
            assert answer["text"] == predictions[question["id"]]
            same = next(a for a in nbest[question["id"]] if a["text"] == answer["text"])
            assert answer["probability"] == pytest.approx(same["probability"], rel=1e-4)
    assert not predicted(f"{tmp_path}/out", "누가 태어났는가?", "--null_score_diff_threshold=-1e9")[0]["text"]
    assert all(answer["text"] for answer in predicted(f"{tmp_path}/out", "가각나?", "--null_score_diff_threshold=inf"))

    run(f"{flags} --output_dir {tmp_path}/given --null_score_diff_threshold 2.5 --min_steps 2")
    config = read(tmp_path / "given/config.json")
    assert (config["null_score_diff_threshold"], config["null_threshold_source"]) == (2.5, "given")
    run(f"{training_flags(folder, 'x', 'qass', 2)} --output_dir {tmp_path}/plain --model_name_or_path {tmp_path}/out")
    config = read(tmp_path / "plain/config.json")  # what it learned from now has an answer to each question
    assert config["null_score_diff_threshold"] is None and config["null_threshold_source"] is None
    assert predicted(f"{tmp_path}/plain", "가각나?")[0]["text"]


def test_predict_reads_a_question_as_run_qa_does(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "context.txt").write_text("권도현은 대전에서 태어났다.", encoding="utf-8")

    def predicted(question: str, flags: str = "") -> Any:
        command = f"predict.py --json --model {trained} --context_file {tmp_path}/context.txt {flags} --question"
        monkeypatch.setattr(sys, "argv", [*command.split(), question])
        predict.main()
        printed = capsys.readouterr()
        return json.loads(printed.out)["answers"], printed.err

    plain, said = predicted("누가 태어났는가?")
    assert not said
    for suffix in (" [MASK].", " [MASK] .", " [QUESTION]", "  "):
        assert predicted("누가 태어났는가?" + suffix) == (plain, "")
    question = "누가" + " 가" * 20
    said = f"question cut (found 22 wordpieces, kept 6; see --max_query_length): {question}\n"
    assert predicted(question, "--max_query_length 6")[1] == said
    assert "kept 64" in predicted("누가 " * 40, "--max_seq_length 128")[1]
    with pytest.raises(InputError, match="question is empty"):
        predicted(" [MASK].")


def test_commands_take_rows_of_the_hub_with_broken_ones_among_them(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two files whose ids start at 0 each, with a plausible answer, half a surrogate pair and nulls."""
    half = "\ud83d"
    for name, city in (("a", "대전"), ("b", "부산")):
        context = f"권도현은 {half}{city}에서 태어났다."
        row = {"context": context, "question": "어디?", "is_impossible": False}
        right = {"answers": {"text": [city], "answer_start": [context.index(city)]}}
        rows = [row | right | {"id": i} for i in range(3)]
        rows += [row | right | {"id": 3, "is_impossible": True}, row | {"id": 4, "answers": {"text": [None]}}]
        rows += [row | {"id": 5, "answers": {"text": [city], "answer_start": [None]}}, row | right | {"id": 0}]
        (tmp_path / f"{name}.json").write_text(json.dumps({"data": rows}))
    files = f"{tmp_path}/*.json"
    out = f"--output_dir {tmp_path}/out --max_steps 1 {LEARN} --output_format korquad,squad2"
    run(f"--model_name_or_path {folder}/qass --train_file {files} --predict_file {files} --do_train --do_eval {out}")
    predictions, report = read(tmp_path / "out/predictions.json"), read(tmp_path / "out/data_report.json")
    assert list(predictions) == [*"01235", *(f"b.json:{i}" for i in "01235")]
    mended = {"lone_surrogate": 12, "answer_start_unreadable": 2, "id_of_another_file": 5}
    left_out = {"unreadable_question": 2, "duplicate_id": 2}
    assert report["predict"]["fault_counts"] == mended | left_out
    assert report["train"]["questions"] == 10 and report["train"]["fault_counts"]["answer_without_offset"] == 2

    right = {key: "" if key[-1] == "3" else ("부산" if "b" in key else "대전") for key in predictions}
    (tmp_path / "right.txt").write_text(json.dumps(right | {half: half}))
    monkeypatch.setattr(sys, "argv", ["evaluate.py", f"{tmp_path}/right.txt", files, "--output_format", "squad2"])
    capsys.readouterr()
    evaluate.main()
    scores = json.loads(capsys.readouterr().out)
    assert (scores["total"], scores["squad2_exact_match"], scores["unanswered"]) == (10, 100.0, 0)
    assert (scores["left_out"], scores["mended"]) == (left_out, mended)

    (tmp_path / "context.txt").write_text("권도현은 대전에서 태어났다.", encoding="utf-8")
    command = f"predict.py --model {tmp_path}/out --context_file {tmp_path}/context.txt --json --question"
    monkeypatch.setattr(sys, "argv", [*command.split(), f"어디{half}?"])
    predict.main()
    printed = capsys.readouterr()
    assert json.loads(printed.out.encode())["question"] == "어디\ufffd?" and "became U+FFFD" in printed.err


def test_tensorboard_writes_a_loss_curve_without_tensorflow(folder: Path) -> None:
    pytest.importorskip("tensorboard")
    run(training_flags(folder, "board", "qass") + " --report_to tensorboard --max_steps 2")
    assert list((folder / "board").rglob("events.out.tfevents*"))
    code = (
        "import sys; from finetuning.flags import keep_tensorboard_from_tensorflow as keep; keep();"
        f"from torch.utils.tensorboard import SummaryWriter; SummaryWriter('{folder}/tb').add_scalar('loss', 1.0, 1);"
        "sys.exit('tensorflow' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


def test_the_pretrained_head_is_kept_unless_asked_otherwise(folder: Path) -> None:
    def head(**settings: Any) -> torch.Tensor:
        torch.manual_seed(1)
        qa_model = load_qa_model(ModelSettings(model_name_or_path=f"{folder}/qass", **settings), 48)
        return qa_model.model.qass.start_classifier.weight

    assert torch.equal(head(), head(qass_head=True))
    assert not torch.equal(head(), head(initialize_new_qass=True))


def test_sep_is_hidden_and_positions_are_explicit_unless_asked_otherwise(folder: Path) -> None:
    from finetuning.qa.features import FeatureSettings, WindowCollator, build_features

    examples = load_questions(f"{folder}/questions.json").examples[:2]
    for hide_sep in (True, False):
        settings = ModelSettings(model_name_or_path=f"{folder}/qass", hide_sep=hide_sep)
        qa_model = load_qa_model(settings, 48)
        features = build_features(
            examples, qa_model.offset_tokenizer, qa_model.template, FeatureSettings(), with_labels=True
        )
        batch = WindowCollator(qa_model.template, with_labels=True)([features[0], features[1]])
        sep, pad = qa_model.tokenizer.sep_token_id, qa_model.tokenizer.pad_token_id
        is_sep, is_pad = batch["input_ids"] == sep, batch["input_ids"] == pad
        assert is_sep.sum() == 4 and is_pad.sum() == abs(int(features.lengths[0]) - int(features.lengths[1])) > 0
        assert (batch["attention_mask"][is_sep] == (0 if hide_sep else 1)).all()
        assert (batch["attention_mask"][is_pad] == 0).all() and batch["attention_mask"][~is_sep & ~is_pad].all()
        assert (batch["position_ids"] == torch.arange(batch["input_ids"].shape[1])).all()
        assert (batch["token_type_ids"] == 0).all()


def test_split_by_article_needs_one_file(folder: Path, tmp_path: Path) -> None:
    settings = DataSettings(train_file=f"{folder}/questions.json", split_by_article=0.75, max_eval_samples=3)
    data = load_run_data(settings, do_train=True, do_eval=True)
    assert data.train and data.evaluation and len(data.train.examples) == 24 and len(data.evaluation.examples) == 3
    assert not {e.article for e in data.train.examples} & {e.article for e in data.evaluation.examples}


def test_token_types_are_told_to_models_that_have_more_than_one(folder: Path) -> None:
    from finetuning.qa.features import FeatureSettings, WindowCollator, build_features

    examples = load_questions(f"{folder}/questions.json").examples[:2]
    for model, expected in (("bert", {0, 1}), ("electra", {0, 1}), ("roberta", None), ("qass", {0}), ("splinter", {0})):
        qa_model = load_qa_model(ModelSettings(model_name_or_path=f"{folder}/{model}"), 48)
        features = build_features(examples, qa_model.offset_tokenizer, qa_model.template, FeatureSettings(), True)
        batch = WindowCollator(qa_model.template, with_labels=True)([features[0], features[1]])
        types = batch.get("token_type_ids")
        assert (set(types.flatten().tolist()) if types is not None else None) == expected, model
        if expected == {0, 1}:
            assert types is not None
            own = qa_model.tokenizer(examples[0].question, examples[0].context)["token_type_ids"]
            assert types[0, : len(own)].tolist() == own


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--model_name_or_path {folder}/nothing", "no such model folder"),
        ("--model_name_or_path {folder}", "no config.json"),
        ("--model_type electra", "found model type 'qass', expected 'electra'"),
        ("--model_name_or_path {folder}/bert_without_question --qass_head=True", r"no \[QUESTION\]"),
        ("--tokenizer_name {folder}/bert_without_question", r"no \[QUESTION\]"),
        ("--tokenizer_name {folder}/bert_without_question --qass_head=False", "vocabulary has .* vocab_size"),
        ("--model_name_or_path {folder}/splinter --qass_head=False", "has no other head"),
        ("--max_seq_length 600", "found 600, .* has positions for 512"),
        ("--model_name_or_path {folder}/roberta --max_seq_length 514", "found 514, .* has positions for 512"),
        ("--train_file {folder}/no.json", "no file matches"),
        ("--doc_stride 0", "doc_stride"),
        ("--output_format rouge", "output_format"),
        ("--early_stopping_patience 1", "expected --evaluate_every_epoch"),
        ("--output_dir {folder}/qass", "files of something else"),
    ],
)
def test_bad_input_is_one_clear_line(folder: Path, flags: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as error:
        run(training_flags(folder, "never", "qass") + " " + flags.format(folder=folder))
    assert "\n" not in str(error.value)
    assert not (folder / "never").exists() or not any((folder / "never").iterdir())


def test_schedule_reaches_min_steps_and_warms_up() -> None:
    from finetuning.qa.run import fit_steps

    arguments = flags.QATrainingArguments(per_device_train_batch_size=10, num_train_epochs=2)
    fit_steps(arguments, ScheduleSettings(min_steps=50), num_windows=101)
    assert arguments.max_steps == 50 and arguments.warmup_steps == 5
    arguments = flags.QATrainingArguments(per_device_train_batch_size=10, num_train_epochs=2)
    fit_steps(arguments, ScheduleSettings(min_steps=5, warmup_ratio=0.5), num_windows=101)
    assert arguments.max_steps == -1 and arguments.warmup_steps == 11
