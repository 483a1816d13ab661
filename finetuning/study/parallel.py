"""Runs of a study side by side, each in a process of its own: one a GPU where there are several."""

import multiprocessing
import os
import queue
from collections.abc import Callable, Sequence
from typing import Any

import torch

from kosplinter_common.cli import InputError

SECONDS_BETWEEN_LOOKS = 5.0  # at whether a process has died without a word


def places(parallel_runs: int, use_cpu: bool) -> list[dict[str, str]]:
    """Environment variables of each process that works; one without any stands for this process itself.

    parallel_runs: how many; 0: one a GPU, one without GPUs. A run never sees more than one GPU, for its batches would
    grow with their number; more runs than GPUs share them, and runs on a CPU share its cores.
    """
    gpus = [] if use_cpu else _visible_gpus()
    count = parallel_runs or max(len(gpus), 1)
    if gpus:
        return [{"CUDA_VISIBLE_DEVICES": gpus[i % len(gpus)]} for i in range(count)] if len(gpus) + count > 2 else [{}]
    return [{"OMP_NUM_THREADS": str(max((os.cpu_count() or 1) // count, 1))}] * count if count > 1 else [{}]


def _visible_gpus() -> list[str]:
    named = [name.strip() for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name.strip()]
    return named or [str(i) for i in range(torch.cuda.device_count())]


def run_in_processes(
    prepare: Callable[[], Any],
    work: Callable[[Any, Any], None],
    jobs: Sequence[Any],
    environments: Sequence[dict[str, str]],
) -> None:
    """Calls work(prepare(), job) for each job, in a process for each environment; the first to fail ends all.

    Raises:
      InputError: as `work` raised it; or a process died.
    """
    context = multiprocessing.get_context("spawn")
    waiting, done = context.Queue(), context.Queue()
    for job in [*jobs, *[None] * len(environments)]:
        waiting.put(job)
    before = dict(os.environ)
    workers = [context.Process(target=_work, args=(prepare, work, waiting, done)) for _ in environments]
    try:
        for worker, environment in zip(workers, environments, strict=True):
            os.environ.update(environment)  # a process takes it from the one that starts it
            worker.start()
        for _ in jobs:
            error = _next_result(done, workers)
            if error is not None:
                raise error
    finally:
        os.environ.clear()
        os.environ.update(before)
        for worker in workers:
            if worker.pid is not None:
                worker.terminate()
                worker.join()


def _next_result(done: Any, workers: Sequence[Any]) -> Exception | None:
    while True:
        try:
            return done.get(timeout=SECONDS_BETWEEN_LOOKS)
        except queue.Empty:
            died = [worker.exitcode for worker in workers if worker.exitcode]
            if died:
                raise InputError(
                    f"a process of the study ended with status {died[0]}; the same command goes on"
                ) from None


def _work(prepare: Callable[[], Any], work: Callable[[Any, Any], None], waiting: Any, done: Any) -> None:
    try:
        prepared = prepare()
        for job in iter(waiting.get, None):
            work(prepared, job)
            done.put(None)
    except Exception as error:  # any: the process that waits for it raises it
        done.put(error if isinstance(error, InputError) else RuntimeError(f"{type(error).__name__}: {error}"))
