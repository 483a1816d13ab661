"""The graph that TPUEstimator builds for eight TPU cores, built without one: only the question for devices is faked."""

from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import tensorflow as tf
from tensorflow.python.tpu import tpu_system_metadata
from tensorflow_estimator.python.estimator.tpu.error_handling import ErrorRendezvous

from pretraining.input.pipeline import HostShare
from pretraining.input.record_files import open_dataset
from pretraining.model.replicas import Replicas
from pretraining.settings import PretrainingSettings
from pretraining.training.estimators import TPUEstimators, build_estimators
from pretraining.training.window import WindowReader
from tests.pretraining.samples import SPEC, small_config, write_shards
from tests.pretraining.training.test_train_step import batch, build_train_step, load_random_weights, settings, tensors

CORES = 8
# Per question and per prediction, as they go to the host.
SPAN_TENSORS = ("loss", "start", "end", "exact", "weights", "chance of start", "chance of exact")
MASKED_LM_TENSORS = ("loss", "correct", "weights")


class Built(NamedTuple):
    estimators: TPUEstimators
    graph: tf.Graph
    shares: list[HostShare]  # of the hosts that read


def build(folder: Path, mode: str, hosts: int) -> Built:
    """The graph of training or evaluation for `hosts` hosts of eight cores each."""
    cores = CORES * hosts
    given = PretrainingSettings(
        bert_config_file="",
        output_dir=str(folder / "out"),
        input_file=f"{folder}/train/*.tfrecord",
        do_train=True,
        use_tpu=True,
        num_tpu_cores=cores,
        use_bfloat16=True,
        train_batch_size=2 * cores,
        gradient_accumulation_steps=2,
        eval_batch_size=cores,
        num_train_steps=20,
        num_warmup_steps=1,
        save_checkpoints_steps=5,
        recurring_span_selection=True,
        only_recurring_span_selection=False,
        init_checkpoint=str(folder / "init.ckpt"),
    )
    data = open_dataset(given.input_file, SPEC, small_config())
    metadata = tpu_system_metadata.TPUSystemMetadata(cores, hosts, CORES, None, [])
    shares: list[HostShare] = []
    share = TPUEstimators._share
    had_functions = tf.compat.v1.control_flow_v2_enabled()
    tf.compat.v1.disable_control_flow_v2()  # as run_pretraining.py does, with the rest of TF2's behaviour
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tpu_system_metadata, "_query_tpu_system_metadata", lambda *args, **kwargs: metadata)
        patch.setattr(TPUEstimators, "_check_tpu", lambda self: None)
        patch.setattr(TPUEstimators, "_share", lambda self, params: shares.append(share(self, params)) or shares[-1])
        estimators = build_estimators(given, small_config(), data, load_weights=True)
        estimator = estimators.estimator
        built: list[tf.Graph] = []

        def build_only(input_fn: Any, *args: Any, **kwargs: Any) -> None:
            with tf.Graph().as_default() as graph, estimator._ctx.with_mode(mode):
                estimator._create_and_assert_global_step(graph)
                estimator._rendezvous[mode] = ErrorRendezvous(3)
                features = estimator._call_input_fn(input_fn, mode)
                spec = estimator._call_model_fn(features, None, mode, estimator.config)
                if mode == "train":
                    WindowReader()
                    spec.scaffold.finalize()
            built.append(graph)

        if mode == "train":
            patch.setattr(estimator, "train", build_only)
            estimators.train(data, 0, 20, [], None)
        else:
            build_only(estimators.evaluation_input(data))
    if had_functions:
        tf.compat.v1.enable_control_flow_v2()
    return Built(estimators, built[0], shares)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tpu")
    write_shards(folder / "train", [9, 12])
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        build_train_step(tensors(batch()), settings(), Replicas())
        load_random_weights(session)
        tf.compat.v1.train.Saver(tf.compat.v1.trainable_variables()).save(session, str(folder / "init.ckpt"))
    return folder


@pytest.fixture(scope="module")
def graph(folder: Path) -> tuple[TPUEstimators, tf.Graph]:
    built = build(folder, "train", hosts=1)
    return built.estimators, built.graph


def test_loops_reach_to_the_next_checkpoint_and_hosts_feed_cores(graph: tuple[TPUEstimators, tf.Graph]) -> None:
    config = graph[0].estimator.config.tpu_config
    assert config.iterations_per_loop == 5 and config.num_shards == CORES
    assert config.per_host_input_for_training == tf.compat.v1.estimator.tpu.InputPipelineConfig.PER_HOST_V2


def test_the_cores_part_is_static_and_of_types_that_a_tpu_has(graph: tuple[TPUEstimators, tf.Graph]) -> None:
    on_tpu = [op for op in graph[1].get_operations() if "_tpu_replicate" in op.node_def.attr]
    outputs = [tensor for op in on_tpu for tensor in op.outputs]
    assert {"CrossReplicaSum", "TPUReplicatedInput", "InfeedDequeueTuple"} & {op.type for op in on_tpu}
    assert not [tensor.name for tensor in outputs if not tensor.shape.is_fully_defined()]
    assert tf.string not in {tensor.dtype for tensor in outputs}
    assert any(op.type == "MatMul" and op.outputs[0].dtype == tf.bfloat16 for op in on_tpu)
    softmaxes = [op for op in on_tpu if "Softmax" in op.type]
    assert len(softmaxes) == 2 * (1 + 3)  # in two parts, attention's and the three losses
    assert {tensor.dtype for op in softmaxes for tensor in op.outputs} == {tf.float32}


def test_summaries_are_written_outside_the_cores(graph: tuple[TPUEstimators, tf.Graph]) -> None:
    writers = [op for op in graph[1].get_operations() if op.type == "WriteSummary"]
    assert len(writers) == 4 and not any("_tpu_replicate" in op.node_def.attr for op in writers)


def test_each_host_of_two_reads_its_share_for_its_cores(folder: Path) -> None:
    built = build(folder, "train", hosts=2)
    assert built.shares == [HostShare(2, 0), HostShare(2, 1)]
    (metadata,) = (op for op in built.graph.get_operations() if op.type == "TPUReplicateMetadata")
    assert metadata.get_attr("num_replicas") == 2 * CORES
    fed = Counter(op.name.split("/")[0] for op in built.graph.get_operations() if op.type == "InfeedEnqueueTuple")
    assert fed == {"input_pipeline_task0": CORES, "input_pipeline_task1": CORES}
    assert any(op.type == "XlaReplicaId" for op in built.graph.get_operations())  # for each core its own dropout


def test_the_evaluation_of_eight_cores_is_static_exact_and_without_dropout(folder: Path) -> None:
    built = build(folder, "eval", hosts=1)
    assert built.shares == [HostShare(1, 0)]
    on_tpu = [op for op in built.graph.get_operations() if "_tpu_replicate" in op.node_def.attr]
    assert not [tensor.name for op in on_tpu for tensor in op.outputs if not tensor.shape.is_fully_defined()]
    types = {op.type for op in on_tpu}
    assert {"InfeedDequeueTuple", "OutfeedEnqueueTuple"} <= types and not any("Random" in name for name in types)
    received = [op for op in built.graph.get_operations() if op.type == "OutfeedDequeueTuple"]
    assert len(received) == CORES and len(received[0].outputs) == len(SPAN_TENSORS) + len(MASKED_LM_TENSORS)
