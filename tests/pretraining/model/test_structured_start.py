"""--initializer=structured: where layer 0 looks, what the untrained head prefers, and that the rest is BERT's."""

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from kosplinter_common.cli import InputError
from pretraining.model import modeling
from pretraining.model.configuration import BertConfig
from pretraining.model.structured_start import initial_values, offsets, position_embeddings

SELF = "bert/encoder/layer_0/attention/self"


def config_of(hidden_size: int, heads: int, layers: int = 2, **values: Any) -> BertConfig:
    sizes = {"vocab_size": 300, "intermediate_size": 2 * hidden_size, "max_position_embeddings": 512}
    return BertConfig(
        hidden_size=hidden_size, num_attention_heads=heads, num_hidden_layers=layers, **{**sizes, **values}
    )


def graph_logits(config: BertConfig, length: int, questions: int) -> tuple[tf.Tensor, tf.Tensor, dict[str, tf.Tensor]]:
    inputs = {
        name: tf.compat.v1.placeholder(tf.int32, [None, size])
        for name, size in (("input_ids", length), ("input_mask", length), ("question_positions", questions))
    }
    start, end = modeling.span_logits(config, **inputs)
    return start, end, inputs


def shapes_of(config: BertConfig) -> dict[str, list[int]]:
    with tf.Graph().as_default():
        graph_logits(config, 16, 2)
        return {v.op.name: v.shape.as_list() for v in tf.compat.v1.trainable_variables()}


def layer_0_attention(config: BertConfig, values: dict[str, np.ndarray], length: int) -> np.ndarray:
    """[heads, length, length], written from the definition of attention: words at random, positions in order."""
    ids = np.random.default_rng(0).integers(0, config.vocab_size, length)
    embedded = values["bert/embeddings/word_embeddings"][ids] + values["bert/embeddings/position_embeddings"][:length]
    embedded = embedded.astype(np.float64)
    normed = (embedded - embedded.mean(1, keepdims=True)) / embedded.std(1, keepdims=True)
    split = (length, config.num_attention_heads, -1)
    query = (normed @ values[f"{SELF}/query/kernel"]).reshape(split)
    key = (normed @ values[f"{SELF}/key/kernel"]).reshape(split)
    scores = np.einsum("ihd,jhd->hij", query, key) / np.sqrt(query.shape[-1])
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    return weights / weights.sum(-1, keepdims=True)


@pytest.mark.parametrize(
    ("hidden_size", "heads", "length"), [(128, 2, 512), (256, 4, 512), (192, 12, 300), (768, 12, 512)]
)
def test_each_head_of_layer_0_looks_at_its_offset(hidden_size: int, heads: int, length: int) -> None:
    config = config_of(hidden_size, heads, layers=1)
    attention = layer_0_attention(config, initial_values(shapes_of(config), config, seed=3), length)
    assert offsets(heads)[:4] == [-1, 1, -2, 2][:heads]
    for head, offset in enumerate(offsets(heads)):
        for position in range(length):
            if 0 <= position + offset < length:
                assert attention[head, position].argmax() == position + offset, (head, position)
                assert attention[head, position].max() > 2 / length


def test_positions_turn_and_words_leave_them_alone() -> None:
    config = config_of(64, 4)
    table = position_embeddings(config).astype(np.float64)
    assert not table[:, 16:].any() and np.allclose((table[:, :16] ** 2).mean(1), 0.02**2)
    for offset in (1, 7, 100):  # the similarity of two positions depends on their distance only
        products = (table[:-offset] * table[offset:]).sum(1)
        assert np.ptp(products) < 1e-7 and products[0] < 0.999 * (table[0] ** 2).sum()
    words = initial_values(shapes_of(config), config, seed=1)["bert/embeddings/word_embeddings"]
    assert not words[:, :16].any() and words[:, 16:].all()


