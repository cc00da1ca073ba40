"""One worker process: this side of its pipe, and what it does at its other end."""

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
from typing import Any, Final, Generic, NamedTuple, TypeVar

from hpastore.errors import HpastoreError, InstallationError, WorkerError

_In = TypeVar("_In")
_Out = TypeVar("_Out")

_PR_SET_PDEATHSIG: Final = 1
"""From <sys/prctl.h>."""

START_S: Final = 120
"""How long a worker may take to start."""

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""What a terminal or a batch system sends to all processes at once; only the first one answers."""


@dataclass(frozen=True)
class Limits:
    """What one input may cost a worker.

    Parameters
    ----------
    memory
        Bytes of address space beyond those of an idle worker; None is unlimited.  Only Linux says how
        much a process has, so that elsewhere there is no limit.
    seconds
        Wall time.
    """

    memory: int | None = 4 * 2**30
    seconds: float = 300


class Lost(NamedTuple):
    """An input that no worker could finish."""

    code: str
    """``worker_crash``, ``timeout``, ``memory`` or ``error``."""
    reason: str
    error: Exception | None = None
    """What the function raised, if that is why."""


def lost_to(error: Exception) -> Lost:
    """Say that a function failed on an input as nobody expected; an error that is not the input's is raised.

    Raises
    ------
    HpastoreError
        The error itself if it is one of ours: it was raised on purpose, and not because of one input.
    InstallationError
        If a library cannot be loaded, which no input can.
    """
    if isinstance(error, HpastoreError):
        raise error
    if isinstance(error, ImportError):
        raise InstallationError(f"a library cannot be loaded: {error}; install hpastore again") from error
    if isinstance(error, MemoryError):
        return Lost("memory", "needs more memory than a worker may have; use fewer with -j", error)
    reason = (
        f"hpastore failed with {_one_line(error)}; please report this, then 'hpastore retry' tries it again"
    )
    return Lost("error", reason, error)


def _one_line(error: Exception) -> str:
    """An error's type and the first line of its text."""
    text = next(iter(str(error).strip().splitlines()), "")
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


@dataclass(eq=False)
class Job(Generic[_In, _Out]):
    """One input on its way."""

    item: _In
    result: _Out | Lost = field(init=False)
    done: bool = False
    deaths: int = 0

    def finish(self, result: _Out | Lost) -> None:
        """Give its result."""
        self.result, self.done = result, True


@dataclass(eq=False)
class Worker(Generic[_In, _Out]):
    """One process, and this side of its pipe."""

    function: Callable[[_In], _Out]
    limits: Limits
    jobs: deque[Job[_In, _Out]] = field(default_factory=deque)
    ready: bool = False
    since: float = field(default_factory=time.monotonic)
    """When it last had something to say, or was given something to do after a pause."""

    def __post_init__(self) -> None:
        spawn = multiprocessing.get_context("spawn")  # OpenCV does not survive a fork
        self.pipe, theirs = spawn.Pipe()
        arguments = (theirs, pickle.dumps(self.function), self.limits.memory, os.getpid())
        self.process = spawn.Process(target=_serve, args=arguments, daemon=True)
        try:
            with _signals_held(), _main_module_hidden():
                self.process.start()
        except OSError as error:
            raise WorkerError(
                f"a worker process cannot be started ({error.strerror}); try fewer with -j"
            ) from error
        finally:
            theirs.close()

    def take(self, job: Job[_In, _Out]) -> None:
        """Be given something to do."""
        if self.ready and not self.jobs:
            self.since = time.monotonic()
        self.jobs.append(job)
        with suppress(OSError):  # where it has died, which `hear` finds
            self.pipe.send(job.item)

    def hear(self) -> bool:
        """Take what it has said, and tell whether it lives; a result may come from one that died since."""
        alive = self.process.is_alive()  # before the pipe is emptied
        while (answer := self._receive()) is not None:
            self._answer(*answer)
        return alive and not self.pipe.closed

    def is_late(self, seconds: float) -> bool:
        """Whether it takes longer than it may, for an input or to start."""
        limit = seconds if self.ready else START_S
        return bool(self.jobs) and time.monotonic() - self.since > limit

    def kill(self) -> None:
        """End it; it has nothing to clean up."""
        self.process.kill()
        self.process.join()
        self.pipe.close()

    def cause(self) -> str:
        """What it died of."""
        code = self.process.exitcode
        if code is None or code >= 0:
            return f"with exit code {code}"
        name = signal.Signals(-code).name
        return f"killed by {name}" + (", often for want of memory" if name == "SIGKILL" else "")

    def _receive(self) -> tuple[str, Any] | None:
        """What it has said, if anything; its end closes the pipe."""
        try:
            return None if self.pipe.closed or not self.pipe.poll() else self.pipe.recv()
        except (EOFError, OSError):
            self.process.join(1)  # so that it has the exit code of its own
            self.pipe.close()
            return None

    def _answer(self, what: str, value: Any) -> None:
        self.since = time.monotonic()
        if what == "ready":
            self.ready = True
        elif what == "unable":
            raise value
        elif self.jobs:  # else it was dropped
            self.jobs.popleft().finish(lost_to(value) if what == "error" else value)


@contextmanager
def _signals_held() -> Iterator[None]:
    """Start processes that the signals of a terminal do not reach; the mask outlives exec."""
    resource_tracker.ensure_running()  # whose start would take the mask away
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _main_module_hidden() -> Iterator[None]:
    """Start processes that do not run the caller's script once more, as multiprocessing has them do.

    A worker needs nothing of it, and a script without ``if __name__ == "__main__":`` would begin again.
    """
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


def _serve(pipe: Connection, pickled: bytes, memory: int | None, parent: int) -> None:
    """Be a worker: answer each input with its result, until the pipe is closed."""
    try:
        function: Callable[[Any], Any] = pickle.loads(pickled)  # noqa: S301 our parent's; its imports may fail
        _prepare(parent, memory)
    except Exception as error:
        pipe.send(("unable", _unable(error)))
        return
    pipe.send(("ready", None))
    while True:
        try:
            item = pipe.recv()
        except EOFError:
            return
        try:
            answer: tuple[str, Any] = "result", function(item)
        except Exception as error:
            answer = "error", _portable(error)
        try:
            pipe.send(answer)
        except BrokenPipeError:
            return


def _unable(error: Exception) -> HpastoreError:
    """Say in one line why a worker cannot start."""
    if isinstance(error, HpastoreError):
        return error
    return WorkerError(f"a worker process cannot start: {_one_line(error)}; install hpastore again")


def _portable(error: Exception) -> Exception:
    """An error as it can be made again in the parent, with where it happened."""
    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301 our own
    except Exception:
        portable: Exception = RuntimeError(_one_line(error))
    else:
        portable = error
    portable.add_note(f"in a worker process:\n{''.join(traceback.format_exception(error))}")
    return portable


def _prepare(parent: int, memory: int | None) -> None:
    """Prepare a worker: it dies with its parent, has one thread, a limit, and no chatter of libpng."""
    from hpastore.runtime.opencv import cv2  # here, where it is answered that it cannot be loaded

    _die_with(parent)
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    cv2.setNumThreads(0)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    statm = Path("/proc/self/statm")
    if memory is not None and statm.exists():
        limit = int(statm.read_text().split()[0]) * resource.getpagesize() + memory
        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        soft = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


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
