"""A process that forks: every trial is a program that has imported everything and done nothing.

Reads one JSON document per line: ``arguments`` of the command line, ``environment`` to add,
``kill_after`` seconds, if the trial is to be killed, and ``site``, a folder of packages or null.  Writes one
per trial: its exit code (negative: the signal that ended it), what it printed, and how often it reached each
failpoint.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import signal
import sys
import tempfile
import threading
from typing import Any

import hpastore.cli.app
from hpastore.runtime import failpoints

FIRST = (
    *("alembic.command", "cv2", "pandas", "psycopg", "rich.table"),
    *(
        "hpastore.clean.create",
        "hpastore.export.coco",
        "hpastore.export.images",
        "hpastore.ingestion.run",
    ),
)
"""What commands import when they are run."""

TIMEOUT_S = 120


def preload() -> None:
    """Import what commands need, once for all of them."""
    for module in FIRST:
        importlib.import_module(module)


def main() -> None:
    preload()
    for line in sys.stdin:
        sys.stdout.write(json.dumps(trial(**json.loads(line))) + "\n")
        sys.stdout.flush()


def trial(
    arguments: list[str], environment: dict[str, str], kill_after: float | None, site: str | None
) -> dict[str, Any]:
    with (
        tempfile.TemporaryFile() as out,
        tempfile.TemporaryFile() as err,
        tempfile.TemporaryFile() as places,
    ):
        pid = os.fork()
        if pid == 0:
            os.setpgid(0, 0)
            os.dup2(out.fileno(), 1)
            os.dup2(err.fileno(), 2)
            os.environ.update(environment)
            sys.path[:0] = [site] if site else []
            os._exit(run(arguments, places.fileno()))
        timer = threading.Timer(
            TIMEOUT_S if kill_after is None else kill_after, os.kill, (pid, signal.SIGKILL)
        )
        timer.start()
        _, status = os.waitpid(pid, 0)
        timer.cancel()
        for file in (out, err, places):
            file.seek(0)
        return {
            "code": os.waitstatus_to_exitcode(status),
            "out": out.read().decode(),
            "err": err.read().decode(),
            "reached": json.loads(places.read() or b"{}"),
        }


def run(arguments: list[str], places: int) -> int:
    code: object = 0
    try:
        hpastore.cli.app.main(arguments)
    except SystemExit as end:
        code = end.code
    except BaseException:
        sys.excepthook(*sys.exc_info())
        code = 1
    with contextlib.suppress(OSError):
        os.write(places, json.dumps(failpoints.reached).encode())
    sys.stdout.flush()
    sys.stderr.flush()
    return code if isinstance(code, int) else 0 if code is None else 1


if __name__ == "__main__":
    main()
