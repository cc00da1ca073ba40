"""A store from somebody else: no value of it gives a traceback, a control byte, or a file elsewhere."""

from __future__ import annotations

import random
import shutil
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import psycopg
import pytest
from sqlalchemy import Column, LargeBinary, text
from sqlalchemy.exc import DBAPIError

from hpastore.schema.tables import Base
from hpastore.schema.types import Instant
from hpastore.store.engine import connect
from tests.cli.conftest import Outcome, Run
from tests.conftest import Trials
from tests.world import dataset, name_of

ESCAPES: Final = "\x1b]0;owned\x07\x1b[2J\x9b31m\x7f\u202e\u2066\r"

TEXTS: Final = (
    *("../victim/a", "/etc/passwd", "..", "", "x", "x|y", "0|99", "9" * 400, "{name}", "%s\n%d"),
    *(ESCAPES, f"a{ESCAPES}", "a\0b", "2024-13-45T99:00", "0001-01-01T00:00:00+14:00"),
)
BLOBS: Final = (
    b"",
    b"x",
    zlib.compress(b"\1" * 4096),
    zlib.compress(bytes(2**27)),
    zlib.compress(b"")[:-1],
)
MOMENTS: Final = ("infinity", "0044-03-15 00:00:00 BC", "12024-01-01")

TARGETS: Final = [
    column
    for table in Base.metadata.sorted_tables
    for column in table.c
    if isinstance(column.type, LargeBinary | Instant) or column.type.python_type is str
]

COMMANDS: Final = [
    *(
        ["status"],
        ["failures"],
        ["measures"],
        ["measures", "export", "prob", "out/p.csv"],
        ["thresholds"],
        ["plan", "data"],
        ["dump", "--canonical"],
    ),
    *(
        ["clean", "list"],
        ["clean", "show", "mine"],
        ["clean", "show", "mine", "--recipe"],
        ["clean", "drift"],
    ),
    *(
        ["clean", "diff", "mine@1", "mine@2"],
        ["clean", "overrides"],
        ["explain", f"{name_of(0)}:1"],
    ),
    *(["doctor"], ["doctor", "--deep"], ["--json", "doctor"], ["--json", "clean", "list"]),
    *(
        ["sql", "SELECT * FROM image"],
        ["sql", "SELECT * FROM clean_cell"],
        ["sql", "SELECT * FROM cell_stats"],
    ),
    *(["export", "coco", "out/a.json"], ["export", "mmdet", "out/a.pkl", "--clean", "mine"]),
    *(["export", "csv", "out/a.csv"], ["export", "csv", "out/b.csv", "--clean", "mine"]),
    ["export", "images", "out/pictures", "-j", "1"],
    ["clean", "override-export", "out/decided.csv"],
    *(["plot", "hist", "--out", "out/h.svg"], ["plot", "gallery", "--out", "out/g.png"]),
    ["plot", "overlay", name_of(0), "--out", "out/o.svg"],
    ["plot", "drift", "mine", "--out", "out/d.svg"],
    ["db", "backup", "out/copy.db"],
    ["remeasure", "--background-percentile", "0.9"],
    *(
        ["clean", "refresh", "mine"],
        ["clean", "create", "other"],
        ["measures", "import", "data/scores.csv", "--name", "prob", "--version", "2"],
        ["ingest", "data", "--executor", "serial"],
    ),
]
"""Those that write to the store come last."""

Damage = Callable[[Column[Any], Any], Any]


