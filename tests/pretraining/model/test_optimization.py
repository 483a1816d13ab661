"""The update against plain arithmetic, step by step."""

import numpy as np
import pytest
import tensorflow as tf
import torch

from pretraining.model.optimization import AdamWeightDecayOptimizer, learning_rate_at

NAMES = ("layer/dense/kernel", "layer/dense/bias", "layer/LayerNorm/gamma", "layer/layer_norm_1/beta")


def clipped(gradients: dict[str, np.ndarray], norm: float) -> dict[str, np.ndarray]:
    total = np.sqrt(sum((g**2).sum() for g in gradients.values()))
    return {name: g * norm / max(norm, total) for name, g in gradients.items()}


def test_updates_follow_the_formula_without_bias_correction() -> None:
    random = np.random.default_rng(0)
    shapes = {name: (5, 3) if name.endswith("kernel") else (3,) for name in NAMES}
    start = {name: random.normal(size=shape) for name, shape in shapes.items()}
    steps = [{name: random.normal(0, scale, shape) for name, shape in shapes.items()} for scale in (0.01, 3.0, 0.1)]
    rates = (0.1, 0.05, 0.02)
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        variables = [
            tf.compat.v1.get_variable(name, initializer=start[name].astype(np.float32), use_resource=True)
            for name in NAMES
        ]
        fed = [tf.compat.v1.placeholder(tf.float32, shapes[name]) for name in NAMES]
        rate = tf.compat.v1.placeholder(tf.float32, [])
        global_step = tf.compat.v1.train.get_or_create_global_step()
        optimizer = AdamWeightDecayOptimizer(rate)
        update = optimizer.apply_gradients(list(zip(fed, variables, strict=True)), global_step)
        session.run(tf.compat.v1.global_variables_initializer())
        norms = []
        for gradients, value in zip(steps, rates, strict=True):
            feed = {placeholder: gradients[name] for placeholder, name in zip(fed, NAMES, strict=True)}
            norms.append(session.run((update, optimizer.gradient_norm), {**feed, rate: value})[1])
        result = {v.op.name: v for v in tf.compat.v1.global_variables()}
        assert set(result) == {*NAMES, *(f"{n}/adam_m" for n in NAMES), *(f"{n}/adam_v" for n in NAMES), "global_step"}
        found = session.run(result)

    m = {name: np.zeros(shape) for name, shape in shapes.items()}
    v = {name: np.zeros(shape) for name, shape in shapes.items()}
    weights = dict(start)
    for gradients, value, norm in zip(steps, rates, norms, strict=True):
        assert norm == pytest.approx(np.sqrt(sum((g**2).sum() for g in gradients.values())), rel=1e-5)
        for name, gradient in clipped(gradients, 1.0).items():
            m[name] = 0.9 * m[name] + 0.1 * gradient
            v[name] = 0.999 * v[name] + 0.001 * gradient**2
            decay = 0.01 if name.endswith("kernel") else 0.0
            weights[name] = weights[name] - value * (m[name] / (np.sqrt(v[name]) + 1e-6) + decay * weights[name])
    assert found["global_step"] == 3
    for name in NAMES:
        np.testing.assert_allclose(found[name], weights[name], rtol=2e-5, atol=1e-6)
        np.testing.assert_allclose(found[f"{name}/adam_m"], m[name], rtol=2e-5, atol=1e-7)
        np.testing.assert_allclose(found[f"{name}/adam_v"], v[name], rtol=2e-5, atol=1e-9)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_non_finite_gradient_reaches_no_weight(bad: float) -> None:
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        variables = [tf.compat.v1.get_variable(n, initializer=np.ones(2, np.float32)) for n in ("a/kernel", "b/kernel")]
        gradients = [tf.constant([1.0, bad]), tf.constant([1.0, 1.0])]
        optimizer = AdamWeightDecayOptimizer(0.1)
        update = optimizer.apply_gradients(list(zip(gradients, variables, strict=True)))
        session.run(tf.compat.v1.global_variables_initializer())
        norm, _ = session.run((optimizer.gradient_norm, update))
        assert not np.isfinite(norm)
        for variable in session.run(tf.compat.v1.global_variables()):
            assert np.isfinite(variable).all()


def test_without_bias_correction_is_all_that_differs_from_torchs_adamw() -> None:
    """torch's AdamW with the correction undone: lr · √(1−β₂ᵗ) / (1−β₁ᵗ) and ε · √(1−β₂ᵗ) cancel; decay by lr as is."""
    random = np.random.default_rng(1)
    start, gradients = random.normal(size=4).astype(np.float32), random.normal(0, 0.1, (6, 4)).astype(np.float32)
    weights = torch.nn.Parameter(torch.tensor(start))
    adamw = torch.optim.AdamW([weights], lr=0.0, betas=(0.9, 0.999), eps=1e-6, weight_decay=0.0)
    for t, gradient in enumerate(gradients, 1):
        correction_1, correction_2 = 1 - 0.9**t, np.sqrt(1 - 0.999**t)
        adamw.param_groups[0].update(lr=0.01 * correction_1 / correction_2, eps=1e-6 / correction_2)
        decayed = 0.01 * 0.01 * weights.detach().clone()
        weights.grad = torch.tensor(gradient)
        adamw.step()
        weights.data -= decayed
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        variable = tf.compat.v1.get_variable("kernel", initializer=start, use_resource=True)
        fed = tf.compat.v1.placeholder(tf.float32, [4])
        update = AdamWeightDecayOptimizer(0.01).apply_gradients([(fed, variable)])
        session.run(tf.compat.v1.global_variables_initializer())
        for gradient in gradients:
            session.run(update, {fed: gradient})
        np.testing.assert_allclose(session.run(variable), weights.detach().numpy(), rtol=1e-5)


def test_learning_rate_rises_then_falls_to_zero() -> None:
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        steps = tf.constant([0.0, 1.0, 9.0, 10.0, 50.0, 99.0, 100.0, 120.0])
        rates = session.run(learning_rate_at(steps, 2.0, 100, 10))
        no_warmup = session.run(learning_rate_at(steps[:2], 2.0, 100, 0))
    np.testing.assert_allclose(rates, [0, 0.2, 1.8, 1.8, 1.0, 0.02, 0, 0], atol=1e-6)
    np.testing.assert_allclose(no_warmup, [2.0, 1.98], rtol=1e-6)
