"""Whatever becomes of worker processes: every input is answered, and only what is at fault is lost."""

from __future__ import annotations

import errno
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from importlib import import_module
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TypeVar

import numpy as np
import pytest

from hpastore.errors import InstallationError, UsageError, WorkerError
from hpastore.runtime import pool
from hpastore.runtime.executor import Limits, TaskFailure, worker_count
from hpastore.runtime.pool import make_executor, map_in_order
from tests.conftest import Figure, Trials
from tests.waiting import PATIENCE_S

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")


_In = TypeVar("_In")
_Out = TypeVar("_Out")


def run(
    function: Callable[[_In], _Out],
    inputs: Iterable[_In],
    workers: int,
    *,
    limits: Limits | None = None,
    stop: Callable[[], bool] | None = None,
) -> Iterator[tuple[_In, _Out | TaskFailure]]:
    """Apply a function in worker processes, or without any in this one."""
    executor = make_executor("process" if workers else "serial", workers, limits)
    return executor.map(function, inputs, stop=stop)


def slow_first(number: int) -> int:
    time.sleep(0.2 if number == 0 else 0)
    return number


def nothing(_: int) -> None:
    return None


def pid(_: int) -> int:
    return os.getpid()


def fail(number: int) -> float:
    return 1 / number


class OddError(Exception):
    def __init__(self, one: int, two: int) -> None:
        super().__init__(one)


def fail_as_a_disk(number: int) -> int:
    raise OSError(errno.ENOSPC, "full")


def fail_oddly(number: int) -> int:
    raise OddError(number, 2)


def die(number: int, *, at: int, how: str) -> int:
    if number != at:
        return number
    if how == "exit":
        os._exit(9)
    if how == "hang":
        time.sleep(1000)
    os.kill(os.getpid(), getattr(signal, how))
    return number


def die_once(number: int, folder: Path) -> int:
    mark = folder / str(number)
    if number % 5 == 0 and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGSEGV)
    return number


def alone(number: int, folder: Path) -> int:
    """Die while another worker works, as if memory had run out."""
    mine = folder / f"working-{number}"
    mine.touch()
    try:
        time.sleep(0.1)
        if number == 3 and len(list(folder.glob("working-*"))) > 1:
            os._exit(1)
        return number
    finally:
        mine.unlink()


def allocate(size: int) -> int:
    return int(np.ones(size, np.uint8).sum())


def nap(number: int) -> int:
    time.sleep(0.02)
    return number


def nap_as(number: int, folder: Path) -> int:
    """Say who works on it."""
    (folder / str(os.getpid())).touch()
    return nap(number)


def wait_for_ever(number: int) -> int:
    time.sleep(1000 if number else 0)
    return number


def test_serial_is_this_process_and_one_worker_is_another() -> None:
    assert {result for _, result in run(pid, range(3), 0)} == {os.getpid()}
    assert set(map_in_order(pid, range(3), 1)) == {os.getpid()}
    assert os.getpid() not in {result for _, result in run(pid, range(3), 1)}
    assert list(map_in_order(slow_first, [], 2)) == []
    assert list(run(slow_first, [], 2)) == []
    assert list(run(nothing, [1, 2], 1)) == [(1, None), (2, None)]


def test_results_come_in_order_and_few_are_ahead() -> None:
    taken: list[int] = []

    def inputs() -> Iterator[int]:
        for number in range(20):
            taken.append(number)
            yield number

    results = run(slow_first, inputs(), 2)
    assert next(results) == (0, 0)
    assert len(taken) <= 7
    assert list(results) == [(number, number) for number in range(1, 20)]


def fail_on_purpose(number: int) -> int:
    raise UsageError(f"not {number}")


def fail_to_import(number: int) -> int:
    raise ImportError(f"no library {number}")


