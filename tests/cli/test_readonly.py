"""The commands as a user who may read the store and its folder, but not write them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import pytest

import hpastore
from tests.cli.conftest import Outcome
from tests.world import dataset

NOBODY: Final = "65534"

AS_NOBODY: Final = (
    *("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"),
    # To get at the interpreter, wherever root keeps it; this lets one read anything, and write nothing.
    *("--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"),
)

READ: Final[tuple[tuple[str, ...], ...]] = (
    ("status",),
    ("failures",),
    ("measures",),
    ("measures", "export", "prob", "OUT/prob.csv"),
    ("thresholds",),
    ("plan", "DATA"),
    ("ingest", "DATA"),  # there is nothing to do
    ("sql", "SELECT count(*) AS n FROM cell_stats"),
    ("explain", "image-00:1"),
    ("dump", "--canonical"),
    ("doctor", "--deep"),
    ("clean", "list"),
    ("clean", "show", "mine"),
    ("clean", "diff", "mine@1", "mine@2"),
    ("clean", "drift"),
    ("clean", "overrides"),
    ("clean", "override-export", "OUT/overrides.csv"),
    ("export", "coco", "OUT/a.json", "--clean", "mine"),
    ("export", "mmdet", "OUT/a.pkl"),
    ("export", "csv", "OUT/a.csv", "--clean", "mine"),
    ("export", "images", "OUT/pictures"),
    ("plot", "hist", "--out", "OUT/hist.png"),
    ("plot", "gallery", "--out", "OUT/gallery.png"),
    ("plot", "overlay", "image-00", "--out", "OUT/overlay.png"),
    ("plot", "drift", "mine", "--out", "OUT/drift.png"),
    ("db", "current"),
    ("db", "check"),
    ("db", "backup", "OUT/copy.db"),
)

WRITE: Final[tuple[tuple[str, ...], ...]] = (
    ("ingest", "MORE"),
    ("retry",),
    ("remeasure", "--background-percentile", "0.5"),
    ("clean", "create", "other"),
    ("clean", "refresh", "mine"),
    ("clean", "freeze", "mine"),
    ("clean", "drop", "mine"),
    ("clean", "override", "image-00:1", "--keep"),
    ("clean", "override-import", "DATA/overrides.csv"),
    ("measures", "import", "DATA/scores.csv", "--name", "prob", "--version", "2"),
    ("db", "upgrade"),
)


RUN_ALL: Final = """
import contextlib, io, json, sys
from hpastore.cli import app
outcomes = []
for command in json.load(sys.stdin):
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
        try:
            app.main(command)
        except SystemExit as end:
            outcomes.append([end.code or 0, out.getvalue(), err.getvalue()])
print(json.dumps(outcomes))
"""
"""Runs commands one after the other in one process, which loads all libraries once."""


class Reader:
    """A store that its owner has closed, and a user who may only read it."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "shared" / "cells.db"
        self.out = folder / "out"
        self._places = {
            "DATA": dataset(folder / "data", 3),
            "MORE": dataset(folder / "more", 4),
            "OUT": self.out,
        }
        self._places["MORE"].joinpath("train.csv").write_text("ID,Label\nimage-03,0\n")
        self.path.parent.mkdir()
        self.out.mkdir()
        self.out.chmod(0o777)
        with hpastore.open_store(self.path, create=True) as store:
            hpastore.ingest(store, folder / "data", executor="serial")
            hpastore.override_cells(store, [hpastore.Override("image-00:1", keep=True)])
            for _ in range(2):
                hpastore.create_clean_set(store, "mine", hpastore.CleanRecipe(min_cells=1))
            hpastore.export_overrides(store, folder / "data" / "overrides.csv")
            scores = folder / "data" / "scores.csv"
            scores.write_text("cell,value\nimage-00:1,0.5\n")
            hpastore.import_measure(store, scores, "prob", 1)
        self.content = self.path.read_bytes()
        self.lock()

    def lock(self) -> None:
        for file in self.path.parent.iterdir():
            file.chmod(0o444)
        self.path.parent.chmod(0o555)

    def unlock(self) -> None:
        self.path.parent.chmod(0o755)
        for file in self.path.parent.iterdir():
            file.chmod(0o644)

    def run(self, *arguments: str) -> Outcome:
        return self.run_all([arguments])[0]

    def run_all(self, commands: Sequence[Sequence[str]]) -> list[Outcome]:
        before = AS_NOBODY if os.geteuid() == 0 else ()
        done = subprocess.run(
            [*before, sys.executable, "-c", RUN_ALL],
            input=json.dumps([[*map(self._place, command)] for command in commands]),
            capture_output=True,
            text=True,
            env={**os.environ, "HOME": str(self.out), "HPASTORE_DB": str(self.path)},
            cwd=self.out,
            check=True,
        )
        return [Outcome(*outcome) for outcome in json.loads(done.stdout)]

    def _place(self, argument: str) -> str:
        """Replace the name of a folder, such as DATA."""
        first, _, rest = argument.partition("/")
        return str(self._places[first] / rest) if first in self._places else argument


@pytest.fixture
def reader() -> Iterator[Reader]:
    if os.geteuid() == 0 and shutil.which(AS_NOBODY[0]) is None:
        pytest.skip("root may write anything, and there is no setpriv to become another user")
    with tempfile.TemporaryDirectory() as folder:  # pytest's own are closed to others
        Path(folder).chmod(0o755)
        reader = Reader(Path(folder))
        yield reader
        reader.unlock()


def test_whoever_may_only_read_can_run_all_that_reads_and_nothing_that_writes(
    reader: Reader,
) -> None:
    for command, done in zip(READ, reader.run_all(READ), strict=True):
        assert done.code == 0, (command, done)
    for command, done in zip(WRITE, reader.run_all(WRITE), strict=True):
        assert done.code == 5, (command, done)
        (line,) = [line for line in done.err.splitlines() if "this user cannot write" in line]
        assert line.startswith(f"hpastore: {reader.path}: this user cannot write")
        assert "ask its owner" in line
        assert line.endswith(f"or work on a copy: hpastore --db {reader.path} db backup COPY")
    assert [file.name for file in reader.path.parent.iterdir()] == ["cells.db"]
    assert reader.path.read_bytes() == reader.content


def test_the_copy_that_is_advised_can_be_written(reader: Reader) -> None:
    assert reader.run("db", "backup", "copy.db").code == 0
    done = reader.run("--db", "copy.db", "clean", "create", "other")
    assert done.code == 0, done.err


LEAVE: Final = """
import os, sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("UPDATE image SET split = 'late'")
os._exit(0)
"""


def test_files_that_another_user_left_beside_the_store_are_read_with_it(reader: Reader) -> None:
    reader.unlock()
    subprocess.run([sys.executable, "-c", LEAVE, str(reader.path)], check=True)
    reader.lock()
    done = reader.run("sql", "SELECT DISTINCT split FROM image", "--format", "csv")
    assert (done.code, done.out, done.err) == (0, "split\nlate\n", "")


def test_a_log_that_cannot_be_read_is_named_with_whom_to_ask(reader: Reader) -> None:
    reader.unlock()
    subprocess.run([sys.executable, "-c", LEAVE, str(reader.path)], check=True)
    Path(f"{reader.path}-shm").unlink()
    reader.lock()
    done = reader.run("status")
    assert (done.code, done.out, done.err.count("\n")) == (5, "", 1)
    assert f"the newest changes are in {reader.path}-wal, which this user cannot read" in done.err
    assert "to run 'hpastore status' on the store" in done.err
