"""The commands' entry: options that all share, and errors as one line and an exit code."""

from __future__ import annotations

import errno
import io
import logging
import os
import signal
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Annotated, Any, Final

import typer

import hpastore
from hpastore.cli import (
    clean,
    db,
    doctor,
    export,
    ingest,
    measures,
    plot,
    sample,
    show,
    sql,
    status,
    upkeep,
)
from hpastore.cli.show import SIGNALS, STOPPED, leave, settings
from hpastore.errors import HpastoreError, NoRoomError, UnavailableError, UsageError

DONE: Final = 0
ERROR: Final = 1
USAGE: Final = 2
NO_ROOM_OR_DATABASE: Final = 5

PARSER_ERROR: Final[Any] = next(c for c in typer.BadParameter.__mro__ if c.__name__ == "ClickException")
"""What a wrong command line raises; typer has click's own, or a copy of it under a private name."""

app = typer.Typer(
    name="hpastore",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("sample")(sample.sample)
app.command("ingest")(ingest.ingest)
app.command("plan")(ingest.plan)
app.command("remeasure")(upkeep.remeasure)
app.command("status")(status.status)
app.command("failures")(status.failures)
app.command("runs")(status.runs)
app.command("retry")(upkeep.retry)
app.command("forget")(upkeep.forget)
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
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document, also of an error.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Nothing on stderr but errors.")] = False,
    version: Annotated[  # noqa: ARG001 handled by its callback
        bool, typer.Option("--version", help="Print the version.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """Store of Human Protein Atlas cells: ingest images, ask in SQL, export training annotations.

    Example: hpastore sample demo/data && hpastore ingest demo/data && hpastore thresholds
    """
    settings.db, settings.json, settings.quiet = db, json, quiet
    settings.warnings.clear()


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command, and exit with its code.

    0 done; 1 error; 2 wrong usage; 3 done, but some inputs were rejected; 4 there is work to do, or
    something has drifted; 5 disk full or database out of reach; 130 and 143 after SIGINT and SIGTERM.
    """
    _open_closed_streams()
    for number in SIGNALS:
        signal.signal(number, _stop)
    logging.getLogger("hpastore").handlers = [_Messages()]
    logging.getLogger("hpastore").setLevel(logging.INFO)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # of a terminal that is not UTF-8
    shared, others = _split_shared(sys.argv[1:] if arguments is None else list(arguments))
    settings.json, settings.quiet = "--json" in shared, "--quiet" in shared  # for errors of the parser too
    if settings.quiet:
        warnings.simplefilter("ignore")
    sys.exit(_run(shared + others))


def _open_closed_streams() -> None:
    """Open the null device in place of each standard stream that is closed, as those of a daemon may be.

    In the order of their numbers, which each of them then gets: no other file may, since libraries write to
    number 2 whatever it is.  Worker processes inherit them.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            stream = Path(os.devnull).open(mode, encoding="utf-8")  # noqa: SIM115 open until Python ends
            os.set_inheritable(stream.fileno(), True)
            setattr(sys, name, stream)


def _run(arguments: list[str]) -> int:
    """Run a command, and return its exit code; errors are said."""
    try:
        try:
            return int(_command()(arguments, standalone_mode=False) or DONE)
        finally:
            print(end="", flush=True)  # here, where an error is caught, and not when Python ends
    except HpastoreError as error:
        if settings.stopped is not None:
            return STOPPED + settings.stopped
        _say(str(error))
        _document(error.category, str(error), getattr(error, "path", getattr(error, "url", None)))
        return _code(error)
    except PARSER_ERROR as error:
        from typer.rich_utils import rich_format_error  # loads rich, which takes as long as all else

        rich_format_error(error)
        _document(UsageError.category, error.format_message() or "Missing command.", None)
        return int(error.exit_code)
    except UnicodeEncodeError as error:
        text = f"not UTF-8, and so no text that a store could hold: {error.object!r}"
        _say(text)
        _document(UsageError.category, text, None)
        return USAGE
    except OSError as error:
        if error.errno not in (errno.EPIPE, errno.ENOSPC):
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # for what is still to be written
        if error.errno == errno.EPIPE:  # nobody reads on, as after "| head"
            return ERROR
        _say("no room left on the disk; free some and run the same command again")
        return NO_ROOM_OR_DATABASE
    except Exception as error:
        _document("internal", f"{type(error).__name__}: {error}", None)
        raise  # a broken program shows where


def _command() -> Any:
    """The whole program as one command; with --json a group without a command prints no help."""
    command: Any = typer.main.get_command(app)
    if settings.json:
        for group in command.commands.values():
            group.no_args_is_help = False
    return command


def _document(category: str, text: str, path: object) -> None:
    """Print an error as the one JSON document, where that was asked for."""
    if settings.json:
        show.document({"error": category, "message": text, "path": None if path is None else str(path)})
        sys.stdout.flush()


class _Messages(logging.Handler):
    """Print what the library says as lines of their own, unless --quiet."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print one record, and keep it if it is a warning: `ingest --json` lists them."""
        if record.levelno >= logging.WARNING:
            settings.warnings.append(record.getMessage())
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


def _split_shared(arguments: list[str]) -> tuple[list[str], list[str]]:
    """Split off the shared options, which may stand anywhere, as in ``hpastore status --json``."""
    shared: list[str] = []
    others: list[str] = []
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
    return shared, others
