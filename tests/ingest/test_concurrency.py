"""Several processes at once on one store, and processes that are killed."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import hpastore
from tests.world import dataset, rows, scalar


def start(url: str, *arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "hpastore", "--db", url, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def outcomes(*processes: subprocess.Popen[str]) -> list[tuple[int, str]]:
    """Exit code and messages of each."""
    said = [(process.communicate(timeout=120)[1], process.returncode) for process in processes]
    return [(code, err) for err, code in said]


def test_three_first_ingests_at_once_store_each_image_once(empty_url: str, tmp_path: Path) -> None:
    root = dataset(tmp_path / "data", 12)
    processes = [start(empty_url, "ingest", root, "-j", 1) for _ in range(3)]
    assert outcomes(*processes) == [(0, "")] * 3
    with hpastore.open_store(empty_url) as store:
        assert scalar(store, "SELECT count(*) FROM image") == 12
        assert scalar(store, "SELECT sum(added) FROM ingest_run") == 12
        assert scalar(store, "SELECT count(*) FROM recipe") == 1


def test_two_recipes_at_once_leave_one(empty_url: str, tmp_path: Path) -> None:
    root = dataset(tmp_path / "data", 8)
    with hpastore.open_store(empty_url, create=True):
        pass
    one = start(empty_url, "ingest", root, "-j", 1, "--background-percentile", 0.5)
    two = start(empty_url, "ingest", root, "-j", 1, "--background-percentile", 0.75)
    codes = sorted(code for code, _ in outcomes(one, two))
    assert codes == [0, 2]
    with hpastore.open_store(empty_url) as store:
        used = rows(store, "SELECT DISTINCT recipe_id FROM image")
        assert len(used) == 1
        assert scalar(store, "SELECT count(*) FROM image") == 8


def test_clean_sets_made_at_once_get_versions_of_their_own(empty_url: str, tmp_path: Path) -> None:
    with hpastore.open_store(empty_url, create=True) as store:
        hpastore.ingest(store, dataset(tmp_path / "data", 4), executor="serial")
    processes = [start(empty_url, "clean", "create", "mine") for _ in range(3)]
    assert outcomes(*processes) == [(0, "")] * 3
    with hpastore.open_store(empty_url) as store:
        assert hpastore.clean_sets(store)["version"].tolist() == [1, 2, 3]


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
def test_workers_die_with_a_killed_parent(tmp_path: Path) -> None:
    root = hpastore.make_sample(tmp_path / "data", n=30, size=512)
    process = start(str(tmp_path / "cells.db"), "ingest", root, "-j", 2)
    end = time.monotonic() + 60
    while len(children(process.pid)) < 3:  # two workers, and the tracker of shared resources
        assert time.monotonic() < end
        time.sleep(0.02)
    workers = children(process.pid)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=10)
    end = time.monotonic() + 2
    while any(alive(worker) for worker in workers):
        assert time.monotonic() < end, [pid for pid in workers if alive(pid)]
        time.sleep(0.02)


def children(pid: int) -> list[int]:
    found = Path(f"/proc/{pid}/task/{pid}/children")
    return list(map(int, found.read_text().split())) if found.exists() else []


def alive(pid: int) -> bool:
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False
