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
from collections.abc import Iterator
from functools import partial
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

from hpastore.errors import InstallationError, UsageError, WorkerError
from hpastore.runtime import pool
from hpastore.runtime.pool import each, in_order, workers
from hpastore.runtime.process import Limits, Lost
from tests.conftest import Figure, Trials
from tests.waiting import PATIENCE_S

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")


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
    """Die while anybody else works, as for want of memory."""
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


def test_none_is_this_process_and_one_is_another() -> None:
    assert {result for _, result in each(pid, range(3), 0)} == {os.getpid()}
    assert set(in_order(pid, range(3), 1)) == {os.getpid()}
    assert os.getpid() not in {result for _, result in each(pid, range(3), 1)}
    assert list(in_order(slow_first, [], 2)) == []
    assert list(each(slow_first, [], 2)) == []
    assert list(each(nothing, [1, 2], 1)) == [(1, None), (2, None)]


def test_results_come_in_order_and_few_are_ahead() -> None:
    taken: list[int] = []

    def inputs() -> Iterator[int]:
        for number in range(20):
            taken.append(number)
            yield number

    results = each(slow_first, inputs(), 2)
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
    results = list(each(fail, [1, 0, 2], workers))
    assert (results[0], results[2]) == ((1, 1.0), (2, 0.5))
    lost = results[1][1]
    assert isinstance(lost, Lost)
    assert lost.code == "error"
    assert lost.reason.startswith("hpastore failed with ZeroDivisionError: division by zero; please report")
    assert "return 1 / number" in caplog.text
    assert [record.levelname for record in caplog.records] == ["DEBUG"]


@pytest.mark.parametrize("workers", [1, 2])
def test_what_in_order_applies_raises_its_error_with_where_it_was(workers: int) -> None:
    with pytest.raises(ZeroDivisionError) as caught:
        list(in_order(fail, [1, 0, 1], workers))
    if workers > 1:
        assert "in a worker process" in caught.value.__notes__[0]
        assert "return 1 / number" in caught.value.__notes__[0]
    with pytest.raises(OSError, match="full"):
        list(in_order(fail_as_a_disk, [1], workers))


def test_an_error_that_cannot_leave_its_process_is_still_told() -> None:
    ((_, lost),) = each(fail_oddly, [1], 1)
    assert isinstance(lost, Lost)
    assert lost.reason.startswith("hpastore failed with RuntimeError: OddError: 1; please report this")


@pytest.mark.parametrize("workers", [0, 1])
def test_an_error_that_no_input_causes_ends_everything(workers: int) -> None:
    with pytest.raises(UsageError, match="not 1"):
        list(each(fail_on_purpose, [1, 2], workers))
    with pytest.raises(InstallationError, match="a library cannot be loaded: no library 1; install hpastore"):
        list(each(fail_to_import, [1, 2], workers))


@pytest.mark.parametrize(
    ("workers", "how"),
    [
        (1, "exit"),
        (2, "SIGKILL"),
        *(pytest.param(1, how, marks=pytest.mark.full) for how in ("SIGKILL", "SIGSEGV", "SIGABRT")),
        *(pytest.param(2, how, marks=pytest.mark.full) for how in ("exit", "SIGSEGV", "SIGABRT")),
    ],
)
def test_only_what_workers_die_on_is_lost(how: str, workers: int) -> None:
    results = dict(each(partial(die, at=4, how=how), range(9), workers))
    (lost,) = [result for result in results.values() if isinstance(result, Lost)]
    assert results == {**{number: number for number in range(9)}, 4: lost}
    assert lost.code == "worker_crash"
    cause = "with exit code 9" if how == "exit" else f"killed by {how}"
    assert f"3 worker processes died on it, {cause}" in lost.reason


def test_what_workers_die_on_once_is_done_again(tmp_path: Path) -> None:
    assert list(each(partial(die_once, folder=tmp_path), range(12), 2)) == [(n, n) for n in range(12)]
    assert len(list(tmp_path.iterdir())) == 3


def test_what_died_is_tried_again_alone(tmp_path: Path) -> None:
    assert list(each(partial(alone, folder=tmp_path), range(8), 2)) == [(n, n) for n in range(8)]