def test_the_untrained_head_points_to_the_repeated_context() -> None:
    """a b X c d … a b [QUESTION] c d: X is where the same neighbours stand; with BERT's start it is chance."""
    config = config_of(256, 4, hidden_act="gelu")
    random = np.random.default_rng(5)
    length, batch, span = 64, 40, 9
    ids = random.integers(10, config.vocab_size, (batch, length))
    answers, questions = random.integers(5, 25, batch), random.integers(40, 58, batch)
    for row, (answer, question) in enumerate(zip(answers, questions, strict=True)):
        ids[row, question - span // 2 : question + span // 2 + 1] = ids[
            row, answer - span // 2 : answer + span // 2 + 1
        ]
        ids[row, question] = 1
    right = {}
    for name in ("structured", "bert"):
        with tf.Graph().as_default(), tf.compat.v1.Session() as session:
            tf.compat.v1.set_random_seed(1)
            start, end, inputs = graph_logits(config, length, 1)
            session.run(tf.compat.v1.global_variables_initializer())
            if name == "structured":
                variables = {v.op.name: v for v in tf.compat.v1.trainable_variables()}
                shapes = {n: v.shape.as_list() for n, v in variables.items()}
                for n, value in initial_values(shapes, config, seed=2).items():
                    variables[n].load(value, session)
            fed = {"input_ids": ids, "input_mask": np.ones_like(ids), "question_positions": questions[:, None]}
            logits = session.run([start, end], {inputs[n]: value for n, value in fed.items()})
        found = []
        for side in logits:
            scores = side[:, 0].copy()
            scores[np.arange(batch), questions] = -np.inf  # a question is most like itself
            found.append(scores.argmax(1) == answers)
        right[name] = np.mean(found)
    assert right["structured"] > 0.9 and right["bert"] < 0.3


def test_everything_else_is_berts() -> None:
    config = config_of(128, 4, layers=3)
    values = initial_values(shapes_of(config), config, seed=7)
    structured = ("layer_0/attention/self/query", "layer_0/attention/self/key", "layer_0/attention/self/value")
    structured += ("layer_0/attention/output/dense", "_transform/dense", "_classifier", "position_embeddings")
    for name, value in values.items():
        assert value.dtype == np.float32
        if name.endswith("gamma"):
            assert (value == 1).all()
        elif name.endswith(("bias", "beta")):
            assert not value.any()
        elif not any(part in name for part in structured):
            used = value[:, 32:] if "word_embeddings" in name else value
            # a normal of 0.02, cut at two standard deviations: its own deviation is 0.8796 of that
            assert abs(used.std() / (0.02 * 0.8796) - 1) < 0.02 and abs(used.mean()) < 5 * 0.02 / used.size**0.5, name
            assert np.abs(used).max() <= 0.04


def test_maps_are_orthogonal_on_words_and_shared_by_questions_and_candidates() -> None:
    config = config_of(128, 4)
    values = initial_values(shapes_of(config), config, seed=7)
    words = np.eye(128)
    words[:32] = 0
    for name in (f"{SELF}/value/kernel", "cls/span_predictions/start_transform/dense/kernel"):
        assert np.allclose(values[name] @ values[name].T, words, atol=1e-5), name
    for side in ("start", "end"):
        query, key = (values[f"cls/span_predictions/{q}{side}_transform/dense/kernel"] for q in ("query_", ""))
        assert (query == key).all()
    output = values["bert/encoder/layer_0/attention/output/dense/kernel"]
    assert np.allclose(output @ output.T, np.eye(128), atol=1e-5)


def test_the_seed_decides_and_other_variables_do_not() -> None:
    config = config_of(64, 2)
    shapes = shapes_of(config)
    first, again, other = (initial_values(shapes, config, seed) for seed in (1, 1, 2))
    fewer = initial_values({name: shape for name, shape in shapes.items() if "layer_1" not in name}, config, 1)
    name = "bert/encoder/layer_0/intermediate/dense/kernel"
    assert all((first[n] == again[n]).all() for n in shapes)
    assert (first[name] == fewer[name]).all() and not (first[name] == other[name]).any()


@pytest.mark.parametrize(("hidden_size", "heads", "head_size"), [(66, 2, 33), (2, 1, 2)])
def test_sizes_it_cannot_serve_are_named(hidden_size: int, heads: int, head_size: int) -> None:
    config = config_of(hidden_size, heads)
    with pytest.raises(InputError, match=f"--initializer=structured: found a head size of {head_size}"):
        initial_values(shapes_of(config), config, seed=0)
