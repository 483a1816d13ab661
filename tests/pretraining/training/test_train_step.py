"""A step in parts, and a step's numbers, against the same batch in one piece and against plain arithmetic."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from kosplinter_common.records.examples import RecordSpec
from pretraining.model.objectives import chance_of_exact, chance_of_start
from pretraining.model.replicas import Replicas
from pretraining.training.train_step import SUMS, StepSettings, build_train_step, dropout_key, scored
from tests.pretraining.samples import SPEC, random_record, small_config

NO_DROPOUT = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}


def settings(**values: Any) -> StepSettings:
    steps = {"learning_rate": 1e-3, "num_train_steps": 100, "num_warmup_steps": 0}
    return StepSettings(config=small_config(**NO_DROPOUT), objectives=SPEC, **{**steps, **values})


def batch(size: int = 8) -> dict[str, np.ndarray]:
    random = np.random.default_rng(5)
    records = [random_record(random, i) for i in range(size)]
    arrays = {name: np.stack([record[name] for record in records]) for name in records[0]}
    return {name: x.astype(np.float32 if "weights" in name else np.int32) for name, x in arrays.items()}


def tensors(arrays: dict[str, np.ndarray]) -> dict[str, tf.Tensor]:
    return {name: tf.constant(array) for name, array in arrays.items()}


def load_random_weights(session: tf.compat.v1.Session) -> None:
    """Initialises every variable, the trainable ones at random: no gamma is 1 and no bias 0."""
    random = np.random.default_rng(6)
    values = {
        variable.initial_value: random.normal("gamma" in variable.op.name, 0.2, variable.shape.as_list())
        for variable in tf.compat.v1.trainable_variables()
    }
    session.run(tf.compat.v1.global_variables_initializer(), values)


def one_update(step_settings: StepSettings, features: dict[str, np.ndarray]) -> tuple[dict, dict[str, np.ndarray]]:
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        step = build_train_step(tensors(features), step_settings, Replicas())
        load_random_weights(session)
        values = session.run(step._asdict())
        state = session.run({v.op.name: v for v in tf.compat.v1.global_variables()})
    return values, state


@pytest.mark.parametrize("parts", [2, 4])
def test_accumulated_parts_give_the_update_of_the_whole_batch(parts: int) -> None:
    """Parts hold different numbers of questions, so a mean of means would differ."""
    whole, expected = one_update(settings(), batch())
    in_parts, found = one_update(settings(gradient_accumulation_steps=parts), batch())
    assert found.keys() == expected.keys()
    for name in expected:
        np.testing.assert_allclose(found[name], expected[name], atol=1e-5, err_msg=name)
    for name in ("loss", "gradient_norm", "learning_rate", "sums"):
        np.testing.assert_allclose(in_parts[name], whole[name], rtol=1e-5)
    moments = [name for name in expected if name.endswith("adam_m")]
    assert moments and all(np.abs(expected[name]).max() > 0 for name in moments if "key/bias" not in name)


def test_loss_and_sums_are_means_and_totals_over_real_questions() -> None:
    features = batch()
    values, _ = one_update(settings(), features)
    sums = dict(zip(SUMS, values["sums"], strict=True))
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        scores = scored(tensors(features), settings())
        load_random_weights(session)
        span, lm = session.run(scores)
    real = features["masked_span_weights"] == 1
    expected = span.loss[real].mean() + lm.loss[features["masked_lm_weights"].reshape(-1) == 1].mean()
    assert values["loss"] == pytest.approx(expected, rel=1e-5)
    assert sums["questions"] == real.sum() and sums["tokens"] == features["input_mask"].sum()
    assert sums["start_correct"] == span.start_correct[real].sum()
    assert sums["exact_correct"] == (span.start_correct * span.end_correct)[real].sum()


@pytest.mark.parametrize(
    ("objectives", "prefix"),
    [(replace(SPEC, max_predictions_per_seq=0), "cls/span"), (RecordSpec(16, 0, 2), "cls/pred")],
)
def test_one_objective_alone_has_no_variables_of_the_other(objectives: RecordSpec, prefix: str) -> None:
    features = {name: x for name, x in batch().items() if name in objectives.features()}
    values, state = one_update(replace(settings(), objectives=objectives), features)
    assert np.isfinite(values["loss"])
    assert all(name.startswith(prefix) for name in state if name.startswith("cls/"))


def test_training_fits_one_batch() -> None:
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        step = build_train_step(tensors(batch()), settings(learning_rate=1e-2), Replicas())
        session.run(tf.compat.v1.global_variables_initializer())
        losses = [session.run((step.train_op, step.loss))[1] for _ in range(90)]
    assert losses[-1] < 0.5 * losses[0]


def test_bfloat16_step_stays_near_float32_and_updates_float32_variables() -> None:
    exact, _ = one_update(settings(), batch())
    rough, state = one_update(settings(use_bfloat16=True), batch())
    assert rough["loss"] != exact["loss"] and rough["loss"] == pytest.approx(exact["loss"], rel=0.02)
    assert rough["gradient_norm"] == pytest.approx(exact["gradient_norm"], rel=0.05)
    assert {value.dtype for name, value in state.items() if name != "global_step"} == {np.dtype("float32")}


def test_chance_counts_every_choice() -> None:
    lengths = [1, 3, 10, 14]
    mask = np.array([[1] * n + [0] * (16 - n) for n in lengths])
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        start, exact = session.run((chance_of_start(tf.constant(mask)), chance_of_exact(tf.constant(mask))))
    np.testing.assert_allclose(start, [1 / n for n in lengths], rtol=1e-6)
    spans = [sum(1 for b in range(n) for e in range(b, n) if e - b < 10) for n in lengths]
    np.testing.assert_allclose(exact, [1 / n for n in spans], rtol=1e-6)


class Replica(Replicas):
    def index(self) -> tf.Tensor:
        return tf.constant(1)


def test_dropout_differs_by_seed_step_and_replica_and_not_by_session() -> None:
    def keys() -> list[list[int]]:
        with tf.Graph().as_default(), tf.compat.v1.Session() as session:
            step = tf.compat.v1.placeholder(tf.int64, [])
            made = [dropout_key(seed, step, by) for seed in (0, 1, 2**31 + 2) for by in (Replicas(), Replica())]
            return [key.tolist() for number in (0, 1, 7) for key in session.run(made, {step: number})]

    once = keys()
    assert once == keys() and len(set(map(tuple, once))) == 3 * 2 * 3


@pytest.mark.parametrize("rate", [0.0, 0.5])
def test_each_part_of_a_batch_has_its_own_dropout(rate: float) -> None:
    """The same records in both parts: with the same masks too, the parts' losses would be equal."""
    config = small_config(hidden_dropout_prob=rate, attention_probs_dropout_prob=0.0)
    once = batch(4)
    twice = {name: np.concatenate([x, x]) for name, x in once.items()}
    loss = SUMS.index("span_loss")
    one, _ = one_update(replace(settings(), config=config), once)
    two, _ = one_update(replace(settings(gradient_accumulation_steps=2), config=config), twice)
    assert (two["sums"][loss] == pytest.approx(2 * one["sums"][loss], rel=1e-5)) is not bool(rate)
