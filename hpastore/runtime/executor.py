"""Where a function is applied to many inputs: in this process, in worker processes, or elsewhere.

`Executor` is the only thing that a caller of worker processes knows.  A new one, such as a cluster,
is a class with the method `map`, and a name in `ExecutorName` and in
`hpastore.runtime.pool.make_executor`.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple, Protocol, TypeVar

from hpastore.errors import HpastoreError, InstallationError, UsageError

logger = logging.getLogger(__name__)

_In = TypeVar("_In")
_Out = TypeVar("_Out")

ExecutorName = Literal["process", "serial"]


@dataclass(frozen=True)
class Limits:
    """What one input may cost a worker.

    Parameters
    ----------
    memory
        Bytes of address space beyond those of an idle worker; None is unlimited.  Only Linux tells
        how much a process has, so there is no limit elsewhere.
    seconds
        Wall time.
    """

    memory: int | None = 4 * 2**30
    seconds: float = 300


UNLIMITED: Final = Limits(None, float("inf"))


class TaskFailure(NamedTuple):
    """The result of an input that could not be processed."""

    code: Literal["worker_crash", "timeout", "memory", "error"]
    reason: str
    error: Exception | None = None
    """What the function raised, if that is the reason."""


class Executor(Protocol):
    """Applies a function to many inputs."""

    def map(
        self,
        function: Callable[[_In], _Out],
        inputs: Iterable[_In],
        *,
        stop: Callable[[], bool] | None = None,
    ) -> Iterator[tuple[_In, _Out | TaskFailure]]:
        """Apply a function to each input; one bad input does not end the others.

        Parameters
        ----------
        function
            Must be picklable: a function of a module, or a `functools.partial` of one.
        inputs
            Only a few are taken ahead of the caller, so that memory stays bounded.
        stop : callable, optional
            Called again and again.  Once it returns true, inputs in progress are finished, no other
            is begun.

        Yields
        ------
        input, result
            In the order of the inputs.

        Raises
        ------
        HpastoreError
            If the function raises one, since that is not the fault of one input.
        """
        ...


class SerialExecutor:
    """Does everything in this process, without limits."""

    def map(
        self,
        function: Callable[[_In], _Out],
        inputs: Iterable[_In],
        *,
        stop: Callable[[], bool] | None = None,
    ) -> Iterator[tuple[_In, _Out | TaskFailure]]:
        """Apply a function to each input, see `Executor.map`."""
        for item in inputs:
            if stop is not None and stop():
                return
            result: _Out | TaskFailure
            try:
                result = function(item)
            except Exception as error:  # costs this input alone
                result = task_failure(item, error)
            yield item, result


def task_failure(item: object, error: Exception) -> TaskFailure:
    """Turn what a function raised on an input into its result, unless the input is not at fault.

    The traceback is logged at the level of debugging.

    Raises
    ------
    HpastoreError
        The error itself if it is one of ours: it was raised on purpose, and not because of one
        input.
    InstallationError
        If a library cannot be loaded, which no input can cause.
    """
    if isinstance(error, HpastoreError):
        raise error
    if isinstance(error, ImportError):
        raise InstallationError(
            f"a library cannot be loaded: {error}; install hpastore again"
        ) from error
    if isinstance(error, MemoryError):
        failure = TaskFailure(
            "memory", "needs more memory than a worker may have; use fewer workers with -j", error
        )
    else:
        failure = TaskFailure(
            "error",
            f"hpastore failed with {summarize_error(error)}; "
            "please report this, then 'hpastore retry' tries it again",
            error,
        )
    logger.debug("%r: %s", item, failure.reason, exc_info=error)
    return failure


def summarize_error(error: Exception) -> str:
    """Write an error's type and the first line of its text."""
    text = next(iter(str(error).strip().splitlines()), "")
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def worker_count(jobs: int | None) -> int:
    """Choose how many worker processes to use: the given number, or one per core.

    Raises
    ------
    UsageError
        If the number is below 1.
    """
    if jobs is not None and jobs < 1:
        raise UsageError(f"jobs takes a number of processes, 1 or more, not {jobs}")
    return jobs or _core_count()


def _core_count() -> int:
    """Count the cores that this process may use; macOS sets no limit, so there it is all."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
