"""One worker process: the handle that the pool has of it, and what runs inside it.

They exchange pickled messages through a pipe.  To the worker go inputs; from it come pairs of a
kind and a value: ``ready``, ``start_error``, ``result`` or ``error``.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import pickle
import resource
import signal
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from pathlib import Path
from types import ModuleType
from typing import Any, Final, Generic, Literal, TypeVar

from hpastore.errors import HpastoreError, WorkerError
from hpastore.runtime.executor import Limits, TaskFailure, summarize_error, task_failure

_In = TypeVar("_In")
_Out = TypeVar("_Out")

_PR_SET_PDEATHSIG: Final = 1
"""From <sys/prctl.h>."""

START_S: Final = 120
"""How long a worker may take to start."""

_EXIT_S: Final = 10
"""How long a worker that has closed its pipe may take to exit."""

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Signals that reach all processes of a terminal; only the main process handles them."""

_Message = tuple[Literal["ready", "start_error", "result", "error"], Any]


@dataclass(eq=False)
class QueuedTask(Generic[_In, _Out]):
    """One input, and its result once it is done."""

    item: _In
    result: _Out | TaskFailure = field(init=False)
    done: bool = False
    crash_count: int = 0
    """How many workers have died while they worked on it."""

    def finish(self, result: _Out | TaskFailure) -> None:
        """Set the result."""
        self.result = result
        self.done = True


class Worker(Generic[_In, _Out]):
    """The handle of one worker process.

    Parameters
    ----------
    function
        What it applies to each input.
    limits : Limits

    Raises
    ------
    WorkerError
        If the process cannot be started.
    """

    def __init__(self, function: Callable[[_In], _Out], limits: Limits) -> None:
        self.queue: deque[QueuedTask[_In, _Out]] = deque()
        """The task in progress, and those after it."""
        self.ready = False
        """Whether it has started."""
        self._limits = limits
        self._busy_since = time.monotonic()
        """When it began to start, or to work on the task in progress."""

        spawn = multiprocessing.get_context("spawn")  # OpenCV does not survive a fork
        self.pipe, worker_end = spawn.Pipe()
        arguments = (worker_end, pickle.dumps(function), limits.memory, os.getpid())
        self.process = spawn.Process(target=_run_worker, args=arguments, daemon=True)
        try:
            with _signals_blocked(), _main_module_hidden():
                self.process.start()
        except OSError as error:
            raise WorkerError(
                f"a worker process cannot be started ({error.strerror}); try fewer workers with -j"
            ) from error
        finally:
            # If this process kept it open, it would wait for ever for the rest of a message of a
            # dead worker.
            worker_end.close()

    def submit(self, task: QueuedTask[_In, _Out]) -> None:
        """Add a task to its queue."""
        if self.ready and not self.queue:
            self._busy_since = time.monotonic()
        self.queue.append(task)
        with suppress(OSError):  # if it has died, `receive_results` finds out
            self.pipe.send(task.item)

    def receive_results(self) -> bool:
        """Take the messages that have come, and return whether the process is alive."""
        # First, because one that dies now may have sent a result before.
        alive = self.process.is_alive()
        while (message := self._receive()) is not None:
            self._handle(message)
        return alive and not self.pipe.closed

    def is_overdue(self) -> bool:
        """Whether it takes longer than its limit, for a task or to start."""
        limit = self._limits.seconds if self.ready else START_S
        return bool(self.queue) and time.monotonic() - self._busy_since > limit

    def kill(self) -> None:
        """End the process, which has nothing to clean up."""
        self.process.kill()
        self.process.join()
        self.pipe.close()

    def exit_reason(self) -> str:
        """Describe how the process ended."""
        code = self.process.exitcode
        if code is None or code >= 0:
            return f"with exit code {code}"
        name = signal.Signals(-code).name
        return f"killed by {name}" + (", often because memory ran out" if name == "SIGKILL" else "")

    def _receive(self) -> _Message | None:
        """Take one message if one has come; close the pipe at its end, even within a message."""
        try:
            return None if self.pipe.closed or not self.pipe.poll() else self.pipe.recv()
        except (EOFError, OSError):
            self.process.join(_EXIT_S)  # so that the exit code is its own, and not that of `kill`
            self.pipe.close()
            return None

    def _handle(self, message: _Message) -> None:
        self._busy_since = time.monotonic()
        kind, value = message
        if kind == "ready":
            self.ready = True
        elif kind == "start_error":
            raise value
        elif self.queue:  # otherwise the task was dropped after a stop request
            task = self.queue.popleft()
            task.finish(task_failure(task.item, value) if kind == "error" else value)


@contextmanager
def _signals_blocked() -> Iterator[None]:
    """Start processes that ignore a terminal's signals from the start; exec keeps the mask."""
    resource_tracker.ensure_running()  # first, because its start would reset the mask
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _main_module_hidden() -> Iterator[None]:
    """Start processes that do not run the caller's script again, as multiprocessing makes them do.

    Workers do not need it, and a script without ``if __name__ == "__main__":`` would start more
    workers.
    """
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


def _run_worker(pipe: Connection, pickled: bytes, memory: int | None, parent: int) -> None:
    """Be a worker: answer each input with its result, until the pipe is closed."""
    # First of all, since the imports below take a second or, on a busy machine, many.
    _die_with_parent(parent)
    try:
        function: Callable[[Any], Any] = pickle.loads(pickled)  # noqa: S301 our parent's; its imports may fail
        _prepare(memory)
    except Exception as error:  # an import may raise anything; the parent reports it
        pipe.send(("start_error", _start_error(error)))
        return

    pipe.send(("ready", None))
    with suppress(EOFError, BrokenPipeError):
        while True:
            item = pipe.recv()
            pipe.send(_apply(function, item))


def _apply(function: Callable[[Any], Any], item: Any) -> _Message:
    try:
        return "result", function(item)
    except Exception as error:  # is raised again in the parent
        return "error", _picklable(error)


def _start_error(error: Exception) -> HpastoreError:
    """Explain in one line why a worker cannot start."""
    if isinstance(error, HpastoreError):
        return error
    return WorkerError(
        f"a worker process cannot start: {summarize_error(error)}; install hpastore again"
    )


def _picklable(error: Exception) -> Exception:
    """Make an error that can be sent to the parent, with a note of where it happened."""
    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301 our own
    except Exception:  # a class of somebody else's may fail to pickle in any way
        sent: Exception = RuntimeError(summarize_error(error))
    else:
        sent = error
    sent.add_note(f"in a worker process:\n{''.join(traceback.format_exception(error))}")
    return sent


def _prepare(memory: int | None) -> None:
    """Prepare this process to be a worker."""
    from hpastore.runtime.opencv import cv2  # here, so that a failure is reported to the parent

    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    cv2.setNumThreads(0)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # libpng prints warnings
    if memory is not None:
        _limit_memory(memory)


def _die_with_parent(parent: int) -> None:
    """End this process when its parent ends, even if the parent is killed."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    else:  # macOS has no such call
        threading.Thread(target=_watch_parent, args=(parent,), daemon=True).start()
    if os.getppid() != parent:  # it ended before the call
        os._exit(1)


def _watch_parent(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


def _limit_memory(extra: int) -> None:
    """Limit the address space to what is in use now and some bytes more, if that is known."""
    statm = Path("/proc/self/statm")
    if not statm.exists():
        return
    pages = int(statm.read_text().split()[0])
    limit = pages * resource.getpagesize() + extra
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    soft = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
    resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
