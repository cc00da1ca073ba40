"""Run a function over many inputs in worker processes, and give the results in order.

Context: a worker may be killed for its memory, crash in a decoder or hang on a file, and one bad file
must not cost the others.  ``concurrent.futures`` fails every task that waits when one worker dies, and
does not say which task it was.  Decision: each worker has a pipe of its own, so that this process always
knows what each is working on; what a worker died of is tried again alone.  Consequence: nothing is
guessed, and nothing but the input at fault is lost.
"""

from __future__ import annotations

import logging
import os
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from multiprocessing.connection import wait
from typing import Any, Final, Generic, TypeVar

from hpastore.errors import UsageError, WorkerError
from hpastore.runtime.process import START_S, Job, Limits, Lost, Worker, lost_to

logger = logging.getLogger(__name__)

_In = TypeVar("_In")
_Out = TypeVar("_Out")

DEATHS: Final = 3
"""Workers that die on an input before it is given up; from the second on nothing else runs beside it."""

GRACE_S: Final = 3
"""How long what is in flight may still take once the caller wants to stop."""

_AHEAD: Final = 2
"""Inputs that a worker has: the one it works on and the next."""

_WAITING: Final = 3
"""Inputs that are handed out, per worker, before the first of them is given back."""

_LOOK_S: Final = 0.2
"""How often one looks whether to stop."""

_FALSE_STARTS: Final = 5
"""Workers that die before they have started, one after the other, until none is started any more."""


def each(
    function: Callable[[_In], _Out],
    inputs: Iterable[_In],
    workers: int,
    *,
    limits: Limits | None = None,
    stop: Callable[[], bool] | None = None,
) -> Iterator[tuple[_In, _Out | Lost]]:
    """Apply a function to each input, whatever becomes of the processes that do it.

    Parameters
    ----------
    function
        Must be picklable: a function of a module, or a `functools.partial` of one.
    inputs
        Taken as they are needed: few are ahead of the caller, so that memory stays bounded.
    workers : int
        Processes; 0 does everything in this one, without limits.
    limits : Limits, optional
    stop : callable, optional
        Asked again and again; once it says true, what is in flight is finished and nothing is begun.

    Yields
    ------
    input, result
        In the order of the inputs.  An input on which the function fails is `Lost`; the traceback is logged
        at the level of debugging.

    Raises
    ------
    HpastoreError
        What the function raises on purpose.
    WorkerError
        If no worker process can be started.
    """
    stop = stop or _never
    if workers > 0:
        results = _in_pool(function, inputs, workers, limits or Limits(), stop)
    else:
        results = _here(function, inputs, stop)
    with closing(results):
        for item, result in results:
            if isinstance(result, Lost) and result.error:
                logger.debug("%r: %s", item, result.reason, exc_info=result.error)
            yield item, result


def _here(
    function: Callable[[_In], _Out], inputs: Iterable[_In], stop: Callable[[], bool]
) -> Generator[tuple[_In, _Out | Lost], None, None]:
    for item in inputs:
        if stop():
            return
        try:
            result: _Out | Lost = function(item)
        except Exception as error:
            result = lost_to(error)
        yield item, result


def _in_pool(
    function: Callable[[_In], _Out],
    inputs: Iterable[_In],
    workers: int,
    limits: Limits,
    stop: Callable[[], bool],
) -> Generator[tuple[_In, _Out | Lost], None, None]:
    pool = _Pool(function, iter(inputs), workers, limits, stop)
    try:
        yield from pool.run()
    finally:
        pool.close()


def in_order(function: Callable[[_In], _Out], inputs: Iterable[_In], workers: int) -> Iterator[_Out]:
    """Apply a function that no input harms, and give the results in the order of the inputs.

    What the function raises is raised.

    Parameters
    ----------
    function, inputs
        As for `each`.
    workers : int
        Processes; 1 does everything in this one.

    Raises
    ------
    WorkerError
        If worker processes die on one input again and again.
    """
    unlimited = Limits(None, float("inf"))
    for _, result in each(function, inputs, workers if workers > 1 else 0, limits=unlimited):
        if isinstance(result, Lost):
            if result.error:
                raise result.error
            raise WorkerError(f"{result.reason}; try fewer with -j")
        yield result


def workers(jobs: int | None) -> int:
    """Choose how many processes to use: the given number, or one per core.

    Raises
    ------
    UsageError
        If the number is below 1.
    """
    if jobs is not None and jobs < 1:
        raise UsageError(f"jobs takes a number of processes, 1 or more, not {jobs}")
    return jobs or _cores()


