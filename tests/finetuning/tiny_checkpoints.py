"""Tiny checkpoints of every dialect, each with the outputs of a TensorFlow graph of its own, apart from the project's.

All gammas, betas and biases are random, so that a layer norm or a bias that is not loaded cannot pass.
"""

import json
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tensorflow as tf

SIZES = {
    "vocab_size": 128,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 40,
    "type_vocab_size": 2,
}
LENGTH, QUESTIONS = 32, 4
SPECIAL_IN_KOSPLINTER_ORDER = ["[QUESTION]", "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
WORDS = [".", "?", "이순신", "##은", "누구", "##인가", "장군", "##이다", "조선", "##의", "cafe"]

Variables = dict[str, np.ndarray]


@dataclass(frozen=True)
class Dialect:
    """keras: LayerNormalization layers; head: has QASS; token_types: adds row 0 of such embeddings."""

    config: dict
    epsilon: float
    qass_epsilon: float
    tanh: bool
    keras: bool = False
    head: bool = True
    token_types: bool = False


DIALECTS = {
    "own": Dialect({"hidden_act": "gelu", "qass_layer_norm_eps": 1e-5}, 1e-12, 1e-5, tanh=False),
    "own_tanh": Dialect({"hidden_act": "gelu_new", "qass_layer_norm_eps": 1e-12}, 1e-12, 1e-12, tanh=True),
    "splinter": Dialect({"hidden_act": "gelu"}, 1e-12, 1e-12, tanh=True),
    "kosplinter": Dialect({"hidden_act": "gelu"}, 1e-3, 1e-3, tanh=True, keras=True),
    "bert": Dialect({"hidden_act": "gelu"}, 1e-12, 1e-12, tanh=True, head=False, token_types=True),
}


@dataclass(frozen=True)
class Batch:
    input_ids: np.ndarray  # [rows, LENGTH]
    input_mask: np.ndarray
    question_positions: np.ndarray  # [rows, QUESTIONS], 0 is padding
    beginnings: np.ndarray
    endings: np.ndarray

    @property
    def position_ids(self) -> np.ndarray:
        return np.cumsum(self.input_mask, 1) - self.input_mask

    @property
    def visible(self) -> np.ndarray:
        """[rows, QUESTIONS, LENGTH]: logits of real questions at positions that are not hidden."""
        return (self.question_positions > 0)[..., None] & (self.input_mask > 0)[:, None, :]


@dataclass(frozen=True)
class TinyCheckpoint:
    """prefix, config and vocabulary files, and what the dialect's own graph gives on `batch`.

    start_logits, end_logits [rows, QUESTIONS, LENGTH] and loss [rows, QUESTIONS] are None without a head.
    """

    prefix: Path
    config: Path
    vocab: Path
    variables: Variables
    batch: Batch
    hidden: np.ndarray
    start_logits: np.ndarray | None
    end_logits: np.ndarray | None
    loss: np.ndarray | None

    def flags(self, output: Path) -> list[str]:
        return [
            f"--tf_checkpoint_path={self.prefix}",
            f"--bert_config_file={self.config}",
            f"--vocab_file={self.vocab}",
            f"--pytorch_dump_path={output}",
        ]


def vocabulary(splinter_order: bool = False, size: int = SIZES["vocab_size"]) -> list[str]:
    """KoSplinter's order ([QUESTION] 0, [PAD] 1) or Splinter's ([PAD] 0, [QUESTION] 104)."""
    tokens = [*SPECIAL_IN_KOSPLINTER_ORDER, *WORDS]
    if splinter_order:
        tokens = ["[PAD]", *(f"[unused{i}]" for i in range(1, 100)), "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[QUESTION]"]
        tokens += WORDS
    return tokens + [f"##{i}" for i in range(size - len(tokens))]


def write_vocabulary(path: Path, tokens: list[str]) -> Path:
    path.write_text("".join(token + "\n" for token in tokens), encoding="utf-8")
    return path


def make_batch(tokens: list[str], rows: int = 3) -> Batch:
    """Random examples with masked spans in the middle and padding at the end."""
    random = np.random.default_rng(5)
    ids = random.integers(len(tokens) - 20, len(tokens), (rows, LENGTH))
    mask = np.ones_like(ids)
    positions, beginnings, endings = (np.zeros((rows, QUESTIONS), np.int64) for _ in range(3))
    for row in range(rows):
        for question in range(QUESTIONS - (row == 0)):  # the first row pads its questions
            at = 3 + 6 * question
            ids[row, at], positions[row, question] = tokens.index("[QUESTION]"), at
            ids[row, at + 1 : at + 3], mask[row, at + 1 : at + 3] = tokens.index("[PAD]"), 0
            beginnings[row, question], endings[row, question] = at + 3, at + 3 + (row > 0)
        ids[row, LENGTH - 3 * row :], mask[row, LENGTH - 3 * row :] = tokens.index("[PAD]"), 0
    ids[:, 0] = tokens.index("[CLS]")
    return Batch(ids, mask, positions, beginnings, endings)


def random_values(name: str, shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    random = np.random.default_rng([seed, zlib.crc32(name.encode())])
    if name.endswith("gamma"):
        return random.uniform(0.5, 1.5, shape).astype(np.float32)
    return random.normal(0, 0.1, shape).astype(np.float32)


class _Graph:
    """The published systems' forward pass, as the papers and the dialects' table describe it."""

    def __init__(self, dialect: Dialect, seed: int) -> None:
        self.dialect = dialect
        self.seed = seed

    def variable(self, name: str, *shape: int) -> tf.Tensor:
        full = f"{tf.compat.v1.get_variable_scope().name}/{name}"
        initial = tf.constant_initializer(random_values(full, shape, self.seed))
        return tf.compat.v1.get_variable(name, shape, initializer=initial)

    def dense(self, scope: str, x: tf.Tensor, size: int) -> tf.Tensor:
        with tf.compat.v1.variable_scope(scope):
            return tf.einsum("bth,ho->bto", x, self.variable("kernel", x.shape[-1], size)) + self.variable("bias", size)

    def norm(self, x: tf.Tensor, epsilon: float) -> tf.Tensor:
        if self.dialect.keras:
            scope = tf.compat.v1.get_variable_scope().name

            def initial(kind: str) -> tf.keras.initializers.Initializer:
                values = random_values(f"{scope}/{kind}", (x.shape[-1],), self.seed)
                return tf.constant_initializer(values)

            return tf.keras.layers.LayerNormalization(
                epsilon=epsilon, gamma_initializer=initial("gamma"), beta_initializer=initial("beta")
            )(x)
        with tf.compat.v1.variable_scope("LayerNorm"):
            mean = tf.reduce_mean(x, -1, keepdims=True)
            variance = tf.reduce_mean(tf.square(x - mean), -1, keepdims=True)
            beta, gamma = self.variable("beta", x.shape[-1]), self.variable("gamma", x.shape[-1])
            return (x - mean) / tf.sqrt(variance + epsilon) * gamma + beta

    def gelu(self, x: tf.Tensor) -> tf.Tensor:
        return tf.nn.gelu(x, approximate=self.dialect.tanh)

    def encode(self, batch: Batch) -> tf.Tensor:
        size, heads = SIZES["hidden_size"], SIZES["num_attention_heads"]
        bias = (1.0 - tf.constant(batch.input_mask, tf.float32))[:, None, None, :] * -10000.0
        with tf.compat.v1.variable_scope("bert"):
            with tf.compat.v1.variable_scope("embeddings"):
                words = self.variable("word_embeddings", SIZES["vocab_size"], size)
                positions = self.variable("position_embeddings", SIZES["max_position_embeddings"], size)
                x = tf.gather(words, batch.input_ids) + tf.gather(positions, batch.position_ids)
                if self.dialect.token_types:
                    x += self.variable("token_type_embeddings", SIZES["type_vocab_size"], size)[0]
                x = self.norm(x, self.dialect.epsilon)
            for layer in range(SIZES["num_hidden_layers"]):
                with tf.compat.v1.variable_scope(f"encoder/layer_{layer}"):
                    with tf.compat.v1.variable_scope("attention/self"):
                        query, key, value = (
                            tf.reshape(self.dense(name, x, size), [*x.shape[:2], heads, size // heads])
                            for name in ("query", "key", "value")
                        )
                        scores = tf.einsum("bqnd,bknd->bnqk", query, key) / (size / heads) ** 0.5 + bias
                        context = tf.einsum("bnqk,bknd->bqnd", tf.nn.softmax(scores), value)
                    with tf.compat.v1.variable_scope("attention/output"):
                        attended = self.dense("dense", tf.reshape(context, x.shape), size) + x
                        x = self.norm(attended, self.dialect.epsilon)
                    with tf.compat.v1.variable_scope("intermediate"):
                        inner = self.gelu(self.dense("dense", x, SIZES["intermediate_size"]))
                    with tf.compat.v1.variable_scope("output"):
                        x = self.norm(self.dense("dense", inner, size) + x, self.dialect.epsilon)
            with tf.compat.v1.variable_scope("pooler"):
                self.dense("dense", x, size)
        return x

    def masked_lm(self, x: tf.Tensor) -> None:
        with tf.compat.v1.variable_scope("cls/predictions"):
            self.variable("output_bias", SIZES["vocab_size"])
            with tf.compat.v1.variable_scope("transform"):
                self.norm(self.gelu(self.dense("dense", x, SIZES["hidden_size"])), self.dialect.epsilon)

    def span_logits(self, x: tf.Tensor, batch: Batch) -> list[tf.Tensor]:
        asked = tf.gather(x, batch.question_positions, batch_dims=1)
        hidden = (1.0 - tf.constant(batch.input_mask, tf.float32))[:, None, :] * -10000.0

        def transform(name: str, inputs: tf.Tensor) -> tf.Tensor:
            with tf.compat.v1.variable_scope(name):
                return self.norm(
                    self.gelu(self.dense("dense", inputs, SIZES["hidden_size"])), self.dialect.qass_epsilon
                )

        with tf.compat.v1.variable_scope("cls/span_predictions"):
            queries = {side: transform(f"query_{side}_transform", asked) for side in ("start", "end")}
            logits = []
            for side in ("start", "end"):
                classifier = self.variable(f"{side}_classifier", SIZES["hidden_size"], SIZES["hidden_size"])
                keys = transform(f"{side}_transform", x)
                logits.append(tf.einsum("bqh,hk,btk->bqt", queries[side], classifier, keys) + hidden)
        return logits


def make_checkpoint(
    folder: Path,
    dialect_name: str,
    splinter_order: bool = False,
    seed: int = 0,
    step: int = 1000,
    change: Callable[[Variables], None] = lambda variables: None,
) -> TinyCheckpoint:
    """Writes model.ckpt-`step`, bert_config.json and vocab.txt; `change` may spoil the variables before that."""
    dialect, tokens = DIALECTS[dialect_name], vocabulary(splinter_order)
    folder.mkdir(parents=True, exist_ok=True)
    batch = make_batch(tokens)
    graph = _Graph(dialect, seed)
    start_logits = end_logits = loss = None
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        x = graph.encode(batch)
        graph.masked_lm(x)
        logits = graph.span_logits(x, batch) if dialect.head else []
        session.run(tf.compat.v1.global_variables_initializer())
        hidden = session.run(x)
        if dialect.head:
            start_logits, end_logits = session.run(logits)
            loss = (cross_entropy(start_logits, batch.beginnings) + cross_entropy(end_logits, batch.endings)) / 2
        variables = {v.name.removesuffix(":0"): session.run(v) for v in tf.compat.v1.global_variables()}
    for name in list(variables):
        for slot in ("adam_m", "adam_v"):
            variables[f"{name}/{slot}"] = random_values(f"{name}/{slot}", variables[name].shape)
    variables["global_step"] = np.array(step, np.int64)
    change(variables)
    prefix = folder / f"model.ckpt-{step}"
    save_variables(prefix, variables)
    config = folder / "bert_config.json"
    config.write_text(json.dumps(SIZES | dialect.config), encoding="utf-8")
    vocab = write_vocabulary(folder / "vocab.txt", tokens)
    return TinyCheckpoint(prefix, config, vocab, variables, batch, hidden, start_logits, end_logits, loss)


def cross_entropy(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """[..., LENGTH] and [...] → [...]"""
    logits = logits.astype(np.float64)
    return (
        np.log(np.exp(logits - logits.max(-1, keepdims=True)).sum(-1))
        + logits.max(-1)
        - np.take_along_axis(logits, labels[..., None], -1).squeeze(-1)
    )


def save_variables(prefix: Path, variables: Variables) -> None:
    """One TensorFlow checkpoint, and the `checkpoint` file that names it."""
    tf.raw_ops.SaveV2(
        prefix=str(prefix),
        tensor_names=list(variables),
        shape_and_slices=[""] * len(variables),
        tensors=[tf.constant(values) for values in variables.values()],
    )
    (prefix.parent / "checkpoint").write_text(f'model_checkpoint_path: "{prefix.name}"\n', encoding="utf-8")
