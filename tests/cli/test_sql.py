"""``sql`` from the user's chair: its limits, and what a terminal must not see."""

from __future__ import annotations

import os
import pty
import subprocess
import sys

import pytest

import hpastore
from hpastore.store.engine import Store
from hpastore.store.sandbox.query import Answer
from tests.cli.conftest import Run
from tests.world import is_a_file

pytestmark = pytest.mark.has_schema

EVIL = "\x1b]0;owned\x07\x1b[2J"
HOSTILE = f"SELECT 'a{EVIL}b' AS \"c{EVIL}d\""
MANY = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 300000) SELECT i FROM n"


def test_a_table_obeys_no_control_character(run: Run, url: str) -> None:
    said = run("sql", HOSTILE, db=url)
    assert (said.code, "\x1b" in said.out, "\x07" in said.out) == (0, False, False)
    assert "a\\x1b]0;owned\\x07\\x1b[2Jb" in said.out
    assert "c\\x1b]0;owned\\x07\\x1b[2Jd" in said.out


def test_an_error_obeys_none_either(run: Run, url: str) -> None:
    said = run("sql", f"SELECT '{EVIL}", db=url)
    assert (said.code, "\x1b" in said.err, said.err.count("\n")) == (1, False, 1)


@is_a_file
def test_csv_is_raw_in_a_file_and_harmless_on_a_terminal(run: Run, url: str) -> None:
    assert run("sql", HOSTILE, "--format", "csv", db=url).out == f"c{EVIL}d\na{EVIL}b\n"
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "hpastore", "--db", url, "sql", HOSTILE, "--format", "csv"]
    subprocess.run(command, stdout=theirs, check=True)
    os.close(theirs)
    shown = os.read(ours, 10_000).decode()
    os.close(ours)
    assert shown == "c\\x1b]0;owned\\x07\\x1b[2Jd\r\na\\x1b]0;owned\\x07\\x1b[2Jb\r\n"


def test_json_is_a_list_of_any_length(run: Run, url: str) -> None:
    for n in (0, 1, 3):
        said = run(
            "sql", f"SELECT id FROM label WHERE id < {n} ORDER BY id", "--format", "json", db=url
        )
        assert said.json == [{"id": i} for i in range(n)]
        assert said.out.count("\n") == 1


def test_a_cut_is_said_with_its_reason(run: Run, url: str) -> None:
    rows = run("sql", MANY, db=url)
    assert rows.err == "hpastore: cut at 200 rows; --max-rows gives more\n"
    memory = run("sql", MANY, "--max-memory", 1, "--format", "csv", db=url)
    count = memory.out.count("\n") - 1
    assert 1000 < count < 30_000
    assert (
        memory.err
        == f"hpastore: cut at {count:,} rows, which take 1 MiB; --max-memory gives more\n"
    )


@is_a_file
def test_a_table_has_narrower_limits_than_the_others(
    run: Run, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = []

    def query(store: Store, sql: str, **limits: float) -> Answer:
        given.append(limits)
        return Answer(("n",), [(1,)], False)

    monkeypatch.setattr(hpastore, "query", query)
    for options in ([], ["--format", "csv"], ["--json"], ["--max-rows", "5", "--max-memory", "7"]):
        run("sql", "SELECT 1", *options, db=url)
    assert given == [
        {"timeout": 30, "max_rows": 200, "max_bytes": 64 * 2**20},
        {"timeout": 30, "max_rows": 1_000_000, "max_bytes": 512 * 2**20},
        {"timeout": 30, "max_rows": 1_000_000, "max_bytes": 512 * 2**20},
        {"timeout": 30, "max_rows": 5, "max_bytes": 7 * 2**20},
    ]


def test_limits_that_make_no_sense_are_refused(run: Run, url: str) -> None:
    for option in ("--max-memory", "--max-rows", "--timeout"):
        assert run("sql", "SELECT 1", option, 0, db=url).code == 2
