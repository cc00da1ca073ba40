"""Disks that are full, or that cannot be written: one line, nothing half-written, and it goes on later."""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

import hpastore
from hpastore.kernels.definitions import CHANNEL_MEASURES
from hpastore.store import version
from tests.conftest import Figure, Trials
from tests.crash.harness import Runner, damage, dump, neither_lost_nor_partial
from tests.store.test_decoding import contents, load
from tests.waiting import PATIENCE_S
from tests.world import dataset

SIZES_KB = (
    64,
    160,
    256,
    320,
    384,
    448,
    512,
    640,
    768,
    896,
    1024,
    1280,
    1536,
    2048,
    3072,
    4096,
    6144,
)


class Outcome(NamedTuple):
    code: int
    out: str
    err: str


class Disk:
    """A small disk that only the commands run here see."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        self._process = subprocess.Popen(
            ["unshare", "--map-root-user", "--mount", sys.executable, "-m", "tests.crash.disk"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
        )

    def close(self) -> None:
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            assert pipe is not None
            pipe.close()
        self._process.wait(timeout=PATIENCE_S)

    def run(self, *command: object, **environment: str) -> Outcome:
        return self._answer(
            {"command": [*map(str, command)], "environment": {**os.environ, **environment}}
        )

    def _answer(self, request: dict[str, object]) -> Outcome:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return Outcome(*json.loads(self._process.stdout.readline()))

    def must(self, *command: object) -> str:
        done = self.run(*command)
        assert done.code == 0, done.err
        return done.out

    def mount(self, kilobytes: int) -> None:
        self.must("mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", self.folder)

    def unmount(self) -> None:
        self.must("umount", self.folder)

    def remount(self, options: str) -> None:
        self.must("mount", "-o", f"remount,{options}", self.folder)

    def hpastore(self, *arguments: object, **environment: str) -> Outcome:
        if environment:  # which SQLite reads once in a process
            return self.run(sys.executable, "-m", "hpastore", *arguments, **environment)
        return self._answer({"arguments": [*map(str, arguments)], "environment": {}})


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    command = ["unshare", "--map-root-user", "--mount", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
    if (
        shutil.which("unshare") is None
        or subprocess.run(command, capture_output=True, check=False).returncode
    ):
        pytest.skip("this system lets nobody mount a small disk of one's own")
    made = Disk(tmp_path / "disk")
    yield made
    made.close()


@pytest.mark.soak
def test_a_full_disk_keeps_whole_images_and_the_run_goes_on_when_there_is_room(
    disk: Disk, tmp_path: Path, figure: Figure, trials: Trials
) -> None:
    root, copy = dataset(tmp_path / "data", 24), tmp_path / "copy.db"
    undisturbed = f"sqlite:///{tmp_path / 'undisturbed.db'}"
    with hpastore.open_store(undisturbed, create=True) as store:
        hpastore.ingest(store, root, executor="serial")
    after = dump(undisturbed)
    ingest = ("--db", disk.folder / "cells.db", "ingest", root, "--executor", "serial")
    full = 0
    for kilobytes in SIZES_KB[:: trials(quick=6, full=3, soak=1)]:
        disk.mount(kilobytes)
        done = disk.hpastore(*ingest)
        if done.code:
            full += 1
            assert done.code == 5, done.err
            assert done.out == ""
            last = done.err.splitlines()[-1]
            assert last.startswith("hpastore: "), done.err
            assert "free some and run the same command again" in last, done.err
        if disk.run("test", "-s", disk.folder / "cells.db").code == 0:
            disk.must(
                "sh",
                "-c",
                f"cp {disk.folder}/cells.db* {tmp_path} && mv {tmp_path}/cells.db {copy}",
            )
            for log in tmp_path.glob("cells.db-*"):
                log.rename(tmp_path / log.name.replace("cells", "copy"))
            url = f"sqlite:///{copy}"
            assert damage(url) == []
            if done.code == 0 or hpastore_tables(url):
                assert neither_lost_nor_partial(dump(url), [], after) == []
            for file in tmp_path.glob("copy.db*"):
                file.unlink()
        disk.remount("size=64m")
        again = disk.hpastore(*ingest)
        assert again.code == 0, again.err
        found = disk.hpastore("--db", disk.folder / "cells.db", "dump", "--canonical")
        assert found.code == 0, found.err
        assert found.out.splitlines() == after
        disk.unmount()
    assert full >= trials(quick=2, full=4, soak=4)
    figure(
        f"disk full: {full} sizes of a disk too small for 24 images: exit code 5, no damage, dumps equal"
    )


def hpastore_tables(url: str) -> bool:
    try:
        hpastore.open_store(url).close()
    except hpastore.HpastoreError:
        return False
    return True


@pytest.mark.full  # the quick run fills a disk
@pytest.mark.soak
def test_a_limit_of_a_files_size_is_as_a_full_disk(
    tmp_path: Path, run: Runner, figure: Figure, trials: Trials
) -> None:
    root = dataset(tmp_path / "data", 12)
    undisturbed, url = (
        f"sqlite:///{tmp_path / 'undisturbed.db'}",
        f"sqlite:///{tmp_path / 'cells.db'}",
    )
    with hpastore.open_store(undisturbed, create=True) as store:
        hpastore.ingest(store, root, executor="serial")
    after, limited = dump(undisturbed), 0
    command = [
        sys.executable,
        "-m",
        "hpastore",
        "--db",
        url,
        "ingest",
        str(root),
        "--executor",
        "serial",
    ]
    for kilobytes in SIZES_KB[:: trials(quick=6, full=5, soak=1)]:

        def limit(size: int = 1024 * kilobytes) -> None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

        done = subprocess.run(
            command, capture_output=True, text=True, preexec_fn=limit, check=False
        )
        if done.returncode:
            limited += 1
            assert done.returncode == 5, done.stderr
            assert "free some and run the same command again" in done.stderr.splitlines()[-1]
            assert damage(url) == []
        again = run(url, "ingest", root, "--executor", "serial")
        assert again.code == 0, again.err
        assert dump(url) == after
        for file in tmp_path.glob("cells.db*"):
            file.unlink()
    assert limited >= trials(quick=1, full=2, soak=2)
    figure(f"disk full: {limited} limits of a file's size: exit code 5, no damage, dumps equal")


UPGRADE_SIZES_KB = (64, 512, 1024, 1536, 2048, 2304, 2560, 2816, 3072, 4096)


def test_an_upgrade_begins_only_where_it_finds_room_to_end(disk: Disk, tmp_path: Path) -> None:
    old = tmp_path / "old.db"
    load(f"sqlite:///{old}", "0005", "sqlite")
    path = disk.folder / "cells.db"
    codes = []
    for kilobytes in UPGRADE_SIZES_KB:
        disk.mount(old.stat().st_size // 1024 + kilobytes)
        disk.must("cp", old, path)
        done = disk.hpastore("--db", path, "db", "upgrade")
        codes.append(done.code)
        if done.code:
            assert (done.code, done.out) == (5, "")
            (line,) = done.err.splitlines()
            assert f"the upgrade needs about 3 MB in {disk.folder}, where " in line
            assert disk.must("ls", disk.folder) == "cells.db\n"
            disk.must("cmp", old, path)
        else:
            assert disk.hpastore("--db", path, "doctor", "--deep").out == "nothing is wrong\n"
        disk.unmount()
    assert codes == sorted(codes, reverse=True)
    assert set(codes) == {0, 5}


def test_an_upgrade_whose_disk_fills_up_leaves_the_old_store(tmp_path: Path) -> None:
    path = tmp_path / "cells.db"
    load(f"sqlite:///{path}", "0005", "sqlite")
    before, size = contents(f"sqlite:///{path}"), path.stat().st_size
    command = [sys.executable, "-m", "hpastore", "--db", str(path), "db", "upgrade"]
    for limit in (size // 2, size + 4096):  # full at the copy, and at the log

        def limit_files(limit: int = limit) -> None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

        done = subprocess.run(
            command, capture_output=True, text=True, preexec_fn=limit_files, check=False
        )
        assert (done.returncode, done.stdout) == (5, ""), done.stderr
        assert "free some and run the same command again" in done.stderr.splitlines()[-1]
        assert contents(f"sqlite:///{path}") == before
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, f"upgraded to schema {version.head()}\n")


def test_a_full_temporary_folder_is_one_line(disk: Disk, tmp_path: Path) -> None:
    root, path = dataset(tmp_path / "data", 3), tmp_path / "cells.db"
    with hpastore.open_store(path, create=True) as store:
        hpastore.ingest(store, root, executor="serial")
        with store.writing() as connection:  # so many rows that SQLite sorts them in a file
            numbers = (
                "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 120000)"
            )
            columns = "x, y, width, height, area, touches_border, pieces, nucleus_area, "
            columns += ", ".join(f"green_{measure.name}" for measure in CHANNEL_MEASURES)
            connection.exec_driver_sql(
                f"INSERT INTO cell (image_id, mask_id, {columns}) {numbers} SELECT 1, 1000 + i, {columns} "
                "FROM n, (SELECT * FROM cell WHERE id = 1)"
            )
    disk.mount(64)
    for command in (["thresholds"], ["clean", "create", "mine"]):
        done = disk.hpastore("--db", path, *command, SQLITE_TMPDIR=str(disk.folder))
        assert done.code == 5, done.out
        (line,) = done.err.splitlines()
        assert "free some and run the same command again" in line
    assert damage(f"sqlite:///{path}") == []
    assert disk.hpastore("--db", path, "thresholds").code == 0
    with hpastore.open_store(path) as store:
        assert hpastore.clean_sets(store).empty


def test_an_export_to_a_full_disk_leaves_nothing(disk: Disk, tmp_path: Path) -> None:
    root, path = dataset(tmp_path / "data", 24), tmp_path / "cells.db"
    with hpastore.open_store(path, create=True) as store:
        hpastore.ingest(store, root, executor="serial")
    disk.mount(8)
    for form, out in (("coco", "a.json"), ("mmdet", "a.pkl"), ("csv", "a.csv"), ("images", "a")):
        done = disk.hpastore("--db", path, "export", form, disk.folder / out)
        assert (done.code, done.out) == (5, ""), done.err
        assert done.err.endswith(f"{out}: no room left on the disk; nothing was written\n")
        assert disk.must("ls", "-A", disk.folder) == ""


@pytest.mark.full  # the quick run reads a store that only its owner may write
def test_read_only_media_can_be_asked_and_not_written(disk: Disk, tmp_path: Path) -> None:
    root, path = dataset(tmp_path / "data", 3), disk.folder / "cells.db"
    disk.mount(8192)
    assert disk.hpastore("--db", path, "ingest", root).code == 0
    assert disk.hpastore("--db", path, "clean", "create", "mine").code == 0
    expected = disk.hpastore("--db", path, "dump", "--canonical").out
    disk.remount("ro")
    assert disk.must("ls", disk.folder) == "cells.db\n"
    assert disk.hpastore("--db", path, "dump", "--canonical").out == expected
    for command in (
        ["status"],
        ["plan", root],
        ["clean", "show", "mine"],
        ["sql", "SELECT count(*) FROM cell_stats"],
        ["export", "coco", tmp_path / "a.json", "--clean", "mine"],
        ["db", "check"],
    ):
        done = disk.hpastore("--db", path, *command)
        assert done.code == 0, done.err
    dataset(root, 4)
    for command in (["ingest", root], ["clean", "create", "other"]):
        done = disk.hpastore("--db", path, *command)
        assert (done.code, done.out) == (5, ""), done.err
        (line,) = done.err.splitlines()
        assert "is on a disk that is mounted read-only" in line
    assert disk.hpastore("--db", path, "dump", "--canonical").out == expected
