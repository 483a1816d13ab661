"""Training arguments that would do nothing, or end a run half-way, are refused before anything is read."""

import re
from pathlib import Path
from typing import Any

import pytest

from finetuning.flags import SETTINGS, make_parser, parse_settings, prepare_training_arguments
from finetuning.qa.identity import RunSettings, run_identity
from finetuning.qa.questions import QAExample
from kosplinter_common.cli import InputError


def prepared(command: str) -> tuple[Any, ...]:
    model, data, schedule, arguments = parse_settings(
        make_parser("run_qa.py", "", *SETTINGS), ["--output_dir=out", *command.split()]
    )
    prepare_training_arguments(arguments, schedule, data, arguments.do_eval)
    return model, data, schedule, arguments


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("--label_smoothing_factor 0.1", "starts and ends"),
        ("--dataloader_drop_last", "lost"),
        ("--remove_unused_columns", "columns"),
        ("--label_names labels", "starts and ends"),
        ("--length_column_name len", "lengths"),
        ("--auto_find_batch_size", "--per_device_train_batch_size"),
        ("--average_tokens_across_devices False", "windows"),
        ("--data_seed 3", "--seed"),
        ("--save_only_model", "--save_strategy=no"),
        ("--do_predict", "--do_eval"),
        ("--prediction_loss_only", "decoded"),
        ("--include_for_metrics inputs", "decoded"),
        ("--eval_accumulation_steps 2", "decoded"),
        ("--push_to_hub", "publish.py"),
        ("--hub_model_id me/it", "publish.py"),
        ("--lr_scheduler_type reduce_lr_on_plateau --eval_strategy epoch --do_eval", "no evaluation loss"),
        ("--eval_steps 5", "--eval_strategy=steps"),
        ("--eval_steps 5 --evaluate_every_epoch --do_eval", "--eval_strategy=steps"),
        ("--eval_steps 5 --eval_strategy epoch --do_eval", "--eval_strategy=steps"),
        ("--evaluate_every_epoch --eval_strategy steps --do_eval", "one of the two"),
        ("--evaluate_every_epoch", "--do_eval"),
        ("--metric_for_best_model f1", "--load_best_model_at_end"),
        ("--load_best_model_at_end", "--evaluate_every_epoch"),
        ("--load_best_model_at_end --evaluate_every_epoch --do_eval --metric_for_best_model f1", "korquad_f1"),
        ("--resume_from_checkpoint out/checkpoint-9", "not a checkpoint"),
        ("--fp16 --use_cpu", "--bf16"),
        ("--use_liger_kernel", "language models"),
        ("--per_device_train_batch_size 0", "at least 1"),
        ("--gradient_accumulation_steps 0", "at least 1"),
        ("--learning_rate=-1", "at least 0"),
        ("--learning_rate nan", "at least 0"),
        ("--lr_scheduler_type cosine_with_min_lr", "lr_scheduler_kwargs"),
    ],
)
def test_what_does_nothing_or_breaks_is_refused(command: str, message: str) -> None:
    with pytest.raises(InputError, match=f"^--.*{message}") as refused:
        prepared(command)
    assert "\n" not in str(refused.value) and set(re.findall(r"^--\w+", str(refused.value))) <= {
        *re.findall(r"--\w+", command)
    }


def test_a_checkpoint_of_another_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "other/checkpoint-1").mkdir(parents=True)
    (tmp_path / "other/checkpoint-1/trainer_state.json").write_text("{}")
    given = f"--resume_from_checkpoint {tmp_path}/other/checkpoint-1"
    with pytest.raises(InputError, match=f"expected a checkpoint in {tmp_path}/here"):
        prepared(f"{given} --output_dir {tmp_path}/here")
    with pytest.raises(InputError, match="overwrite_output_dir"):
        prepared(f"{given} --output_dir {tmp_path}/other --overwrite_output_dir")
    prepared(f"{given} --output_dir {tmp_path}/other")


@pytest.mark.parametrize(
    ("when", "strategy", "metric"),
    [
        ("--eval_strategy epoch", "epoch", "eval_korquad_f1"),
        ("--evaluate_every_epoch --metric_for_best_model eval_squad_exact_match", "epoch", "eval_squad_exact_match"),
        ("--eval_strategy steps --eval_steps 3", "steps", "eval_korquad_f1"),
    ],
)
def test_the_best_model_is_kept_by_a_score_that_there_is(when: str, strategy: str, metric: str) -> None:
    arguments = prepared(f"--do_eval --load_best_model_at_end {when}")[-1]
    assert arguments.save_strategy == arguments.eval_strategy == strategy and arguments.greater_is_better
    assert arguments.metric_for_best_model == metric and (strategy == "epoch" or arguments.save_steps == 3)
    early = prepared("--do_eval --evaluate_every_epoch --early_stopping_patience 2")[-1]
    assert early.load_best_model_at_end and early.save_strategy == "epoch"


def test_what_changes_weights_is_part_of_a_run(tmp_path: Path) -> None:
    questions = [QAExample("1", "?", "가나", ((0, "가"),), ("가",), "글")]
    others = [QAExample("2", "?", "가나", ((1, "나"),), ("나",), "글")]

    def identity(command: str, evaluation: list[QAExample] = questions) -> dict[str, Any]:
        model, data, schedule, arguments = prepared(f"--do_eval {command}")
        return run_identity(RunSettings(model, data, schedule), arguments, questions, evaluation)

    plain, best = identity(""), identity("--load_best_model_at_end --evaluate_every_epoch")
    changed = ["--neftune_noise_alpha 5", "--lr_scheduler_type cosine", "--optim sgd", "--adam_beta1 0.8"]
    assert all(identity(command) != plain for command in changed)
    assert identity("", others) == plain != best != identity("--load_best_model_at_end --evaluate_every_epoch", others)
    assert best != identity("--load_best_model_at_end --evaluate_every_epoch --metric_for_best_model squad_f1")
    assert identity("--logging_steps 3 --save_steps 7") == plain
    (tmp_path / "tokenizer.json").write_text("{}")
    cased = identity(f"--tokenizer_name {tmp_path}")
    (tmp_path / "tokenizer.json").write_text('{"normalizer": null}')
    assert identity(f"--tokenizer_name {tmp_path}") != cased  # the same folder reads texts otherwise
