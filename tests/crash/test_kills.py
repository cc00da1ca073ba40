"""Processes that are killed at any moment: no image is lost, partial or double, and no process is left."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

import hpastore
from tests.conftest import Figure, Trials
from tests.crash.harness import (
    Runner,
    Template,
    damage,
    dump,
    images,
    neither_lost_nor_partial,
    stored,
)
from tests.waiting import PATIENCE_S, wait_until
from tests.world import dataset, name_of, rows

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")


@on_linux
@pytest.mark.soak
def test_an_ingest_is_killed_at_any_moment_and_the_next_goes_on(
    changed: tuple[Template, Path], database: str, run: Runner, figure: Figure, trials: Trials
) -> None:
    template, root = changed
    rng, n = random.Random(7), trials(quick=1, full=20, soak=200)
    ingest = ("ingest", root, "--prune", "--strict")
    arguments = [(*ingest, "--executor", "serial"), (*ingest, "-j", "2")]
    longest = []
    with template.copy() as url:
        before = dump(url)
    for command in arguments:
        with template.copy() as url:
            began = time.monotonic()
            assert run(url, *command).code == 3
            longest.append(time.monotonic() - began)
            after = dump(url)
    killed = between = 0
    for trial in range(n):
        command, most = arguments[trial % 2], longest[trial % 2]
        with template.copy() as url:
            where = f"trial {trial}"
            for _ in range(rng.choice([1, 1, 2, 4])):
                outcome = run(url, *command, kill_after=rng.uniform(0, most))
                assert outcome.code in (-9, 3), where + outcome.err
                killed += outcome.code == -9
                now = dump(url)
                assert neither_lost_nor_partial(now, before, after) == [], where
                between += images(now) not in (images(before), images(after))
            assert damage(url) == [], where
            assert run(url, *command).code == 3, where
            assert dump(url) == after, where
    assert orphans(root) == []
    figure(
        f"kill -9: {database}: {killed} ingests killed in {n} trials, {between} of them between two images: "
        "0 images lost, partial or double; all dumps equal"
    )


@on_linux
@pytest.mark.full  # the quick run kills workers of the pool alone
@pytest.mark.soak
def test_workers_are_killed_and_only_the_poison_is_rejected(
    url: str,
    database: str,
    tmp_path: Path,
    figure: Figure,
    trials: Trials,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    wanted = trials(quick=2, full=10, soak=200)
    n = 60 * wanted
    root, poison = dataset(tmp_path / "data", n), name_of(n // 2)
    environment = {**os.environ, "HPASTORE_FAILPOINT": f"measure.{poison}:1:kill"}
    command = [sys.executable, "-m", "hpastore", "--db", url, "ingest", str(root), "-j", "2"]
    rng, killed, after = random.Random(11), 0, 1
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
        end = time.monotonic() + PATIENCE_S * wanted
        while process.poll() is None:
            assert time.monotonic() < end, "it hangs"
            time.sleep(rng.uniform(0, 0.3))
            if (
                killed < wanted
                and stored(url) >= after
                and (found := [*filter(works, workers(process.pid))])
            ):
                # The next only when all that was in flight is stored: three on one image are no accident.
                after = stored(url) + 8
                with suppress(ProcessLookupError):  # the ingest may have come to its end
                    os.kill(rng.choice(found), signal.SIGKILL)
                    killed += 1
        assert process.stderr is not None
        err = process.stderr.read()
    assert process.returncode == 3, err
    with hpastore.open_store(url) as store:
        failed = rows(store, "SELECT image_name, code, message FROM failure")
        assert hpastore.status(store).images == n - 1
        assert [(row["image_name"], row["code"]) for row in failed] == [(poison, "worker_crash")]
        assert "3 worker processes died on it, killed by SIGKILL" in failed[0]["message"]
    monkeypatch.delenv("HPASTORE_FAILPOINT", raising=False)
    with hpastore.open_store(url) as store:
        assert hpastore.retry(store) == [poison]
        assert hpastore.ingest(store, root, jobs=1).new == 1
        disturbed = list(hpastore.dump(store))
    undisturbed = f"sqlite:///{tmp_path / 'undisturbed.db'}"
    with hpastore.open_store(undisturbed, create=True) as store:
        hpastore.ingest(store, root, executor="serial")
    assert disturbed == dump(undisturbed)
    assert orphans(root) == []
    assert killed >= wanted // 2
    figure(
        f"workers: {database}: {killed} killed in an ingest of {n} images: only the poison rejected"
    )


@on_linux
@pytest.mark.full  # the quick run lets the pool alone give up what hangs
def test_an_image_that_hangs_is_rejected_and_the_others_are_stored(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hpastore.runtime.executor import Limits

    root = dataset(tmp_path / "data", 5)
    monkeypatch.setenv("HPASTORE_FAILPOINT", f"measure.{name_of(2)}:1:hang")
    with hpastore.open_store(url) as store:
        summary = hpastore.ingest(store, root, jobs=2, limits=Limits(seconds=5))
        assert (summary.new, summary.rejected) == (4, 1)
        (failed,) = rows(store, "SELECT image_name, code, message FROM failure")
    assert (failed["image_name"], failed["code"]) == (name_of(2), "timeout")
    assert "took longer than 5 s" in failed["message"]


@on_linux
@pytest.mark.soak
def test_no_process_is_left_after_a_kill(tmp_path: Path, figure: Figure, trials: Trials) -> None:
    n = trials(quick=1, full=3, soak=50)
    root = hpastore.make_sample(tmp_path / "data", n=12, size=512, jobs=1)
    rng = random.Random(3)
    for trial in range(n):
        url = str(tmp_path / f"{trial}.db")
        command = [sys.executable, "-m", "hpastore", "--db", url, "ingest", str(root), "-j", "3"]
        with subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as process:
            wait_until(lambda process=process: len(workers(process.pid)) == 3)  # type: ignore[misc]
            time.sleep(rng.uniform(0, 1))
            family = workers(process.pid)
            process.kill()
        wait_until(lambda family=family: not any(map(alive, family)))  # type: ignore[misc]  # bound now
    figure(f"orphans: {n} ingests killed with 3 workers each: none left")


def workers(pid: int) -> list[int]:
    """Processes of a pool."""
    try:
        found = map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
        return [
            child for child in found if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()
        ]
    except OSError:
        return []


def works(pid: int) -> bool:
    """Whether a worker has started: it has a limit of memory then."""
    try:
        limits = Path(f"/proc/{pid}/limits").read_text().splitlines()
    except OSError:
        return False
    return any(
        line.startswith("Max address space") and line.split()[3] != "unlimited" for line in limits
    )


def alive(pid: int) -> bool:
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


def orphans(root: Path) -> list[str]:
    """Command lines of processes without a parent that work on a folder, after a moment."""
    end = time.monotonic() + PATIENCE_S
    while True:
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                status, command = (entry / "status").read_text(), (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if "\nPPid:\t1\n" in status and (
                b"spawn_main" in command or str(root).encode() in command
            ):
                found.append(command.decode())
        if not found or time.monotonic() > end:
            return found
        time.sleep(0.05)
