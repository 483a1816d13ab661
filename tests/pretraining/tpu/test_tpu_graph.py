"""The graph that TPUEstimator builds for eight TPU cores, built without one: only the question for devices is faked."""

from typing import Any

import pytest
import tensorflow as tf
from tensorflow.python.tpu import tpu_system_metadata
from tensorflow_estimator.python.estimator.tpu.error_handling import ErrorRendezvous

from pretraining.input.record_files import open_dataset
from pretraining.model.replicas import Replicas
from pretraining.settings import PretrainingSettings
from pretraining.training.estimators import TPUEstimators, build_estimators
from pretraining.training.window import WindowReader
from tests.pretraining.samples import SPEC, small_config, write_shards
from tests.pretraining.training.test_train_step import batch, build_train_step, load_random_weights, settings, tensors

CORES = 8


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> tuple[TPUEstimators, tf.Graph]:
    folder = tmp_path_factory.mktemp("tpu")
    write_shards(folder / "train", [9, 12])
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        build_train_step(tensors(batch()), settings(), Replicas())
        load_random_weights(session)
        tf.compat.v1.train.Saver(tf.compat.v1.trainable_variables()).save(session, str(folder / "init.ckpt"))
    given = PretrainingSettings(
        bert_config_file="",
        output_dir=str(folder / "out"),
        input_file=f"{folder}/train/*.tfrecord",
        do_train=True,
        use_tpu=True,
        use_bfloat16=True,
        train_batch_size=2 * CORES,
        gradient_accumulation_steps=2,
        eval_batch_size=CORES,
        num_train_steps=20,
        num_warmup_steps=1,
        save_checkpoints_steps=5,
        recurring_span_selection=True,
        init_checkpoint=str(folder / "init.ckpt"),
    )
    data = open_dataset(given.input_file, SPEC, small_config())
    metadata = tpu_system_metadata.TPUSystemMetadata(CORES, 1, CORES, None, [])
    had_functions = tf.compat.v1.control_flow_v2_enabled()
    tf.compat.v1.disable_control_flow_v2()  # as run_pretraining.py does, with the rest of TF2's behaviour
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tpu_system_metadata, "_query_tpu_system_metadata", lambda *args, **kwargs: metadata)
        estimators = build_estimators(given, small_config(), data, load_weights=True)
        estimator = estimators.estimator
        built: list[tf.Graph] = []

        def build_only(input_fn: Any, hooks: Any, **kwargs: Any) -> None:
            with tf.Graph().as_default() as graph:
                estimator._create_and_assert_global_step(graph)
                estimator._rendezvous["train"] = ErrorRendezvous(3)
                features = estimator._call_input_fn(input_fn, "train")
                spec = estimator._call_model_fn(features, None, "train", estimator.config)
                WindowReader()
                spec.scaffold.finalize()
            built.append(graph)

        patch.setattr(estimator, "train", build_only)
        estimators.train(data, 0, 20, [], None)
    if had_functions:
        tf.compat.v1.enable_control_flow_v2()
    return estimators, built[0]


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