@pytest.fixture
def damaged(run: Run, database: str, empty_url: str, tmp_path: Path, request: Any) -> Damage:
    """Give the URL of a copy of a small store in which one value of a column is another."""
    root = dataset(tmp_path / "data", 5, nuclei=True)
    (root / "train" / f"{name_of(4)}_red.png").write_bytes(b"x")
    run("ingest", root, "--executor", "serial")
    run("clean", "create", "mine")
    run("clean", "override", f"{name_of(0)}:1", "--drop", "--comment", "two", "--author", "me")
    (root / "scores.csv").write_text(f"cell,value\n{name_of(0)}:1,0.5\n")
    run("measures", "import", root / "scores.csv", "--name", "prob", "--version", "1")
    assert run("clean", "refresh", "mine").code == 0

    @contextmanager
    def damaged(column: Column[Any], value: Any) -> Iterator[str | None]:
        with _copied(database, empty_url, tmp_path, request) as url, connect(url) as store:
            with store.engine.connect() as connection:
                if database == "sqlite":
                    connection.exec_driver_sql("PRAGMA ignore_check_constraints = ON")
                    connection.exec_driver_sql("PRAGMA foreign_keys = OFF")
                key = " AND ".join(f"{c.name} = t.{c.name}" for c in column.table.primary_key)
                order = ", ".join(c.name for c in column.table.primary_key)
                first = f"SELECT {order} FROM {column.table.name} ORDER BY {order} LIMIT 1"
                where = f"({order}) IN ({first})" if key else "true"
                try:
                    statement = (
                        f"UPDATE {column.table.name} SET {column.name} = :value WHERE {where}"
                    )
                    done = connection.execute(text(statement), {"value": value}).rowcount
                    connection.commit()
                except (DBAPIError, psycopg.Error):
                    done = 0  # this database does not take it
            store.close()
            yield url if done else None

    return damaged


@contextmanager
def _copied(database: str, url: str, folder: Path, request: Any) -> Iterator[str]:
    if database == "sqlite":
        copy = folder / "copy" / "cells.db"
        shutil.rmtree(copy.parent, ignore_errors=True)
        copy.parent.mkdir()
        shutil.copyfile(folder / "empty.db", copy)
        yield f"sqlite:///{copy}"
    else:
        server = request.getfixturevalue("server")
        with server.database(url.rsplit("/", 1)[1].partition("?")[0]) as copied:
            yield copied


def _everything(folder: Path) -> dict[str, bytes]:
    """What lies beside the folders that a command may write to."""
    files = (file for file in folder.rglob("*") if file.is_file())
    named = {file.relative_to(folder): file for file in files}
    return {
        str(n): file.read_bytes() for n, file in named.items() if n.parts[0] in ("data", "victim")
    }


def _harmless(outcome: Outcome) -> bool:
    said = (outcome.out + outcome.err).replace("\n", "").replace("\t", "")
    return said.isprintable()


@pytest.mark.soak
def test_whatever_a_value_is_no_command_fails_badly(
    run: Run, damaged: Damage, tmp_path: Path, database: str, trials: Trials
) -> None:
    (tmp_path / "victim").mkdir()
    before = _everything(tmp_path)
    tried = 0
    for seed in range(trials(quick=3, full=8, soak=2000)):
        drawn = random.Random(seed)
        column = drawn.choice(TARGETS)
        values: Any = BLOBS if isinstance(column.type, LargeBinary) else TEXTS
        if isinstance(column.type, Instant) and database == "postgresql":
            values = MOMENTS
        value = drawn.choice(values)
        some = sorted(
            drawn.sample(range(len(COMMANDS)), trials(quick=8, full=8, soak=len(COMMANDS)))
        )
        with damaged(column, value) as url:
            for place in some if url else []:
                shutil.rmtree(tmp_path / "out", ignore_errors=True)
                (tmp_path / "out").mkdir()
                try:
                    outcome = run(*COMMANDS[place], db=url)
                except BaseException as error:
                    error.add_note(f"seed {seed}: {column} = {value[:30]!r}: {COMMANDS[place]}")
                    raise
                tried += 1
                what = (seed, str(column), value[:30], COMMANDS[place], outcome)
                assert _harmless(outcome), what
                assert outcome.code in (0, 1, 2, 3, 4), what
                assert _everything(tmp_path) == before, what
    assert tried
