"""Worker processes that may crash or hang and harm no input but the one at fault.

Context: a worker may be killed because memory runs out, crash in a decoder or hang on a file, and
one bad file must not cost the others.  Decision: each worker has a pipe of its own, so this process
always knows what each is working on.  An input on which a worker crashed is tried again while
nothing else runs, and is given up after `MAX_CRASHES`.  Consequence: no guesses, and no input is
lost but the one at fault.

Tried and left: libraries, each with our limits on top.  They fail where a worker is killed while it
sends its result, as it may be when memory runs out
(`test_only_the_result_that_a_worker_sends_when_it_dies_is_lost`): the main process keeps the
writing end of the pipe of results open, so it waits for the rest of half a message.  pebble 5.2.3
shares that pipe and its lock between all workers, so they all stand still; after three minutes the
pool breaks, and all inputs in flight are lost.  It also gives no exit code of workers that die
while they start (`test_workers_that_die_while_they_start_are_an_error`).  ``concurrent.futures`` of
Python 3.11 and loky 3.7.0, with one executor per worker so that each crash has one input, give all
results, but a thread of theirs waits for ever, and the program never exits.  On 200 small images
and on 8 of 2048² neither pebble nor ``concurrent.futures`` was faster, and pebble saved a fifth of
the lines.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from multiprocessing.connection import wait
from typing import Any, Final, Generic, TypeVar

from hpastore.errors import WorkerError
from hpastore.runtime.executor import (
    UNLIMITED,
    Executor,
    ExecutorName,
    Limits,
    SerialExecutor,
    TaskFailure,
)
from hpastore.runtime.process import START_S, QueuedTask, Worker

_In = TypeVar("_In")
_Out = TypeVar("_Out")

MAX_CRASHES: Final = 3
"""Worker crashes on an input before it is given up."""

GRACE_S: Final = 3
"""How long inputs in progress may still take once the caller wants to stop."""

_QUEUED_PER_WORKER: Final = 2
"""Inputs that a worker has: the one in progress, and the next, so that it never waits."""

_IN_FLIGHT_PER_WORKER: Final = 3
"""Inputs per worker that are taken before the first of them is given back."""

_POLL_S: Final = 0.2
"""How often stop requests and time limits are checked."""

_MAX_FAILED_STARTS: Final = 5
"""Workers in a row that may die while they start."""


def make_executor(name: ExecutorName, workers: int, limits: Limits | None = None) -> Executor:
    """Make an executor from its name.

    Parameters
    ----------
    name : str
        ``process``, or ``serial``, which ignores the other parameters.
    workers : int
        Number of worker processes.
    limits : Limits, optional
        What one input may cost.
    """
    return SerialExecutor() if name == "serial" else ProcessExecutor(workers, limits)


def map_in_order(
    function: Callable[[_In], _Out], inputs: Iterable[_In], workers: int
) -> Iterator[_Out]:
    """Apply a function that no input harms, without limits; results come in order.

    What the function raises is raised.

    Parameters
    ----------
    function, inputs
        As for `Executor.map`.
    workers : int
        Worker processes; 1 does everything in this process.

    Raises
    ------
    WorkerError
        If worker processes crash on one input again and again.
    """
    executor = make_executor("process" if workers > 1 else "serial", workers, UNLIMITED)
    for _, result in executor.map(function, inputs):
        if isinstance(result, TaskFailure):
            raise result.error or WorkerError(f"{result.reason}; try fewer workers with -j")
        yield result


class ProcessExecutor:
    """Applies a function in worker processes.

    Parameters
    ----------
    workers : int
        Number of worker processes, 1 or more.
    limits : Limits, optional
        What one input may cost.
    """

    def __init__(self, workers: int, limits: Limits | None = None) -> None:
        self._worker_count = workers
        self._limits = limits or Limits()

    def map(
        self,
        function: Callable[[_In], _Out],
        inputs: Iterable[_In],
        *,
        stop: Callable[[], bool] | None = None,
    ) -> Iterator[tuple[_In, _Out | TaskFailure]]:
        """Apply a function to each input, see `Executor.map`.

        Raises
        ------
        WorkerError
            If worker processes do not start.
        """
        pool = _Pool(function, iter(inputs), self._worker_count, self._limits, stop or _never)
        try:
            yield from pool.run()
        finally:
            pool.close()


def _never() -> bool:
    return False


class _Pool(Generic[_In, _Out]):
    """The inputs in flight, and the workers.

    A task is in `_tasks` from the moment its input is taken until its result is given back, and
    meanwhile in at most one other place: the queue of a worker, `_requeued` or `_suspects`.
    """

    def __init__(
        self,
        function: Callable[[_In], _Out],
        inputs: Iterator[_In],
        worker_count: int,
        limits: Limits,
        stop: Callable[[], bool],
    ) -> None:
        self._function = function
        self._inputs = inputs
        self._worker_count = worker_count
        self._limits = limits
        self._stop = stop

        self._workers: list[Worker[_In, _Out]] = []
        self._tasks: deque[QueuedTask[_In, _Out]] = deque()
        self._requeued: deque[QueuedTask[_In, _Out]] = deque()
        """Those that waited for a worker that has ended."""
        self._suspects: deque[QueuedTask[_In, _Out]] = deque()
        """Those on which a worker crashed; each is tried alone."""
        self._failed_starts = 0
        self._deadline: float | None = None
        """When to give up what is in progress, once the caller wants to stop."""

    def run(self) -> Iterator[tuple[_In, _Out | TaskFailure]]:
        while self._schedule():
            self._collect_results(timeout=0 if self._tasks[0].done else _POLL_S)
            if self._tasks and self._tasks[0].done:
                task = self._tasks.popleft()
                self._schedule()  # so that the workers are busy while the caller uses the result
                yield task.item, task.result

    def close(self) -> None:
        for worker in self._workers:
            worker.kill()

    def _schedule(self) -> bool:
        """Give the workers their next inputs, and return whether there is a result to wait for."""
        if self._deadline is None and self._stop():
            self._deadline = time.monotonic() + GRACE_S

        if self._deadline is None:
            self._fill_queues()
        else:
            self._drop_unbegun()

        expired = self._deadline is not None and time.monotonic() > self._deadline
        return bool(self._tasks) and (not expired or self._tasks[0].done)

    def _fill_queues(self) -> None:
        """Give each worker enough to do; a suspect only while no worker has anything else."""
        if self._suspects:
            if not any(worker.queue for worker in self._workers):
                self._least_busy_worker().submit(self._suspects.popleft())
            return

        while self._requeued or len(self._tasks) < _IN_FLIGHT_PER_WORKER * self._worker_count:
            worker = self._least_busy_worker()
            if len(worker.queue) >= _QUEUED_PER_WORKER or (task := self._next_task()) is None:
                return
            worker.submit(task)

    def _next_task(self) -> QueuedTask[_In, _Out] | None:
        if self._requeued:
            return self._requeued.popleft()
        for item in self._inputs:
            task: QueuedTask[_In, _Out] = QueuedTask(item)
            self._tasks.append(task)
            return task
        return None

    def _least_busy_worker(self) -> Worker[_In, _Out]:
        """Start another worker if all are busy and there may be more."""
        if len(self._workers) < self._worker_count and all(
            worker.queue for worker in self._workers
        ):
            self._workers.append(Worker(self._function, self._limits))
        return min(self._workers, key=lambda worker: len(worker.queue))

    def _collect_results(self, timeout: float) -> None:
        """Wait for results; replace workers that have died or take too long."""
        pipes: list[Any] = [worker.pipe for worker in self._workers]
        sentinels = [worker.process.sentinel for worker in self._workers]
        wait(pipes + sentinels, timeout)

        for worker in list(self._workers):
            alive = worker.receive_results()
            if worker.ready:
                self._failed_starts = 0
            if not alive:
                self._handle_crash(worker)
            elif worker.is_overdue():
                self._handle_timeout(worker)
            elif self._deadline is not None and not worker.queue:
                self._remove(worker)

    def _handle_crash(self, worker: Worker[_In, _Out]) -> None:
        """Take back the tasks of a worker that has died; the one in progress is suspect."""
        self._remove(worker)
        if not worker.ready:
            self._failed_starts += 1
            if self._failed_starts >= _MAX_FAILED_STARTS:
                reason = worker.exit_reason()
                raise WorkerError(
                    f"worker processes do not start: {reason}; try fewer workers with -j"
                )
        elif worker.queue:
            self._record_crash(worker.queue.popleft(), worker.exit_reason())
        self._requeue(worker)

    def _record_crash(self, task: QueuedTask[_In, _Out], exit_reason: str) -> None:
        task.crash_count += 1
        if task.crash_count < MAX_CRASHES:
            self._suspects.append(task)
        else:
            reason = f"{MAX_CRASHES} worker processes died on it, {exit_reason}"
            task.finish(TaskFailure("worker_crash", reason))

    def _handle_timeout(self, worker: Worker[_In, _Out]) -> None:
        """End a worker that takes too long."""
        self._remove(worker)
        if not worker.ready:
            raise WorkerError(
                f"a worker process did not start within {START_S} s; try fewer workers with -j"
            )
        reason = f"took longer than {self._limits.seconds:g} s, the time limit"
        worker.queue.popleft().finish(TaskFailure("timeout", reason))
        self._requeue(worker)

    def _requeue(self, worker: Worker[_In, _Out]) -> None:
        self._requeued.extendleft(reversed(worker.queue))

    def _remove(self, worker: Worker[_In, _Out]) -> None:
        self._workers.remove(worker)
        worker.kill()

    def _drop_unbegun(self) -> None:
        """Forget all tasks but those that are done or in progress."""
        begun = [worker.queue[0] for worker in self._workers if worker.queue and worker.ready]
        self._tasks = deque(task for task in self._tasks if task.done or task in begun)
        for worker in self._workers:
            worker.queue = deque(task for task in worker.queue if task in begun)
