"""What one training step asks of a TPU, counted from the compiled step."""

from collections.abc import Iterator
from dataclasses import dataclass

from kosplinter_common.cli import InputError
from pretraining.model.flops import TPU_CORES, training_flops
from pretraining.tpu.hlo_cost import Buffers, Cost, UncountableError, buffers_of, cost_of
from pretraining.tpu.step import build_step_graph, compile_step
from pretraining.training.train_step import StepSettings

# Counted products over what the arithmetic needs: above this something is computed twice or on padding.
MAX_FLOPS_RATIO = 1.05
# High-bandwidth memory of one core, half a chip's. Source: Google's pages on the TPU versions.
CORE_MEMORY = {"v2": 8 * 2**30, "v3": 16 * 2**30}
GPU_GIGABYTES = (80, 40, 24, 16)
# Of a GPU's memory: the rest is cuBLAS's, the allocator's fragments, and what the backward pass makes in a layer.
GPU_SHARE = 0.9


@dataclass(frozen=True)
class Report:
    """One update: cost, memory and variables are one core's."""

    cores: int
    core_batch_size: int
    cost: Cost
    analytic_flops: float
    buffers: Buffers
    variable_bytes: int
    exchanged_bytes: int
    activation_bytes: int  # of one example
    weight_bytes: int  # of the variables that have gradients

    @property
    def flops_ratio(self) -> float:
        return self.cost.flops / self.analytic_flops

    def lines(self) -> Iterator[str]:
        flops, cost, memory = self.cost.flops * self.cores, self.cost, self.buffers
        yield f"compiled by XLA, all shapes static: {self.core_batch_size} examples a core, {self.cores} cores"
        yield f"FLOPs a step, counted from the HLO: {flops:.4g}, all cores; {cost.flops:.4g} a core"
        yield f"FLOPs a step, by the model's arithmetic: {self.analytic_flops * self.cores:.4g}, all cores"
        yield f"ratio counted / arithmetic: {self.flops_ratio:.4f} (at most {MAX_FLOPS_RATIO})"
        yield f"bytes a step, read and written by the HLO's instructions: {cost.bytes_accessed:.4g} a core (estimate)"
        yield f"bytes a step, summed over the cores: {self.exchanged_bytes:.4g}"
        yield (
            f"memory a core: {_gib(memory.total)} (estimate: buffers as XLA assigns them on this machine): "
            f"variables and batch {_gib(memory.arguments)}, of which variables {_gib(self.variable_bytes)}; "
            f"temporaries {_gib(memory.temporaries)}; results {_gib(memory.results)}"
        )
        for name, peak in TPU_CORES.items():
            speed = peak.bfloat16 * self.cores
            room = CORE_MEMORY[name]
            fits = "fits" if memory.total <= room else "does not fit"
            yield (
                f"{name}-{self.cores}: at least {1000 * flops / speed:.1f} ms a step, "
                f"at most {self.core_batch_size * self.cores * speed / flops:,.0f} examples/s, "
                f"at the peak of {speed / 1e12:.0f} TFLOP/s; {fits} in {_gib(room)} a core (estimate)"
            )

        examples = self.core_batch_size * self.cores
        yield (
            f"memory of activations kept for the backward pass: {self.activation_bytes / 2**20:.0f} MiB an example "
            f"(counted from the graph, as TensorFlow runs it on a GPU)"
        )
        for gigabytes in GPU_GIGABYTES:
            parts = self.parts_on_gpu(gigabytes * 10**9)
            needs = f"needs --gradient_accumulation_steps={parts}" if parts else "is too small for one example"
            yield f"one GPU of {gigabytes} GB {needs} for {examples} examples a step (estimate)"

    def parts_on_gpu(self, memory: int) -> int | None:
        """Accumulation steps that the batch of all cores needs on one GPU; None where no number of them is enough."""
        examples = self.core_batch_size * self.cores
        left = GPU_SHARE * memory - self.variable_bytes - 2 * self.weight_bytes  # a part's gradients, and their sum
        fitting = (
            parts
            for parts in range(1, examples + 1)
            if not examples % parts and examples // parts * self.activation_bytes <= left
        )
        return next(fitting, None)

    def raise_if_wasteful(self) -> None:
        """Raises:
        InputError: more products than MAX_FLOPS_RATIO allows.
        """
        if self.flops_ratio > MAX_FLOPS_RATIO:
            raise InputError(
                f"FLOPs a step: found {self.flops_ratio:.4f} times the model's arithmetic, "
                f"expected at most {MAX_FLOPS_RATIO}"
            )


def check(settings: StepSettings, cores: int, core_batch_size: int) -> Report:
    """Builds and compiles one core's step.

    Raises:
      InputError: see build_step_graph and compile_step; a module whose cost cannot be counted.
    """
    step = build_step_graph(settings, cores, core_batch_size)
    hlo = compile_step(step)
    try:
        cost = cost_of(hlo.hlo_module)
    except UncountableError as error:
        raise InputError(f"FLOPs of the compiled step: {error}") from error
    return Report(
        cores=cores,
        core_batch_size=core_batch_size,
        cost=cost,
        analytic_flops=_analytic_flops(settings) * core_batch_size,
        buffers=buffers_of(hlo),
        variable_bytes=step.variable_bytes,
        exchanged_bytes=step.exchanged_bytes,
        activation_bytes=step.activation_bytes * settings.gradient_accumulation_steps // core_batch_size,
        weight_bytes=step.variable_bytes // 3,  # the rest are Adam's two moments
    )


def _analytic_flops(settings: StepSettings) -> float:
    """Of one example; a one-hot embedding, where asked for, is a product forward and one backward: ids have no
    gradient."""
    config, spec = settings.config, settings.objectives
    one_hot = 2 * 2 * spec.max_seq_length * config.vocab_size * config.hidden_size
    return training_flops(config, spec) + (one_hot if settings.use_one_hot_embeddings else 0)


def _gib(size: float) -> str:
    return f"{size / 2**30:.2f} GiB"
