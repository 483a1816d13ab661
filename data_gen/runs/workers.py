"""Jobs on several processes, in the order of their list, with reports on the way, and no silence when one dies."""

import multiprocessing
import os
import traceback
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection, wait
from typing import Any, NamedTuple, TypeVar

from kosplinter_common.cli import InputError

Job = TypeVar("Job")
Report = Callable[[dict[str, Any]], None]
# Does one job, and may report on the way.
Perform = Callable[[Job, Report], dict[str, Any]]

_POLL_SECONDS = 1.0
_PROGRESS, _DONE, _FAILED = "progress", "done", "failed"


class WorkerError(OSError):
    """A job could not be done: its process died, or the machine refused something."""


class Event(NamedTuple):
    """Something a job says: how far it is, or (`is_result`) what came out."""

    job_number: int
    values: dict[str, Any]
    is_result: bool


class _Worker:
    def __init__(self, context: Any, jobs: Sequence[Any], perform: Perform):
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=_work, args=(theirs, jobs, perform, os.getpid()), daemon=True)
        self.process.start()
        theirs.close()
        self.job_number = -1

    def give(self, job_number: int) -> None:
        self.job_number = job_number
        self.connection.send(job_number)


def run_jobs(
    jobs: Sequence[Job], num_processes: int, perform: Perform, name_of: Callable[[Job], str]
) -> Iterator[Event]:
    """Does all jobs on `num_processes` processes; gives their reports and results as they come.

    Raises:
      InputError, WorkerError: a job failed, or its process died; the message names the job. The other processes are
        ended, and the jobs that they had in hand are not done.
    """
    context = multiprocessing.get_context("fork")  # processes begin with what is compiled and loaded here
    workers = [_Worker(context, jobs, perform) for _ in range(min(num_processes, len(jobs)))]
    waiting = iter(range(len(jobs)))
    try:
        busy = {worker.connection: worker for worker in workers}
        for worker in workers:
            worker.give(next(waiting))
        while busy:
            for connection in wait(list(busy)):
                assert isinstance(connection, Connection)
                worker = busy[connection]
                event = _receive(worker, name_of(jobs[worker.job_number]))
                yield event
                if event.is_result:
                    following = next(waiting, None)
                    if following is None:
                        del busy[connection]
                    else:
                        worker.give(following)
    finally:
        for worker in workers:
            worker.connection.close()
            worker.process.terminate()
        for worker in workers:
            worker.process.join()


def _receive(worker: _Worker, job_name: str) -> Event:
    try:
        kind, values = worker.connection.recv()
    except (EOFError, ConnectionResetError):
        worker.process.join()
        raise WorkerError(
            f"{job_name}: the worker process died (exit status {worker.process.exitcode}); "
            "the same command, given again, goes on"
        ) from None
    if kind == _FAILED:
        raise (InputError if values["is_input_error"] else WorkerError)(f"{job_name}: {values['message']}")
    return Event(worker.job_number, values, kind == _DONE)


def _work(connection: Connection, jobs: Sequence[Job], perform: Perform, parent: int) -> None:
    """What a worker process does: one job after the other, until its parent is gone or ends it."""

    def report(values: dict[str, Any]) -> None:
        if os.getppid() != parent:  # killed: its pipe stays open in the other workers, so writing would not tell
            os._exit(1)
        connection.send((_PROGRESS, values))

    try:
        while True:
            while not connection.poll(_POLL_SECONDS):
                if os.getppid() != parent:
                    return
            connection.send((_DONE, perform(jobs[connection.recv()], report)))
    except (EOFError, BrokenPipeError, ConnectionResetError, KeyboardInterrupt):
        return
    except (InputError, OSError, MemoryError) as error:
        _fail(connection, str(error) or type(error).__name__, isinstance(error, InputError))
    except Exception:  # a fault of the program: the whole story
        _fail(connection, traceback.format_exc(), False)


def _fail(connection: Connection, message: str, is_input_error: bool) -> None:
    connection.send((_FAILED, {"message": message, "is_input_error": is_input_error}))
