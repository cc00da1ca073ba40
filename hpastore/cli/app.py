"""The commands' entry: options that all share, and errors as one line and an exit code."""

from __future__ import annotations

import errno
import io
import logging
import os
import signal
import sys
from collections.abc import Sequence
from types import FrameType
from typing import Annotated, Final

import typer

import hpastore
from hpastore.cli import clean, db, doctor, export, ingest, measures, plot, show, sql
from hpastore.cli.show import SIGNALS, STOPPED, leave, settings
from hpastore.errors import HpastoreError, NoRoomError, UnavailableError, UsageError

ERROR: Final = 1
USAGE: Final = 2
NO_ROOM_OR_DATABASE: Final = 5

app = typer.Typer(
    name="hpastore",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("sample")(ingest.sample)
app.command("ingest")(ingest.ingest)
app.command("plan")(ingest.plan)
app.command("remeasure")(ingest.remeasure)
app.command("status")(ingest.status)
app.command("failures")(ingest.failures)
app.command("retry")(ingest.retry)
app.command("measures")(measures.measures)
app.command("thresholds")(clean.thresholds)
app.add_typer(clean.app, name="clean")
app.command("explain")(clean.explain)
app.add_typer(export.app, name="export")
app.command("verify")(export.verify)
app.add_typer(plot.app, name="plot")
app.command("sql")(sql.sql)
app.command("dump")(sql.dump)
app.add_typer(db.app, name="db")
app.command("doctor")(doctor.doctor)


def _version(wanted: bool) -> None:
    if wanted:
        show.line(f"hpastore {hpastore.__version__}")
        raise typer.Exit


@app.callback()
def _shared(
    db: Annotated[
        str | None,
        typer.Option(help="SQLite file or database URL; else $HPASTORE_DB, else hpastore.db.", metavar="URL"),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress and no messages but errors.")] = False,
    version: Annotated[  # noqa: ARG001 handled by its callback
        bool, typer.Option("--version", help="Print the version.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """Store of Human Protein Atlas cells: ingest images, ask in SQL, export training annotations.

    Example: hpastore sample demo/data && hpastore ingest demo/data && hpastore thresholds
    """
    settings.db, settings.json, settings.quiet = db, json, quiet


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command, and exit with its code.

    0 done; 1 error; 2 wrong usage; 3 done, but some inputs were rejected; 4 there is work to do, or
    something has drifted; 5 disk full or database out of reach; 130 and 143 after SIGINT and SIGTERM.
    """
    for number in SIGNALS:
        signal.signal(number, _stop)
    logging.getLogger("hpastore").handlers = [_Messages()]
    logging.getLogger("hpastore").setLevel(logging.INFO)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # of a terminal that is not UTF-8
    given = sys.argv[1:] if arguments is None else list(arguments)
    try:
        try:
            app(_shared_first(given))
        finally:
            print(end="", flush=True)  # here, where an error is caught, and not when Python ends
    except HpastoreError as error:
        if settings.stopped is not None:
            sys.exit(STOPPED + settings.stopped)
        _say(str(error))
        sys.exit(_code(error))
    except UnicodeEncodeError as error:
        _say(f"not UTF-8, and so no text that a store could hold: {error.object!r}")
        sys.exit(USAGE)
    except OSError as error:
        if error.errno not in (errno.EPIPE, errno.ENOSPC):
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # for what is still to be written
        if error.errno == errno.EPIPE:  # nobody reads on, as after "| head"
            sys.exit(ERROR)
        _say("no room left on the disk; free some and run the same command again")
        sys.exit(NO_ROOM_OR_DATABASE)


class _Messages(logging.Handler):
    """Print what the library says as lines of their own, unless --quiet."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print one record."""
        if not settings.quiet:
            level = "" if record.levelno == logging.INFO else f"{record.levelname.lower()}: "
            _say(level + record.getMessage())


def _say(text: str) -> None:
    show.error(f"hpastore: {text}")


def _stop(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 the signature is Python's
    leave(number, "stopped")


def _code(error: HpastoreError) -> int:
    if isinstance(error, UsageError):
        return USAGE
    return NO_ROOM_OR_DATABASE if isinstance(error, UnavailableError | NoRoomError) else ERROR


def _shared_first(arguments: list[str]) -> list[str]:
    """Let the shared options stand anywhere: ``hpastore status --json`` is what people type."""
    shared, others = [], []
    rest = iter(arguments)
    for argument in rest:
        if argument == "--":
            others += [argument, *rest]
        elif argument in ("--json", "--quiet", "--version") or argument.startswith("--db="):
            shared.append(argument)
        elif argument == "--db":
            shared += [argument, *[value for value in [next(rest, None)] if value is not None]]
        else:
            others.append(argument)
    return shared + others