def _cores() -> int:
    """Count the cores that this process may use; macOS does not tell, so there all of them."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _never() -> bool:
    return False


class _Pool(Generic[_In, _Out]):
    """The inputs on their way, and who works on them."""

    def __init__(
        self,
        function: Callable[[_In], _Out],
        inputs: Iterator[_In],
        workers: int,
        limits: Limits,
        stop: Callable[[], bool],
    ) -> None:
        self._function, self._inputs, self._limits, self._stop = function, inputs, limits, stop
        self._most = workers
        self._workers: list[Worker[_In, _Out]] = []
        self._waiting: deque[Job[_In, _Out]] = deque()
        self._again: deque[Job[_In, _Out]] = deque()  # to be handed out once more
        self._suspects: deque[Job[_In, _Out]] = deque()  # to be tried alone
        self._false_starts = 0
        self._end: float | None = None

    def run(self) -> Iterator[tuple[_In, _Out | Lost]]:
        while self._advance():
            self._listen(0 if self._waiting[0].done else _LOOK_S)
            if self._waiting and self._waiting[0].done:
                job = self._waiting.popleft()
                self._advance()  # so that workers have something to do meanwhile
                yield job.item, job.result

    def close(self) -> None:
        for worker in self._workers:
            worker.kill()

    def _advance(self) -> bool:
        """Hand out what may be handed out, and tell whether there is anything to wait for."""
        if self._end is None and self._stop():
            self._end = time.monotonic() + GRACE_S
        if self._end is None:
            self._hand_out()
        else:
            self._drop_what_is_not_begun()
        late = self._end is not None and time.monotonic() > self._end
        return bool(self._waiting) and (not late or self._waiting[0].done)

    def _hand_out(self) -> None:
        """Give each worker enough to do; a suspect only where nobody else has anything."""
        if self._suspects:
            if not any(worker.jobs for worker in self._workers):
                self._free_worker().take(self._suspects.popleft())
            return
        while len(self._waiting) < _WAITING * self._most or self._again:
            worker = self._free_worker()
            if len(worker.jobs) >= _AHEAD or (job := self._next()) is None:
                return
            worker.take(job)

    def _next(self) -> Job[_In, _Out] | None:
        if self._again:
            return self._again.popleft()
        for item in self._inputs:
            job: Job[_In, _Out] = Job(item)
            self._waiting.append(job)
            return job
        return None

    def _free_worker(self) -> Worker[_In, _Out]:
        """The worker with the least to do: a new one while there are too few."""
        if len(self._workers) < self._most and all(worker.jobs for worker in self._workers):
            self._workers.append(Worker(self._function, self._limits))
        return min(self._workers, key=lambda worker: len(worker.jobs))

    def _listen(self, seconds: float) -> None:
        """Wait a moment for results, deaths and workers that take too long."""
        sources: list[Any] = [worker.pipe for worker in self._workers]
        sources += [worker.process.sentinel for worker in self._workers]
        wait(sources, seconds)
        for worker in list(self._workers):
            alive = worker.hear()
            self._false_starts = 0 if worker.ready else self._false_starts
            if not alive:
                self._bury(worker)
            elif worker.is_late(self._limits.seconds):
                self._give_up(worker)
            elif self._end is not None and not worker.jobs:
                self._remove(worker)

    def _bury(self, worker: Worker[_In, _Out]) -> None:
        """Take back what a dead worker had; what it was working on is suspect."""
        self._remove(worker)
        if not worker.ready:
            self._false_starts += 1
            if self._false_starts >= _FALSE_STARTS:
                raise WorkerError(f"worker processes do not start: {worker.cause()}; try fewer with -j")
        elif worker.jobs:
            job = worker.jobs.popleft()
            job.deaths += 1
            if job.deaths < DEATHS:
                self._suspects.append(job)
            else:
                job.finish(Lost("worker_crash", f"{DEATHS} worker processes died on it, {worker.cause()}"))
        self._again.extendleft(reversed(worker.jobs))

    def _give_up(self, worker: Worker[_In, _Out]) -> None:
        """End a worker that takes too long."""
        self._remove(worker)
        if not worker.ready:
            raise WorkerError(f"a worker process did not start within {START_S} s; try fewer with -j")
        limit = self._limits.seconds
        worker.jobs.popleft().finish(Lost("timeout", f"took longer than {limit:g} s, more than one may"))
        self._again.extendleft(reversed(worker.jobs))

    def _remove(self, worker: Worker[_In, _Out]) -> None:
        self._workers.remove(worker)
        worker.kill()

    def _drop_what_is_not_begun(self) -> None:
        begun = [worker.jobs[0] for worker in self._workers if worker.jobs and worker.ready]
        self._waiting = deque(job for job in self._waiting if job.done or job in begun)
        for worker in self._workers:
            worker.jobs = deque(job for job in worker.jobs if job in begun)