def test_what_hangs_is_given_up_and_the_others_go_on() -> None:
    function = partial(die, at=2, how="hang")
    results = dict(each(function, range(6), 2, limits=Limits(seconds=3)))
    assert results.pop(2) == Lost("timeout", "took longer than 3 s, more than one may")
    assert results == {n: n for n in range(6) if n != 2}


@on_linux
def test_what_needs_too_much_memory_meets_an_error_and_not_the_machines_limit() -> None:
    limits = Limits(memory=2**28)
    assert list(each(allocate, [2**20, 2**26], 1, limits=limits)) == [(2**20, 2**20), (2**26, 2**26)]
    ((_, lost),) = each(allocate, [2**29], 1, limits=limits)
    assert isinstance(lost, Lost)
    assert lost.code == "memory"
    assert isinstance(lost.error, MemoryError)
    assert "needs more memory than a worker may have" in lost.reason


@on_linux
@pytest.mark.soak
def test_workers_killed_at_random_lose_nothing(figure: Figure, trials: Trials, tmp_path: Path) -> None:
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
        results = dict(each(partial(nap_as, folder=tmp_path), range(n), 2))
    finally:
        over.set()
        thread.join()
    lost = [result for result in results.values() if isinstance(result, Lost)]
    assert list(results) == list(range(n))
    assert killed[0] >= wanted // 2
    assert len(lost) <= killed[0] // pool.DEATHS
    figure(f"workers: {killed[0]} killed at random among {n} inputs: {len(lost)} lost, none unanswered")


def children() -> list[int]:
    """This process's workers, but not the tracker of shared resources."""
    here = f"/proc/{os.getpid()}/task/{os.getpid()}/children"
    found = map(int, Path(here).read_text().split())
    return [child for child in found if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()]


def test_after_a_wish_to_stop_only_what_is_in_flight_is_finished() -> None:
    seen: list[int] = []
    for number, result in each(nap, range(1000), 2, stop=lambda: len(seen) >= 3):
        assert result == number
        seen.append(number)
    assert 3 <= len(seen) <= 9
    assert seen == sorted(seen)
    assert [number for number, _ in each(nap, range(9), 0, stop=lambda: False)] == list(range(9))
    assert list(each(nap, range(9), 0, stop=lambda: True)) == []


def test_what_does_not_end_after_a_wish_to_stop_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "GRACE_S", 0.5)
    seen: list[int] = []
    for number, _ in each(wait_for_ever, range(4), 2, stop=lambda: bool(seen)):
        seen.append(number)
    assert seen == [0]


@on_linux
def test_no_worker_is_left_whoever_stops_listening() -> None:
    results = each(nap, range(100), 2)
    next(results)
    assert len(children()) == 2
    results.close()  # type: ignore[attr-defined]  # it is a generator
    assert children() == []
    assert list(each(nap, range(3), 2)) == [(0, 0), (1, 1), (2, 2)]
    assert children() == []


@on_linux
def test_a_terminals_signals_do_not_reach_workers() -> None:
    results = each(nap, range(30), 2)
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
from hpastore.runtime.pool import each
print(list(each(abs, [1], 2)))
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


class Unloadable:
    """Cannot be made again in a worker, as what imports a library that is missing there."""

    def __call__(self, number: int) -> int:
        return number

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return import_module, ("hpastore_lacks_this",)


def test_workers_that_cannot_start_say_why_in_one_line(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(WorkerError) as caught:
        list(each(Unloadable(), range(9), 2))
    assert str(caught.value) == (
        "a worker process cannot start: ModuleNotFoundError: No module named 'hpastore_lacks_this'; "
        "install hpastore again"
    )
    assert capfd.readouterr().err == ""


def test_a_function_that_kills_all_workers_of_in_order_is_an_error() -> None:
    with pytest.raises(WorkerError, match="died on it, with exit code 9; try fewer with -j"):
        list(in_order(partial(die, at=1, how="exit"), range(8), 2))


def test_how_many_workers() -> None:
    assert workers(3) == 3
    assert workers(None) >= 1
    with pytest.raises(UsageError, match="jobs takes a number of processes, 1 or more, not 0"):
        workers(0)