@pytest.mark.parametrize("workers", [0, 2])
def test_an_unexpected_error_is_the_answer_to_its_input_and_the_others_go_on(
    workers: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG", "hpastore")
    results = list(run(fail, [1, 0, 2], workers))
    assert (results[0], results[2]) == ((1, 1.0), (2, 0.5))
    lost = results[1][1]
    assert isinstance(lost, TaskFailure)
    assert lost.code == "error"
    assert lost.reason.startswith(
        "hpastore failed with ZeroDivisionError: division by zero; please report"
    )
    assert "return 1 / number" in caplog.text
    assert [record.levelname for record in caplog.records] == ["DEBUG"]


@pytest.mark.parametrize("workers", [1, 2])
def test_what_in_order_applies_raises_its_error_with_where_it_was(workers: int) -> None:
    with pytest.raises(ZeroDivisionError) as caught:
        list(map_in_order(fail, [1, 0, 1], workers))
    if workers > 1:
        assert "in a worker process" in caught.value.__notes__[0]
        assert "return 1 / number" in caught.value.__notes__[0]
    with pytest.raises(OSError, match="full"):
        list(map_in_order(fail_as_a_disk, [1], workers))


def test_an_error_that_cannot_be_pickled_is_reported() -> None:
    ((_, lost),) = run(fail_oddly, [1], 1)
    assert isinstance(lost, TaskFailure)
    assert lost.reason.startswith(
        "hpastore failed with RuntimeError: OddError: 1; please report this"
    )


@pytest.mark.parametrize("workers", [0, 1])
def test_an_error_that_no_input_causes_ends_everything(workers: int) -> None:
    with pytest.raises(UsageError, match="not 1"):
        list(run(fail_on_purpose, [1, 2], workers))
    with pytest.raises(
        InstallationError, match="a library cannot be loaded: no library 1; install hpastore"
    ):
        list(run(fail_to_import, [1, 2], workers))


@pytest.mark.parametrize(
    ("workers", "how"),
    [
        (1, "exit"),
        (2, "SIGKILL"),
        *(
            pytest.param(1, how, marks=pytest.mark.full)
            for how in ("SIGKILL", "SIGSEGV", "SIGABRT")
        ),
        *(pytest.param(2, how, marks=pytest.mark.full) for how in ("exit", "SIGSEGV", "SIGABRT")),
    ],
)
def test_only_what_workers_die_on_is_lost(how: str, workers: int) -> None:
    results = dict(run(partial(die, at=4, how=how), range(9), workers))
    (lost,) = [result for result in results.values() if isinstance(result, TaskFailure)]
    assert results == {**{number: number for number in range(9)}, 4: lost}
    assert lost.code == "worker_crash"
    cause = "with exit code 9" if how == "exit" else f"killed by {how}"
    assert f"3 worker processes died on it, {cause}" in lost.reason


def test_what_workers_die_on_once_is_done_again(tmp_path: Path) -> None:
    assert list(run(partial(die_once, folder=tmp_path), range(12), 2)) == [
        (n, n) for n in range(12)
    ]
    assert len(list(tmp_path.iterdir())) == 3


def test_what_died_is_tried_again_alone(tmp_path: Path) -> None:
    assert list(run(partial(alone, folder=tmp_path), range(8), 2)) == [(n, n) for n in range(8)]


def test_what_hangs_is_given_up_and_the_others_go_on() -> None:
    function = partial(die, at=2, how="hang")
    results = dict(run(function, range(6), 2, limits=Limits(seconds=3)))
    assert results.pop(2) == TaskFailure("timeout", "took longer than 3 s, the time limit")
    assert results == {n: n for n in range(6) if n != 2}


@on_linux
def test_what_needs_too_much_memory_meets_an_error_and_not_the_machines_limit() -> None:
    limits = Limits(memory=2**28)
    assert list(run(allocate, [2**20, 2**26], 1, limits=limits)) == [(2**20, 2**20), (2**26, 2**26)]
    ((_, lost),) = run(allocate, [2**29], 1, limits=limits)
    assert isinstance(lost, TaskFailure)
    assert lost.code == "memory"
    assert isinstance(lost.error, MemoryError)
    assert "needs more memory than a worker may have" in lost.reason


@on_linux
@pytest.mark.soak
def test_workers_killed_at_random_lose_nothing(
    figure: Figure, trials: Trials, tmp_path: Path
) -> None:
    random.seed(5)
    wanted = trials(quick=2, full=5, soak=200)
    n = 30 * wanted
    killed, over = [0], threading.Event()

    def kill() -> None:
        while not over.wait(0.2 + random.random() / 4):
            if (found := sorted(tmp_path.iterdir())) and killed[0] < wanted:
                worker = random.choice(found)
                worker.unlink()
                if int(worker.name) in children():
                    os.kill(int(worker.name), signal.SIGKILL)
                    killed[0] += 1

    thread = threading.Thread(target=kill)
    thread.start()
    try:
        results = dict(run(partial(nap_as, folder=tmp_path), range(n), 2))
    finally:
        over.set()
        thread.join()
    lost = [result for result in results.values() if isinstance(result, TaskFailure)]
    assert list(results) == list(range(n))
    assert killed[0] >= wanted // 2
    assert len(lost) <= killed[0] // pool.MAX_CRASHES
    figure(
        f"workers: {killed[0]} killed at random among {n} inputs: {len(lost)} lost, none unanswered"
    )


def children() -> list[int]:
    """This process's workers, but not the tracker of shared resources."""
    here = f"/proc/{os.getpid()}/task/{os.getpid()}/children"
    found = map(int, Path(here).read_text().split())
    return [
        child for child in found if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()
    ]


def test_after_a_stop_request_only_what_is_in_progress_is_finished() -> None:
    seen: list[int] = []
    for number, result in run(nap, range(1000), 2, stop=lambda: len(seen) >= 3):
        assert result == number
        seen.append(number)
    assert 3 <= len(seen) <= 9
    assert seen == sorted(seen)
    assert [number for number, _ in run(nap, range(9), 0, stop=lambda: False)] == list(range(9))
    assert list(run(nap, range(9), 0, stop=lambda: True)) == []


def test_what_does_not_end_after_a_stop_request_is_given_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pool, "GRACE_S", 0.5)
    seen: list[int] = []
    for number, _ in run(wait_for_ever, range(4), 2, stop=lambda: bool(seen)):
        seen.append(number)
    assert seen == [0]


