from __future__ import annotations

import os
import time
from collections.abc import Iterator

import pytest

from hpastore.errors import UsageError, WorkerError
from hpastore.ingest.pool import in_order, workers


def slow_first(number: int) -> int:
    time.sleep(0.2 if number == 0 else 0)
    return number


def pid(_: int) -> int:
    return os.getpid()


def fail(number: int) -> float:
    return 1 / number


def die(number: int) -> int:
    if number == 1:
        os._exit(9)
    return number


def test_one_worker_is_this_process() -> None:
    assert set(in_order(pid, range(3), 1)) == {os.getpid()}
    assert list(in_order(slow_first, [], 2)) == []


def test_results_come_in_order_and_few_are_ahead() -> None:
    taken: list[int] = []

    def inputs() -> Iterator[int]:
        for number in range(20):
            taken.append(number)
            yield number

    results = in_order(slow_first, inputs(), 2)
    assert next(results) == 0
    assert len(taken) <= 5
    assert list(results) == list(range(1, 20))


def test_an_error_in_a_worker_is_raised_here() -> None:
    with pytest.raises(ZeroDivisionError):
        list(in_order(fail, [1, 0, 1], 2))


def test_a_worker_that_dies_is_an_error_and_no_hang() -> None:
    with pytest.raises(
        WorkerError, match="a worker process died, often for want of memory; try fewer with -j"
    ):
        list(in_order(die, range(8), 2))


def test_how_many_workers() -> None:
    assert workers(3) == 3
    assert workers(None) >= 1
    with pytest.raises(UsageError, match="jobs takes a number of processes, 1 or more, not 0"):
        workers(0)
