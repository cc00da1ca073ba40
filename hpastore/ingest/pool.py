"""Run a function over many inputs in worker processes, and give the results in order."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Final, TypeVar

import cv2

from hpastore.errors import UsageError, WorkerError

_In = TypeVar("_In")
_Out = TypeVar("_Out")

_PR_SET_PDEATHSIG: Final = 1
"""From <sys/prctl.h>."""

_AHEAD: Final = 2
"""Results that may wait for the caller, per worker."""


def in_order(function: Callable[[_In], _Out], inputs: Iterable[_In], workers: int) -> Iterator[_Out]:
    """Apply a function, and give the results in the order of the inputs.

    Parameters
    ----------
    function
        Must be picklable: a function of a module, or a `functools.partial` of one.
    inputs
        Taken as they are needed: few are ahead of the caller, so that memory stays bounded.
    workers : int
        Processes; 1 does everything in this one.

    Raises
    ------
    WorkerError
        If a worker process dies.
    """
    if workers < 2:
        yield from map(function, inputs)
        return
    spawn = multiprocessing.get_context("spawn")  # OpenCV does not survive a fork
    pool = ProcessPoolExecutor(workers, spawn, _start, (os.getpid(),))
    waiting: deque[Future[_Out]] = deque()
    try:
        for item in inputs:
            waiting.append(pool.submit(function, item))
            if len(waiting) > _AHEAD * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    except BrokenProcessPool as error:
        raise WorkerError("a worker process died, often for want of memory; try fewer with -j") from error
    finally:
        pool.shutdown(cancel_futures=True)


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


def _start(parent: int) -> None:
    """Prepare a worker: it dies with its parent, has one thread, no interrupts, and no chatter of libpng."""
    _die_with(parent)
    cv2.setNumThreads(0)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)


def _die_with(parent: int) -> None:
    """End this process when its parent is gone, however that ended."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    else:  # no such call on macOS
        threading.Thread(target=_watch, args=(parent,), daemon=True).start()
    if os.getppid() != parent:  # it went before we asked
        os._exit(1)


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


from dataclasses import dataclass
from typing import NamedTuple


@dataclass(frozen=True)
class Limits:
    memory: int = 1
    seconds: float = 300.0


class Lost(NamedTuple):
    code: str
    reason: str


def each(function, inputs, workers, *, limits=Limits(), stop=lambda: False):
    inputs = list(inputs)
    yield from zip(inputs, in_order(function, inputs, workers))
