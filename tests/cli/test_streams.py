"""What stdout may be: ASCII only, closed at its other end, or a disk without room."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import IO

import pytest

from tests.world import dataset

NAMES = "SELECT 'prot\u00e9ine' AS name"
MANY = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 30000) SELECT i FROM n"


PRINTS = [
    ["--json", "status"],
    pytest.param(["status"], marks=pytest.mark.full),
    ["sql", MANY, "--format", "csv"],
]


def start(
    url: str, *arguments: str, stdout: int | IO[str] = subprocess.PIPE
) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "hpastore", "--db", url, *arguments]
    env = {**os.environ, "PYTHONIOENCODING": "ascii"}
    return subprocess.Popen(command, stdout=stdout, stderr=subprocess.PIPE, text=True, env=env)


@pytest.mark.parametrize("form", ["json", "csv", "table"])
def test_a_stdout_of_ascii_gets_an_escape(url: str, form: str) -> None:
    with start(url, "sql", NAMES, "--format", form) as process:
        out, err = process.communicate()
    assert (process.returncode, err) == (0, "")
    assert ("prot\\u00e9ine" if form == "json" else "prot\\xe9ine") in out


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
@pytest.mark.parametrize("arguments", PRINTS)
def test_a_full_disk_behind_stdout_is_one_line(url: str, arguments: list[str]) -> None:
    with Path("/dev/full").open("w") as full, start(url, *arguments, stdout=full) as process:
        _, err = process.communicate()
    assert process.returncode == 5
    assert err == "hpastore: no room left on the disk; free some and run the same command again\n"


@pytest.mark.parametrize("arguments", PRINTS)
def test_a_reader_that_goes_away_is_no_matter(url: str, arguments: list[str]) -> None:
    with start(url, *arguments) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        err = process.stderr.read()
    assert (process.returncode, err) == (1, "")


@pytest.mark.parametrize(
    "closed", [">&-", pytest.param("2>&-", marks=pytest.mark.full), "<&- >&- 2>&-"]
)
@pytest.mark.parametrize(
    "arguments",
    [
        ["status"],
        pytest.param(["sql", "SELECT 1"], marks=pytest.mark.full),
        pytest.param(["clean", "list"], marks=pytest.mark.full),
        ["ingest", "data", "-j", "2"],
    ],
)
def test_a_command_does_without_closed_streams(
    url: str, tmp_path: Path, arguments: list[str], closed: str
) -> None:
    dataset(tmp_path / "data", 2)
    command = [sys.executable, "-m", "hpastore", "--db", url, *arguments]
    # Only a shell starts a program with a stream closed; Python's subprocess gives it all three.
    shell = ["sh", "-c", f'exec "$@" {closed}', "sh", *command]
    done = subprocess.run(shell, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert bool(done.stdout) == (">&-" not in closed.replace("2>&-", ""))
