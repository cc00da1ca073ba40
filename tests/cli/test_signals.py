"""A run that is stopped keeps what was finished, and the next one goes on."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

import hpastore
from hpastore.errors import StoreError
from hpastore.runtime import failpoints
from hpastore.schema.views import LABEL_SUMMARY
from hpastore.store.engine import Store, connect
from tests.conftest import Figure, Trials
from tests.crash.harness import stored
from tests.waiting import BLOCKED, BUSY, PATIENCE_S, cpu_seconds, wait_until
from tests.world import dataset, is_a_file, rows, scalar

pytestmark = pytest.mark.has_schema

STOPPING = "hpastore: stopping; what is in flight is finished and kept"
AT_ONCE = "hpastore: stopped at once; what was finished is kept"

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

ENDLESS = (
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) AS i FROM n"
)


@contextmanager
def started(
    url: str,
    *arguments: object,
    err: int = subprocess.PIPE,
    failpoint: str | None = None,
    program: Sequence[str] = ("-m", "hpastore"),
) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, *program, "--db", url, *map(str, arguments)]
    environment = {**os.environ, **({failpoints.VARIABLE: failpoint} if failpoint else {})}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=err, text=True, env=environment
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def wait_until_it_waits_for(writer: Store, url: str, process: subprocess.Popen[str]) -> None:
    """Return when a process waits for the one that writes here."""
    if writer.is_sqlite:
        assert process.stderr is not None
        assert "waiting for" in process.stderr.readline()
    else:
        with connect(url) as other:
            wait_until(lambda: scalar(other, BLOCKED))


def whole(url: str) -> bool:
    cells = "SELECT count(*) FROM cell WHERE image_id = i.id"
    with connect(url) as store:
        return bool(
            scalar(store, f"SELECT count(*) FROM image i WHERE cell_count <> ({cells})") == 0
        )


@pytest.mark.parametrize(
    ("database", "number"),
    [
        ("sqlite", signal.SIGINT),
        ("sqlite", signal.SIGTERM),
        pytest.param("sqlite", signal.SIGHUP, marks=pytest.mark.full),
        ("postgresql", signal.SIGTERM),
        *(
            # Which signal it is makes no difference to the database.
            pytest.param("postgresql", number, marks=pytest.mark.full)
            for number in (signal.SIGINT, signal.SIGHUP)
        ),
    ],
    indirect=["database"],
)
def test_a_signal_keeps_what_was_finished(
    empty_url: str, tmp_path: Path, number: signal.Signals
) -> None:
    root = dataset(tmp_path / "data", 12)
    with started(empty_url, "ingest", root, "-j", "2", failpoint="image.result:4:stop") as process:
        _, status = os.waitpid(process.pid, os.WUNTRACED)
        assert os.WIFSTOPPED(status)
        process.send_signal(number)
        process.send_signal(signal.SIGCONT)
        out, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 128 + number
    before = stored(empty_url)
    assert 3 <= before < 12
    assert f"new             {before}\n" in out
    stopping, accounts = err.splitlines()
    assert stopping == STOPPING
    assert accounts.startswith(f"60 files = {5 * before} stored + 0 unchanged")
    assert accounts.endswith(f" + {5 * (12 - before)} not processed")
    assert whole(empty_url)
    with hpastore.open_store(empty_url) as store:
        summary = hpastore.ingest(store, root, jobs=2)
        assert (summary.new, summary.unchanged) == (12 - before, before)
    assert whole(empty_url)


@pytest.mark.full  # small images are stopped in the quick run
@pytest.mark.soak
def test_large_images_are_stopped(
    tmp_path: Path, figure: Figure, trials: Trials, request: pytest.FixtureRequest
) -> None:
    root = hpastore.make_sample(tmp_path / "data", n=4, size=3072)
    n = trials(quick=1, full=2, soak=50)
    for trial in range(n):
        url = f"sqlite:///{tmp_path / f'{trial}.db'}"
        number = SIGNALS[trial % len(SIGNALS)]
        with started(url, "ingest", root, "-j", "2") as process:
            wait_until(lambda url=url: stored(url) >= 1)  # type: ignore[misc]  # bound now
            process.send_signal(number)
            process.communicate(timeout=PATIENCE_S)
        assert process.returncode in (0, 128 + number)  # 0 if all four were done
        assert whole(url)
    figure(f"signals: {n} ingests of 3072² images stopped, and whole images kept")


WAITS = """
import sys
from hpastore.cli import app, show
show.PATIENCE_S = {}
app.main(sys.argv[1:])
"""
"""The program with another limit, in seconds, to what it waits for after a signal."""


def test_who_waits_for_another_writer_stops(url: str, tmp_path: Path) -> None:
    ingest = ("ingest", dataset(tmp_path / "data", 2), "-j", "1")
    program = ("-c", WAITS.format(0.5))
    with connect(url) as store, store.writing(), started(url, *ingest, program=program) as process:
        wait_until_it_waits_for(store, url, process)
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 128 + signal.SIGTERM
    assert [line for line in err.splitlines() if "waiting for" not in line] == [STOPPING, AT_ONCE]
    assert stored(url) == 0


def test_a_second_signal_is_not_waited_for(url: str, tmp_path: Path) -> None:
    ingest = ("ingest", dataset(tmp_path / "data", 2), "-j", "1")
    with (
        connect(url) as store,
        store.writing(),
        started(url, *ingest, program=("-c", WAITS.format(10 * PATIENCE_S))) as process,
    ):
        wait_until_it_waits_for(store, url, process)
        process.send_signal(signal.SIGINT)
        assert process.stderr is not None
        assert process.stderr.readline() == f"{STOPPING}\n"
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 128 + signal.SIGINT
    assert err == f"{AT_ONCE}\n"
    assert stored(url) == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_cursor_of_a_terminal_is_given_back(tmp_path: Path, number: signal.Signals) -> None:
    root = dataset(tmp_path / "data", 4)
    url = f"sqlite:///{tmp_path / 'cells.db'}"
    ours, theirs = pty.openpty()
    options = ("-j", "1")
    with started(
        url, "ingest", root, *options, err=theirs, failpoint="image.result:2:stop"
    ) as process:
        os.close(theirs)
        os.waitpid(process.pid, os.WUNTRACED)
        process.send_signal(number)
        process.send_signal(signal.SIGCONT)
        shown = b""
        while part := read_terminal(ours):
            shown += part
        process.communicate(timeout=PATIENCE_S)
    os.close(ours)
    assert process.returncode == 128 + number
    assert b"\x1b[?25l" in shown  # hidden while the bar is drawn
    assert shown.rfind(b"\x1b[?25h") > shown.rfind(b"\x1b[?25l")


def read_terminal(number: int) -> bytes:
    try:
        return os.read(number, 4096)
    except OSError:  # nobody has its other end any more
        return b""


def test_a_signal_ends_one_long_statement(store: Store, url: str) -> None:
    def raise_it(*_: object) -> None:
        raise KeyboardInterrupt

    def send_it() -> None:
        with connect(url) as other:
            began = time.process_time()  # SQLite computes here, and PostgreSQL elsewhere
            wait_until(
                lambda: time.process_time() - began > 1 if store.is_sqlite else scalar(other, BUSY)
            )
        os.kill(os.getpid(), signal.SIGUSR1)

    assert scalar(store, "SELECT 1") == 1
    before = signal.signal(signal.SIGUSR1, raise_it)
    sender = threading.Thread(target=send_it)
    try:
        with pytest.raises((KeyboardInterrupt, StoreError)) as caught:
            sender.start()
            rows(store, ENDLESS)
    finally:
        sender.join()
        signal.signal(signal.SIGUSR1, before)
    if store.is_sqlite:
        assert "interrupted" in str(caught.value)
    assert scalar(store, "SELECT 1") == 1


@is_a_file
@pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
def test_a_command_of_one_long_statement_is_stopped_with_one_line(url: str) -> None:
    with connect(url) as store, store.writing() as connection:
        connection.exec_driver_sql("DROP VIEW label_summary")
        columns = ", ".join(f"i AS {column.name}" for column in LABEL_SUMMARY.table.c)
        connection.exec_driver_sql(
            f"CREATE VIEW label_summary AS SELECT {columns} FROM ({ENDLESS})"
        )
    with started(url, "dump", "--canonical") as process:
        wait_until(lambda: cpu_seconds(process.pid) > 4)  # to start takes one
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 128 + signal.SIGTERM
    assert err == "hpastore: stopped; what was finished is kept\n"