@on_linux
def test_no_worker_is_left_whoever_stops_listening() -> None:
    results = run(nap, range(100), 2)
    next(results)
    assert len(children()) == 2
    results.close()  # type: ignore[attr-defined]  # it is a generator
    assert children() == []
    assert list(run(nap, range(3), 2)) == [(0, 0), (1, 1), (2, 2)]
    assert children() == []


@on_linux
def test_a_terminals_signals_do_not_reach_workers() -> None:
    results = run(nap, range(30), 2)
    given = [next(results)]
    for worker in children():
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            os.kill(worker, number)
    before = set(children())
    given += list(results)
    assert given == [(n, n) for n in range(30)]
    assert len(before) == 2


WITHOUT_A_GUARD = """
print("begun")
from hpastore.runtime.pool import make_executor
print(list(make_executor("process", 2).map(abs, [1])))
"""


@pytest.mark.parametrize("as_file", [True, False], ids=["file", "stdin"])
def test_a_script_without_a_guard_runs_once(tmp_path: Path, as_file: bool) -> None:
    script = tmp_path / "script.py"
    script.write_text(WITHOUT_A_GUARD)
    done = subprocess.run(
        [sys.executable, script if as_file else "-"],
        input=WITHOUT_A_GUARD,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "begun\n[(1, 1)]\n", "")


def die_while_sending(number: int, folder: Path, *, once: bool) -> int:
    """Let this process die when half of the result is written."""
    mark = folder / str(number)
    if number == 3 and not (once and mark.exists()):
        mark.touch()
        Connection._send = write_half_and_die  # type: ignore[attr-defined]
    return number


def write_half_and_die(pipe: Connection, data: bytes) -> None:
    os.write(pipe.fileno(), data[: len(data) // 2])
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize("once", [True, False], ids=["once", "always"])
def test_only_the_result_that_a_worker_sends_when_it_dies_is_lost(
    tmp_path: Path, once: bool
) -> None:
    function = partial(die_while_sending, folder=tmp_path, once=once)
    results = dict(run(function, range(8), 2))
    if not once:
        failure = results[3]
        assert isinstance(failure, TaskFailure)
        assert failure.code == "worker_crash"
        results[3] = 3
    assert results == {n: n for n in range(8)}
    assert (tmp_path / "3").exists()


def leave(number: int) -> int:
    if number == 2:
        sys.exit(4)
    return number


def test_a_function_that_ends_its_process_is_the_answer_to_its_input() -> None:
    results = dict(run(leave, range(5), 2))
    failure = results.pop(2)
    assert failure == TaskFailure("worker_crash", "3 worker processes died on it, with exit code 4")
    assert results == {n: n for n in range(5) if n != 2}


class Unloadable:
    """Cannot be made again in a worker, as what imports a library that is missing there."""

    def __call__(self, number: int) -> int:
        return number

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return import_module, ("hpastore_lacks_this",)


def test_workers_that_cannot_start_say_why_in_one_line(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(WorkerError) as caught:
        list(run(Unloadable(), range(9), 2))
    assert str(caught.value) == (
        "a worker process cannot start: ModuleNotFoundError: No module named 'hpastore_lacks_this'; "
        "install hpastore again"
    )
    assert capfd.readouterr().err == ""


class Deadly:
    """Ends the worker that loads it."""

    def __call__(self, number: int) -> int:
        return number

    def __reduce__(self) -> tuple[object, tuple[int]]:
        return os._exit, (9,)


def test_workers_that_die_while_they_start_are_an_error() -> None:
    with pytest.raises(WorkerError) as caught:
        list(run(Deadly(), range(9), 2))
    assert str(caught.value) == (
        "worker processes do not start: with exit code 9; try fewer workers with -j"
    )


def test_a_function_that_kills_all_workers_of_in_order_is_an_error() -> None:
    with pytest.raises(
        WorkerError, match="died on it, with exit code 9; try fewer workers with -j"
    ):
        list(map_in_order(partial(die, at=1, how="exit"), range(8), 2))


def test_how_many_workers() -> None:
    assert worker_count(3) == 3
    assert worker_count(None) >= 1
    with pytest.raises(UsageError, match="jobs takes a number of processes, 1 or more, not 0"):
        worker_count(0)
