"""check_tpu from its command line, and what it counts against XLA modules of known cost."""

import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import tensorflow as tf
from tensorflow.compiler.xla.service import hlo_pb2

from kosplinter_common.cli import InputError
from kosplinter_common.records.examples import RecordSpec
from pretraining.model import modeling
from pretraining.model.flops import training_flops
from pretraining.tpu import report as tpu_report
from pretraining.tpu.hlo_cost import Buffers, Cost, UncountableError, buffers_of, cost_of
from pretraining.tpu.step import build_step_graph
from pretraining.training.train_step import StepSettings
from tests.pretraining.samples import small_config

# Before the first compilation: machine code that is never run need not be fast.
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0")

REPOSITORY = Path(__file__).resolve().parents[2]
SPEC = RecordSpec(max_seq_length=16, max_questions_per_seq=3, max_predictions_per_seq=0)
# Without dropout the module is a third as large: random numbers take most of it.
CONFIG = small_config(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
STEP = StepSettings(config=CONFIG, objectives=SPEC, learning_rate=1e-4, num_train_steps=100, num_warmup_steps=10)


def check_tpu(*flags: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "pretraining/check_tpu.py", *flags]
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=200, check=False)


def test_the_tiny_preset_compiles_and_its_products_are_those_of_the_arithmetic() -> None:
    config = REPOSITORY / "pretraining/configs/tiny.json"
    done = check_tpu(f"--bert_config_file={config}", "--use_bfloat16", "--train_batch_size=16")
    assert done.returncode == 0, done.stderr
    assert "2 examples a core, 8 cores" in done.stdout
    ratio = float(re.search(r"ratio counted / arithmetic: ([\d.]+)", done.stdout)[1])
    assert 0.99 < ratio <= 1.05
    assert re.search(r"v2-8: at least [\d.]+ ms a step.* 180 TFLOP/s; fits in 8\.00 GiB", done.stdout)
    assert re.search(r"v3-8: at least [\d.]+ ms a step", done.stdout)
    values = json.loads(config.read_text())
    weights = values["vocab_size"] * values["hidden_size"] * 4
    gibibytes = float(re.search(r"of which variables ([\d.]+) GiB", done.stdout)[1])
    assert gibibytes * 2**30 > 3 * weights  # word embeddings and their two moments alone


def test_a_batch_that_the_cores_cannot_share_ends_in_one_line() -> None:
    done = check_tpu("--bert_config_file=pretraining/configs/tiny.json", "--train_batch_size=12")
    assert done.returncode == 1
    assert done.stderr.strip().splitlines()[-1] == (
        "error: --train_batch_size: found 12, expected a multiple of --num_tpu_cores times "
        "--gradient_accumulation_steps (8)"
    )


def test_a_step_in_parts_with_both_objectives_costs_what_the_parts_cost() -> None:
    both = replace(SPEC, max_predictions_per_seq=4)
    report = tpu_report.check(replace(STEP, objectives=both, gradient_accumulation_steps=2), cores=8, core_batch_size=4)
    assert report.cost.flops == pytest.approx(4 * training_flops(CONFIG, both), rel=0.05)
    report.raise_if_wasteful()
    batch = 4 * sum(4 * length for _, length in both.features().values())
    assert report.buffers.arguments == pytest.approx(report.variable_bytes + batch, rel=0.01)
    assert report.buffers.temporaries > 0


@pytest.mark.parametrize("parts", [1, 2])
def test_memory_of_an_example_is_that_of_what_the_backward_pass_reads(parts: int) -> None:
    """In one layer: what each operation's gradient needs, by hand."""
    length, hidden, inner, heads, questions = 16, 32, 48, 2, 3
    wide, scores = length * hidden, heads * length * length
    normed = 2 * wide + 2 * length  # centred inputs, scaled; mean and variance
    found = tpu_report.check(replace(STEP, gradient_accumulation_steps=parts), cores=8, core_batch_size=4)
    encoder = normed + 3 * wide + scores + wide + normed + wide + 4 * length * inner + length * inner + normed + wide
    heads_of_spans = 2 * (5 * wide + normed + 5 * questions * hidden + 2 * questions * hidden + questions * length)
    assert found.activation_bytes == pytest.approx(4 * (encoder + heads_of_spans), rel=0.2)


def test_parts_that_a_gpu_needs() -> None:
    """base-ko's figures at 512 tokens in bfloat16."""
    report = tpu_report.Report(
        cores=8,
        core_batch_size=32,
        cost=Cost(1.0, 1.0),
        analytic_flops=1.0,
        buffers=Buffers(0, 0, 0),
        variable_bytes=3 * 464_000_000,
        exchanged_bytes=0,
        activation_bytes=653 * 2**20,
        weight_bytes=464_000_000,
    )
    assert [report.parts_on_gpu(10**9 * gigabytes) for gigabytes in (80, 200, 16, 3)] == [4, 1, 16, None]
    assert "one GPU of 80 GB needs --gradient_accumulation_steps=4 for 256 examples a step (estimate)" in report.lines()


