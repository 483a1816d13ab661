"""Run by test_two_devices.py in a process of its own: logical devices must be made before TensorFlow starts.

Prints one JSON object: the state after three updates, of one device, and of two that accumulate over two parts each.
"""

import json
import sys
from pathlib import Path
from typing import Any

import tensorflow as tf

from pretraining.input.record_files import open_dataset
from pretraining.model.replicas import Replicas
from pretraining.settings import PretrainingSettings
from pretraining.training.estimators import build_estimators, choose_strategy
from pretraining.training.hooks import NonFiniteGuard
from pretraining.training.train_step import dropout_key
from tests.pretraining.samples import SPEC, small_config

CONFIG = small_config(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)


def train(folder: Path, name: str, **flags: Any) -> dict[str, Any]:
    settings = PretrainingSettings(
        bert_config_file="",
        output_dir=str(folder / name),
        input_file=f"{folder}/records/*.tfrecord",
        do_train=True,
        train_batch_size=8,
        eval_batch_size=4,
        num_train_steps=10,
        num_warmup_steps=0,
        learning_rate=1e-4,
        recurring_span_selection=True,
        init_checkpoint=str(folder / "start.ckpt"),
        **flags,
    )
    data = open_dataset(settings.input_file, SPEC, CONFIG)
    estimators = build_estimators(settings, CONFIG, data, load_weights=True)
    estimators.train(data, 0, 3, [], NonFiniteGuard(settings.output_dir))
    evaluated = estimators.estimator.evaluate(estimators.evaluation_input(data), steps=6)
    names = estimators.estimator.get_variable_names()
    state = {n: estimators.estimator.get_variable_value(n).tolist() for n in names}
    return {"state": state, "eval": {key: float(value) for key, value in evaluated.items()}}


def dropout_keys() -> list[list[int]]:
    """Of the replicas of one step."""
    strategy = choose_strategy(PretrainingSettings("", "", input_file="r", do_train=True, distribution="mirrored"))
    assert strategy
    with tf.Graph().as_default(), strategy.scope(), tf.compat.v1.Session() as session:
        step = tf.compat.v1.train.create_global_step()
        session.run(step.initializer)
        keys = strategy.extended.call_for_each_replica(lambda: dropout_key(1, step, Replicas()))
        return [key.tolist() for key in session.run(strategy.experimental_local_results(keys))]


def main() -> None:
    folder = Path(sys.argv[1])
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    tf.compat.v1.disable_v2_behavior()
    results = {
        "one": train(folder, "one", distribution="none"),
        "two": train(folder, "two", distribution="mirrored", gradient_accumulation_steps=2),
        "dropout_keys": dropout_keys(),
    }
    print(json.dumps(results))


if __name__ == "__main__":
    main()
