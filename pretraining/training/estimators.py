"""The Estimator for the device at hand: TPUEstimator for TPU, CPU and one GPU, Estimator for tf.distribute."""

import json
import os
from collections.abc import Callable
from typing import Any, Protocol

import tensorflow as tf

from kosplinter_common.cli import InputError
from pretraining.input.pipeline import HostShare, evaluation_batches, training_batches
from pretraining.input.record_files import Dataset
from pretraining.model.configuration import BertConfig
from pretraining.model.replicas import Replicas
from pretraining.settings import PretrainingSettings
from pretraining.training.following import OneGraphEstimator
from pretraining.training.milestones import KeepMilestones
from pretraining.training.model_fn import estimator_model_fn, model_fn_builder
from pretraining.training.starting_weights import starting_checkpoint
from pretraining.training.tpu_cluster import check_answer, resolve_tpu
from pretraining.training.train_step import StepSettings

tpu = tf.compat.v1.estimator.tpu
InputFn = Callable[..., tf.data.Dataset]


class Estimators(Protocol):
    """What training.py needs of either kind of Estimator."""

    estimator: Any
    replicas: int

    def train(self, data: Dataset, records_seen: int, max_steps: int, hooks: list[Any], listener: Any) -> None: ...

    def evaluation_input(self, data: Dataset) -> InputFn: ...


def build_estimators(
    settings: PretrainingSettings, config: BertConfig, data: Dataset, load_weights: bool
) -> Estimators:
    """The Estimator that the flags and the machine ask for.

    Args:
      settings, config: the run's.
      data: of training, or of eval in a run that only evaluates: which features there are.
      load_weights: start from --init_checkpoint or --initializer.
    """
    strategy = None if settings.use_tpu else choose_strategy(settings)
    step = StepSettings(
        config=config,
        objectives=data.spec,
        learning_rate=settings.learning_rate,
        num_train_steps=settings.num_train_steps,
        num_warmup_steps=settings.num_warmup_steps,
        gradient_accumulation_steps=settings.gradient_accumulation_steps,
        use_bfloat16=settings.use_bfloat16 and (settings.use_tpu or bool(tf.config.list_physical_devices("GPU"))),
        use_one_hot_embeddings=settings.use_one_hot_embeddings,
        random_seed=settings.random_seed,
    )
    if settings.eval_follow:
        return OneGraphEstimator(settings, step, session_config(settings))
    model_fn = model_fn_builder(
        step,
        Replicas(tpu_cores=settings.num_tpu_cores if settings.use_tpu else 0),
        starting_checkpoint(settings, config, data.spec, _task_name()) if load_weights else "",
        settings.output_dir if settings.use_tpu else "",
        settings.log_steps,
    )
    return DistributedEstimators(settings, model_fn, strategy) if strategy else TPUEstimators(settings, model_fn)


class TPUEstimators:
    """TPUEstimator: on TPU with PER_HOST_V2, and without one on the CPU or a GPU."""

    def __init__(self, settings: PretrainingSettings, model_fn: Callable[..., Any]) -> None:
        self._settings = settings
        self.replicas = settings.num_tpu_cores if settings.use_tpu else 1
        run_config = tpu.RunConfig(
            cluster=_tpu_cluster(settings) if settings.use_tpu else None,
            master=settings.master or None,
            tpu_config=tpu.TPUConfig(
                iterations_per_loop=settings.steps_per_run,
                num_shards=settings.num_tpu_cores if settings.use_tpu else None,
                per_host_input_for_training=tpu.InputPipelineConfig.PER_HOST_V2,
            ),
            **_common_run_config(settings),
        )
        self.estimator = tpu.TPUEstimator(
            model_fn=model_fn,
            use_tpu=settings.use_tpu,
            config=run_config,
            train_batch_size=settings.train_batch_size,
            eval_batch_size=settings.eval_batch_size,
        )

    def train(self, data: Dataset, records_seen: int, max_steps: int, hooks: list[Any], listener: Any) -> None:
        def input_fn(params: dict[str, Any]) -> tf.data.Dataset:
            # PER_HOST_V2: params["batch_size"] is a core's
            return _training(self._settings, data, params["batch_size"], records_seen, self._share(params))

        self._check_tpu()
        listeners = _listeners(self._settings, listener)
        self.estimator.train(input_fn, hooks, max_steps=max_steps, saving_listeners=listeners)

    def evaluation_input(self, data: Dataset) -> InputFn:
        self._check_tpu()

        def input_fn(params: dict[str, Any]) -> tf.data.Dataset:
            batch_size = params["batch_size"]
            return evaluation_batches(data.files, data.spec, batch_size, self.replicas, self._share(params))

        return input_fn

    def _check_tpu(self) -> None:
        """Each time before a session begins: there TensorFlow would wait without a word and without end."""
        if self._settings.use_tpu:
            config = self.estimator.config
            check_answer(config.master, self._settings.num_tpu_cores, config.session_config.cluster_def)

    def _share(self, params: dict[str, Any]) -> HostShare:
        if not self._settings.use_tpu:
            return HostShare()
        _, host, hosts, _ = params["context"].current_input_fn_deployment()
        return HostShare(hosts, host)