def test_gradients_of_every_weight_are_summed_over_the_cores() -> None:
    step = build_step_graph(STEP, cores=8, core_batch_size=2)
    sizes = [spec.shape.num_elements() for name, spec in step.variables.items() if "adam_m" in name]
    # Beside the gradients: the counts of questions and predictions, and the step's sums.
    assert 0 <= step.exchanged_bytes - 4 * sum(sizes) < 100


def test_wasted_products_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def with_two_products(x: tf.Tensor) -> tf.Tensor:
        return tf.matmul(x, tf.matmul(x, x, transpose_a=True))

    monkeypatch.setattr(modeling, "activation", lambda name: with_two_products)
    report = tpu_report.check(STEP, cores=1, core_batch_size=2)
    with pytest.raises(InputError, match=r"found \d\.\d+ times the model's arithmetic, expected at most 1\.05"):
        report.raise_if_wasteful()


def test_an_operation_that_cannot_be_compiled_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def with_the_time(x: tf.Tensor) -> tf.Tensor:
        return x + tf.cast(tf.timestamp(name="the_time"), x.dtype)

    monkeypatch.setattr(modeling, "activation", lambda name: with_the_time)
    with pytest.raises(InputError, match=r"XLA cannot compile the step: .*Timestamp.*/the_time") as caught:
        tpu_report.check(STEP, cores=8, core_batch_size=2)
    assert "TF_DUMP" not in str(caught.value)


def test_python_code_in_the_step_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def in_python(x: tf.Tensor) -> tf.Tensor:
        return x + tf.ensure_shape(tf.numpy_function(lambda value: value, [x], x.dtype, name="in_python"), x.shape)

    monkeypatch.setattr(modeling, "activation", lambda name: in_python)
    with pytest.raises(InputError, match=r"/in_python \(PyFunc\): found shape <unknown>, expected a static one"):
        build_step_graph(STEP, cores=8, core_batch_size=2)


def test_a_shape_that_is_not_static_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def positive(x: tf.Tensor) -> tf.Tensor:
        return x + tf.reduce_sum(tf.gather_nd(x, tf.where(x > 0, name="positive_only")))

    monkeypatch.setattr(modeling, "activation", lambda name: positive)
    with pytest.raises(InputError, match=r"positive_only \(Where\): found shape \(None, 2\), expected a static one"):
        build_step_graph(STEP, cores=8, core_batch_size=2)


def module_of(function: object, *specs: tf.TensorSpec) -> hlo_pb2.HloProto:
    compiled = tf.function(function, jit_compile=True, input_signature=specs)
    ir = compiled.experimental_get_compiler_ir(*(tf.zeros(spec.shape, spec.dtype) for spec in specs))
    return hlo_pb2.HloProto.FromString(ir(stage="optimized_hlo_proto_serialized"))


def test_products_count_twice_their_multiplications_and_loops_their_rounds() -> None:
    def repeated(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
        return tf.while_loop(lambda i, _: i < 7, lambda i, x: (i + 1, tf.linalg.matmul(b, x)), (2, a))[1]

    module = module_of(repeated, tf.TensorSpec([4, 16, 24]), tf.TensorSpec([4, 16, 16]))
    assert cost_of(module.hlo_module).flops == 5 * 2 * 4 * 16 * 16 * 24


def test_traffic_of_fused_arithmetic_is_its_ends_only() -> None:
    module = module_of(lambda a, b: tf.tanh(a * b) + a, tf.TensorSpec([64, 32]), tf.TensorSpec([64, 32]))
    assert cost_of(module.hlo_module) == Cost(0.0, 3 * 64 * 32 * 4)
    assert buffers_of(module).arguments == 2 * 64 * 32 * 4
    assert buffers_of(module).results == 64 * 32 * 4


def test_a_lookup_reads_the_rows_it_hands_on() -> None:
    module = module_of(lambda table, ids: tf.gather(table, ids), tf.TensorSpec([5000, 8]), tf.TensorSpec([6], tf.int32))
    assert cost_of(module.hlo_module).bytes_accessed < 2000


def test_a_module_whose_products_cannot_be_counted_is_refused() -> None:
    module = module_of(
        lambda x, k: tf.nn.conv2d(x, k, 1, "SAME"), tf.TensorSpec([1, 8, 8, 2]), tf.TensorSpec([3, 3, 2, 2])
    )
    with pytest.raises(UncountableError, match="expected products as dot"):
        cost_of(module.hlo_module)


def test_a_loop_without_a_known_number_of_rounds_is_refused() -> None:
    def halved(x: tf.Tensor) -> tf.Tensor:
        return tf.while_loop(lambda x: tf.reduce_max(x) > 1.0, lambda x: (x / 2.0,), (x,))[0]

    with pytest.raises(UncountableError, match="number of rounds"):
        cost_of(module_of(halved, tf.TensorSpec([8])).hlo_module)
