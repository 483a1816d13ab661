"""The TensorFlow graph against PyTorch on the same random weights, layer norms and biases included."""

import math
import re
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import torch

from finetuning.modeling import ModelWithQASSHead, QASSConfig
from pretraining.model import modeling
from pretraining.model.configuration import BertConfig

BATCH, LENGTH, QUESTIONS = 3, 20, 4


def small_config(**values: Any) -> BertConfig:
    sizes = {"vocab_size": 60, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
    return BertConfig(**{**sizes, "intermediate_size": 48, "max_position_embeddings": 24, **values})


def random_inputs(seed: int) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    input_mask = (random.random((BATCH, LENGTH)) < 0.8).astype(np.int64)
    input_mask[:, 0] = 1
    input_mask[0, 15:] = 0
    positions = random.integers(1, LENGTH, (BATCH, QUESTIONS))
    return {
        "input_ids": random.integers(0, 60, (BATCH, LENGTH)),
        "input_mask": input_mask,
        "question_positions": positions,
        "beginnings": random.integers(0, LENGTH, (BATCH, QUESTIONS)),
        "endings": random.integers(0, LENGTH, (BATCH, QUESTIONS)),
    }


def randomize(variables: list[tf.Variable], session: tf.compat.v1.Session, seed: int) -> dict[str, np.ndarray]:
    """Random values for every variable, so that no gamma is 1 and no bias 0."""
    random = np.random.default_rng(seed)
    values = {v.op.name: random.normal(0, 0.3, v.shape.as_list()).astype(np.float32) for v in variables}
    for name in values:
        if name.endswith("gamma"):
            values[name] += 1
    session.run(
        [variable.initializer for variable in variables],
        {variable.initial_value: values[variable.op.name] for variable in variables},
    )
    return values


def torch_name(name: str) -> str:
    name = name.replace("cls/span_predictions", "qass").replace("layer_", "layer/")
    name = re.sub("(gamma|kernel)$", "weight", name)
    name = re.sub("beta$", "bias", name)
    return re.sub("(_embeddings|classifier)$", r"\1/weight", name).replace("/", ".")


def torch_model(config: BertConfig, values: dict[str, np.ndarray]) -> ModelWithQASSHead:
    keys = ("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "hidden_act")
    keys += ("max_position_embeddings", "layer_norm_eps", "qass_layer_norm_eps")
    model = ModelWithQASSHead(QASSConfig(**{key: getattr(config, key) for key in keys})).eval()
    state = {}
    for name, value in values.items():
        transposed = name.endswith(("kernel", "classifier"))
        state[torch_name(name)] = torch.tensor(value.T if transposed else value)
    state["bert.embeddings.token_type_embeddings.weight"] = torch.zeros(2, config.hidden_size)
    missing, unexpected = model.load_state_dict(state, strict=False)
    assert not unexpected and set(missing) <= {"bert.embeddings.position_ids", "bert.embeddings.token_type_ids"}
    return model


@pytest.mark.parametrize(
    ("hidden_act", "layer_norm_eps", "qass_layer_norm_eps"),
    [("gelu", 1e-12, 1e-5), ("gelu_pytorch_tanh", 1e-12, 1e-12), ("gelu_new", 1e-3, 1e-3)],
)
def test_logits_and_losses_equal_pytorchs(hidden_act: str, layer_norm_eps: float, qass_layer_norm_eps: float) -> None:
    config = small_config(hidden_act=hidden_act, layer_norm_eps=layer_norm_eps, qass_layer_norm_eps=qass_layer_norm_eps)
    inputs = random_inputs(seed=1)
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        logits = modeling.span_logits(
            config, *(tf.constant(inputs[name]) for name in ("input_ids", "input_mask", "question_positions"))
        )
        losses = modeling.span_losses(*logits, inputs["beginnings"], inputs["endings"])
        values = randomize(tf.compat.v1.trainable_variables(), session, seed=2)
        (start, end), losses = session.run((logits, losses))

    tensors = {name: torch.tensor(value) for name, value in inputs.items()}
    with torch.no_grad():
        output = torch_model(config, values)(
            input_ids=tensors["input_ids"],
            attention_mask=tensors["input_mask"],
            masked_positions=tensors["question_positions"],
            start_positions=tensors["beginnings"],
            end_positions=tensors["endings"],
        )
    scale = np.abs(start[start > modeling.HIDDEN_LOGIT / 2]).max()
    np.testing.assert_allclose(start, output.start_logits.numpy(), atol=1e-5 * scale)
    np.testing.assert_allclose(end, output.end_logits.numpy(), atol=1e-5 * scale)
    assert losses.shape == (BATCH, QUESTIONS)
    np.testing.assert_allclose(losses.mean(), output.loss.numpy(), rtol=1e-5)


def test_masked_lm_equals_pytorch() -> None:
    config = small_config(layer_norm_eps=1e-4)
    inputs = random_inputs(seed=3)
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        options = modeling.GraphOptions()
        encoded = modeling.encode(config, tf.constant(inputs["input_ids"]), tf.constant(inputs["input_mask"]), options)
        logits = modeling.masked_lm_logits(config, encoded, tf.constant(inputs["question_positions"]), options)
        values = randomize(tf.compat.v1.trainable_variables(), session, seed=4)
        hidden, logits = session.run((encoded.hidden, logits))
    head = {name.removeprefix("cls/predictions/"): torch.tensor(value) for name, value in values.items()}
    rows = torch.tensor(hidden)[torch.arange(BATCH)[:, None], torch.tensor(inputs["question_positions"])]
    rows = torch.nn.functional.gelu(rows @ head["transform/dense/kernel"] + head["transform/dense/bias"])
    gamma, beta = head["transform/LayerNorm/gamma"], head["transform/LayerNorm/beta"]
    rows = torch.nn.functional.layer_norm(rows, (32,), gamma, beta, 1e-4)
    expected = rows @ head["bert/embeddings/word_embeddings"].T + head["output_bias"]
    np.testing.assert_allclose(logits, expected.reshape(-1, 60).numpy(), atol=2e-5)


def span_graph_outputs(options: modeling.GraphOptions, bfloat16: bool = False) -> tuple[list[np.ndarray], list[str]]:
    config = small_config(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    inputs = random_inputs(seed=5)
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        ids, mask, questions = (tf.constant(inputs[k]) for k in ("input_ids", "input_mask", "question_positions"))
        with tf.compat.v1.tpu.bfloat16_scope() if bfloat16 else tf.compat.v1.variable_scope(""):
            encoded = modeling.encode(config, ids, mask, options)
            logits = modeling.qass_logits(config, encoded.hidden, mask, questions, options)
        variables = tf.compat.v1.trainable_variables()
        assert {v.dtype.base_dtype for v in variables} == {tf.float32}
        assert encoded.hidden.dtype == options.compute_dtype and logits[0].dtype == tf.float32
        randomize(variables, session, seed=6)
        (words,) = (v for v in variables if v.op.name.endswith("word_embeddings"))
        gradient = tf.convert_to_tensor(tf.gradients(logits[0], words)[0])
        return session.run([*logits, gradient]), [v.op.name for v in variables]


def test_one_hot_embedding_is_the_gather() -> None:
    gathered, _ = span_graph_outputs(modeling.GraphOptions())
    one_hot, _ = span_graph_outputs(modeling.GraphOptions(use_one_hot_embeddings=True))
    for value, expected in zip(one_hot, gathered, strict=True):
        np.testing.assert_allclose(value, expected, atol=1e-4)


def test_bfloat16_stays_near_float32_with_the_same_variables() -> None:
    exact, names = span_graph_outputs(modeling.GraphOptions())
    rough, rough_names = span_graph_outputs(modeling.GraphOptions(compute_dtype=tf.bfloat16), bfloat16=True)
    assert names == rough_names
    visible = exact[0] > modeling.HIDDEN_LOGIT / 2
    error = np.abs(rough[0] - exact[0])[visible]
    scale = exact[0][visible].std()
    assert 1e-5 * scale < error.mean() < 0.03 * scale  # 8 bits of mantissa, and they were really used


def test_hidden_tokens_take_no_position_and_change_nothing() -> None:
    """What a masked span leaves behind (mask 0) may hold anything and stand anywhere behind its [QUESTION]."""
    config = small_config()
    inputs = random_inputs(seed=7)
    ids, mask, questions = inputs["input_ids"], inputs["input_mask"], inputs["question_positions"]
    other_ids = np.where(mask == 1, ids, (ids + 7) % 60)
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        placeholder = tf.compat.v1.placeholder(tf.int64, [None, LENGTH])
        logits, _ = modeling.span_logits(config, placeholder, tf.constant(mask), tf.constant(questions))
        randomize(tf.compat.v1.trainable_variables(), session, seed=8)
        first, second = (session.run(logits, {placeholder: x}) for x in (ids, other_ids))
    asked = np.take_along_axis(mask, questions, 1) == 1
    seen = asked[:, :, None] & (mask[:, None, :] == 1)
    np.testing.assert_allclose(first[seen], second[seen], atol=1e-5)


SCOPES = (
    "bert/embeddings",
    "bert/encoder/layer_0/attention/self",
    "bert/encoder/layer_0/attention/output",
    "bert/encoder/layer_0/output",
    "bert/encoder/layer_1/attention/self",
    "bert/encoder/layer_1/attention/output",
    "bert/encoder/layer_1/output",
)


@pytest.fixture(scope="module")
def with_dropout() -> dict[str, list[np.ndarray]]:
    """Start logits of one model and one key: without dropout, with it in one scope alone, and with it everywhere; each
    twice, in a session of its own."""
    inputs = random_inputs(seed=9)
    apply, logits = modeling._dropout, {}
    with tf.Graph().as_default(), pytest.MonkeyPatch.context() as patch:
        tensors = [tf.constant(inputs[k]) for k in ("input_ids", "input_mask", "question_positions")]

        def build(key: tf.Tensor | None) -> tf.Tensor:
            with tf.compat.v1.variable_scope("", reuse=bool(logits)):
                return modeling.span_logits(small_config(), *tensors, dropout_key=key)[0]

        key = tf.constant([3, 4])
        logits |= {"none": build(None)}
        logits |= {"everywhere": build(key), "another key": build(tf.constant([3, 5]))}
        for scope in SCOPES:

            def only_here(x: tf.Tensor, rate: float, options: Any, scope: str = scope) -> tf.Tensor:
                return apply(x, rate, options) if tf.compat.v1.get_variable_scope().name == scope else x

            patch.setattr(modeling, "_dropout", only_here)
            logits[scope] = build(key)
        runs = []
        for _ in range(2):
            with tf.compat.v1.Session() as session:
                randomize(tf.compat.v1.trainable_variables(), session, seed=10)
                runs.append(session.run(logits))
    return {name: [run[name] for run in runs] for name in logits}


def test_dropout_is_where_bert_has_it_and_repeats_with_its_key(with_dropout: dict[str, list[np.ndarray]]) -> None:
    values = {name: first for name, (first, _) in with_dropout.items()}
    for name, (first, second) in with_dropout.items():
        np.testing.assert_array_equal(first, second, err_msg=name)
    names = list(values)
    for i, one in enumerate(names):
        for other in names[i + 1 :]:
            assert np.abs(values[one] - values[other]).max() > 0.01, (one, other)


@pytest.mark.parametrize(("dtype", "size"), [(tf.float32, 64), (tf.bfloat16, 33)])
def test_dropout_zeros_its_share_and_keeps_the_mean(dtype: tf.DType, size: int) -> None:
    rate, rows = 0.1, 4000
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        options = modeling.GraphOptions(dropout_key=tf.constant([1, 2]))
        dropped = []
        for scope in ("a", "b"):
            with tf.compat.v1.variable_scope(scope):
                dropped.append(tf.cast(modeling._dropout(tf.ones([rows, size], dtype), rate, options), tf.float32))
        one, other = (value == 0 for value in session.run(dropped))
        assert session.run(dropped[0]).max() == pytest.approx(1 / (1 - rate), rel=1e-6 if dtype == tf.float32 else 4e-3)
    error = 4 * math.sqrt(rate * (1 - rate) / (rows * size))
    half = -(-size // 2)
    assert one.mean() == pytest.approx(rate, abs=error)
    assert one[:, half:].mean() == pytest.approx(rate, abs=1.5 * error)
    for same in (one & other, one[:, : size - half] & one[:, half:], one[1:] & one[:-1]):  # chance, not one mask
        assert same.mean() == pytest.approx(rate**2, abs=error)


@pytest.mark.parametrize("name", ["gelu", "gelu_new", "gelu_pytorch_tanh", "silu", "tanh"])
def test_activations_keep_bfloat16s_precision_in_the_tails(name: str) -> None:
    """Beside float64's values at the same bfloat16 inputs; bfloat16 itself is right to 0.4%."""
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        x = tf.cast(tf.linspace(-4.0, 4.0, 2001), tf.bfloat16)
        y = modeling.activation(name)(x)
        found, slope, inputs = session.run([tf.cast(v, tf.float64) for v in (y, tf.gradients(y, x)[0], x)])
    exact = {
        "gelu": lambda x: torch.nn.functional.gelu(x),
        "silu": torch.nn.functional.silu,
        "tanh": torch.tanh,
    }.get(name, lambda x: torch.nn.functional.gelu(x, approximate="tanh"))
    points = torch.tensor(inputs, requires_grad=True)
    values = exact(points)
    values.sum().backward()
    np.testing.assert_allclose(found, values.detach().numpy(), rtol=0.006)
    np.testing.assert_allclose(slope, points.grad.numpy(), rtol=0.006, atol=1e-6)