class DistributedEstimators:
    """Estimator under MirroredStrategy or MultiWorkerMirroredStrategy."""

    def __init__(
        self, settings: PretrainingSettings, model_fn: Callable[..., Any], strategy: tf.distribute.Strategy
    ) -> None:
        self._settings = settings
        self.replicas = strategy.num_replicas_in_sync
        parts = self.replicas * settings.gradient_accumulation_steps
        for name, multiple in (("train_batch_size", parts), ("eval_batch_size", self.replicas)):
            if getattr(settings, name) % multiple:
                raise InputError(f"--{name}: found {getattr(settings, name)}, expected a multiple of {multiple}")
        multi_worker = tf.compat.v1.distribute.experimental.MultiWorkerMirroredStrategy
        self._multi_worker = isinstance(strategy, multi_worker)
        # Of several workers the first evaluates, alone.
        run_config = tf.estimator.RunConfig(
            train_distribute=strategy,
            eval_distribute=None if self._multi_worker else strategy,
            **_common_run_config(settings),
        )
        self._eval_replicas = 1 if self._multi_worker else self.replicas
        self.estimator = tf.estimator.Estimator(
            model_fn=estimator_model_fn(model_fn), model_dir=settings.output_dir, config=run_config
        )

    def train(self, data: Dataset, records_seen: int, max_steps: int, hooks: list[Any], listener: Any) -> None:
        batch_size = self._settings.train_batch_size // self.replicas

        def input_fn(input_context: tf.distribute.InputContext | None = None) -> tf.data.Dataset:
            share = HostShare()
            if input_context:
                share = HostShare(input_context.num_input_pipelines, input_context.input_pipeline_id)
            return _training(self._settings, data, batch_size, records_seen, share)

        listeners = _listeners(self._settings, listener)
        if not self._multi_worker:
            self.estimator.train(input_fn, hooks, max_steps=max_steps, saving_listeners=listeners)
            return
        if is_chief():
            # Estimator leaves listeners out here, and saves only where it writes summaries too.
            saver = tf.compat.v1.train.CheckpointSaverHook(
                self._settings.output_dir,
                save_steps=self._settings.save_checkpoints_steps,
                listeners=listeners,
                save_graph_def=False,
            )
            hooks = [*hooks, saver]
        # Estimator.train takes no cluster; of the two specs a worker uses the first.
        tf.estimator.train_and_evaluate(
            self.estimator, tf.estimator.TrainSpec(input_fn, max_steps, hooks), tf.estimator.EvalSpec(input_fn)
        )

    def evaluation_input(self, data: Dataset) -> InputFn:
        batch_size = self._settings.eval_batch_size // self._eval_replicas
        return lambda: evaluation_batches(data.files, data.spec, batch_size, self._eval_replicas)


def choose_strategy(settings: PretrainingSettings) -> tf.distribute.Strategy | None:
    """--distribution: `auto` takes MultiWorkerMirroredStrategy where TF_CONFIG names a cluster of several workers,
    MirroredStrategy where there are several GPUs, else none.

    Without a GPU, `mirrored` takes the CPU's logical devices.
    """
    kind = settings.distribution
    gpus = tf.config.list_physical_devices("GPU")
    if kind == "auto":
        kind = "multi_worker" if num_workers() > 1 else "mirrored" if len(gpus) > 1 else "none"
    if kind == "multi_worker":
        return tf.compat.v1.distribute.experimental.MultiWorkerMirroredStrategy()
    if kind == "mirrored":
        devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
        return tf.compat.v1.distribute.MirroredStrategy([device.name for device in devices])
    return None


def is_chief() -> bool:
    """Whether this process writes the run's log and evaluates: of several workers in TF_CONFIG, the first."""
    task, cluster = _tf_config().get("task", {}), _tf_config().get("cluster", {})
    return task.get("type", "chief") == "chief" or (not cluster.get("chief") and task.get("index", 0) == 0)


def _task_name() -> str:
    task = _tf_config().get("task", {})
    return f"{task.get('type', 'chief')}-{task.get('index', 0)}"


def num_workers() -> int:
    """Processes that train together by TF_CONFIG; 1 without it."""
    return max(1, len(cluster_of_workers()))


def cluster_of_workers() -> list[str]:
    """Addresses of all that train by TF_CONFIG; none without it."""
    cluster = _tf_config().get("cluster", {})
    return [*cluster.get("chief", []), *cluster.get("worker", [])]


def _tf_config() -> dict[str, Any]:
    try:
        config = json.loads(os.environ.get("TF_CONFIG") or "{}")
    except ValueError as error:
        raise InputError(f"TF_CONFIG: broken JSON: {error}") from error
    if not isinstance(config, dict) or not all(isinstance(config.get(key, {}), dict) for key in ("cluster", "task")):
        raise InputError(f"TF_CONFIG: found {config!r}, expected a JSON object with the objects cluster and task")
    return config


def _training(
    settings: PretrainingSettings, data: Dataset, batch_size: int, records_seen: int, share: HostShare
) -> tf.data.Dataset:
    buffer_size = settings.shuffle_buffer_size
    seed = settings.random_seed
    return training_batches(data.files, data.spec, batch_size, seed, records_seen, buffer_size, share, data.vocab_size)


def _listeners(settings: PretrainingSettings, listener: Any) -> list[Any]:
    every = settings.keep_checkpoint_every_steps
    return [listener, KeepMilestones(settings.output_dir, every)] if every else [listener]


def _common_run_config(settings: PretrainingSettings) -> dict[str, Any]:
    return {
        "model_dir": settings.output_dir,
        "tf_random_seed": settings.random_seed,
        "save_checkpoints_steps": settings.save_checkpoints_steps,
        "keep_checkpoint_max": settings.keep_checkpoint_max,
        # Lines and summaries are ProgressHook's and, on a TPU, the host_call's.
        "log_step_count_steps": None,
        "save_summary_steps": None,
        # The graph's protos: seconds a save in pure-Python protobuf, and nobody reads them.
        "checkpoint_save_graph_def": False,
        "session_config": session_config(settings),
    }


def session_config(settings: PretrainingSettings) -> tf.compat.v1.ConfigProto:
    """What --use_bfloat16, --use_xla and the devices ask of sessions."""
    session = tf.compat.v1.ConfigProto(allow_soft_placement=True)
    cpus = len(tf.config.list_logical_devices("CPU"))
    if cpus > 1:
        session.device_count["CPU"] = cpus
    session.isolate_session_state = settings.use_tpu  # as in TPUEstimator's own, where none is given
    rewrite = session.graph_options.rewrite_options
    if settings.use_bfloat16 and not settings.use_tpu and not tf.config.list_physical_devices("GPU"):
        # On a CPU oneDNN chooses what gains by bfloat16; a whole graph in it would lose in the element-wise parts.
        rewrite.auto_mixed_precision_onednn_bfloat16 = rewrite.ON
        # GELU's: see modeling. Read by TensorFlow when it rewrites a graph.
        os.environ.setdefault("TF_AUTO_MIXED_PRECISION_GRAPH_REWRITE_INFERLIST_REMOVE", "Erf,Tanh")
    if settings.use_xla:
        session.graph_options.optimizer_options.global_jit_level = tf.compat.v1.OptimizerOptions.ON_1
    return session


def _tpu_cluster(settings: PretrainingSettings) -> tf.distribute.cluster_resolver.TPUClusterResolver | None:
    if settings.master:
        return None
    return resolve_tpu(settings.tpu_name, settings.tpu_zone, settings.gcp_project)
