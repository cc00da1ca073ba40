"""The entry point: options of all commands, and errors as one line and an exit code."""

from __future__ import annotations

import errno
import io
import logging
import os
import re
import signal
import sys
import warnings
from collections.abc import Sequence
from functools import cache
from itertools import islice
from pathlib import Path
from types import FrameType
from typing import Annotated, Any, Final

import typer

import hpastore
from hpastore.cli import (
    clean_sets,
    db,
    doctor,
    explain,
    export,
    ingest,
    measures,
    overrides,
    plot,
    sample,
    show,
    sql,
    status,
    thresholds,
    upkeep,
)
from hpastore.cli.show import SIGNALS, STOPPED, leave, settings
from hpastore.errors import HpastoreError, NoRoomError, UnavailableError, UsageError

DONE: Final = 0
ERROR: Final = 1
USAGE: Final = 2
NO_ROOM_OR_DATABASE: Final = 5

PARSER_ERROR: Final[Any] = next(
    c for c in typer.BadParameter.__mro__ if c.__name__ == "ClickException"
)
"""What Typer raises for an invalid command line: a class of click, or of its own copy of click."""

_INVALID_CHOICE: Final = re.compile(r"(?P<value>(['\"]).*\2) is not one of (?P<choices>'.*')\.")
"""Typer's message for a word that is not one of an option's choices."""

clean_app = typer.Typer(no_args_is_help=True, help="Make clean sets, and look at them.")
clean_app.command("create")(clean_sets.create)
clean_app.command("recipe")(clean_sets.print_recipe)
clean_app.command("refresh")(clean_sets.refresh)
clean_app.command("freeze")(clean_sets.freeze)
clean_app.command("drop")(clean_sets.drop)
clean_app.command("list")(clean_sets.list_clean_sets)
clean_app.command("show")(clean_sets.show_clean_set)
clean_app.command("diff")(clean_sets.diff)
clean_app.command("drift")(clean_sets.drift)
clean_app.command("override")(overrides.override)
clean_app.command("overrides")(overrides.overrides)
clean_app.command("override-import")(overrides.override_import)
clean_app.command("override-export")(overrides.override_export)

app = typer.Typer(
    name="hpastore",
    no_args_is_help=True,
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
app.add_typer(measures.app, name="measures")
app.command("thresholds")(thresholds.thresholds)
app.add_typer(clean_app, name="clean")
app.command("explain")(explain.explain)
app.add_typer(export.app, name="export")
app.command("verify")(export.verify)
app.add_typer(plot.app, name="plot")
app.command("sql")(sql.sql)
app.command("dump")(sql.dump)
app.add_typer(db.app, name="db")
app.command("doctor")(doctor.doctor)


def _print_version(requested: bool) -> None:
    if requested:
        show.line(f"hpastore {hpastore.__version__}")
        raise typer.Exit


@app.callback()
def _shared(
    db: Annotated[
        str | None,
        typer.Option(
            help="SQLite file or database URL; by default $HPASTORE_DB, else hpastore.db.",
            metavar="URL",
        ),
    ] = None,
    json: Annotated[
        bool, typer.Option("--json", help="Print one JSON document, also for an error.")
    ] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", help="Print nothing but errors on stderr.")
    ] = False,
    version: Annotated[  # noqa: ARG001 handled by its callback
        bool,
        typer.Option(
            "--version", help="Print the version.", callback=_print_version, is_eager=True
        ),
    ] = False,
) -> None:
    """Store of Human Protein Atlas cells: ingest images, ask in SQL, export training annotations.

    Example: hpastore sample demo/data && hpastore ingest demo/data && hpastore thresholds

    To complete commands and clean sets with the tab key, run: hpastore --install-completion
    """
    settings.db, settings.json, settings.quiet = db, json, quiet
    settings.warnings.clear()


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command, and exit with its code.

    0 done; 1 error; 2 invalid usage; 3 done, but some inputs were rejected; 4 there is work to do,
    or something has drifted; 5 disk full or database unreachable; 130 and 143 after SIGINT and
    SIGTERM.
    """
    _open_closed_streams()
    for number in SIGNALS:
        signal.signal(number, _stop)
    logging.getLogger("hpastore").handlers = [_MessageHandler()]
    logging.getLogger("hpastore").setLevel(logging.INFO)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # for a terminal without UTF-8
    shared, others = _split_shared(sys.argv[1:] if arguments is None else list(arguments))
    # Also for errors of the parser.
    settings.json, settings.quiet = (
        "--json" in shared,
        "--quiet" in shared,
    )
    if settings.quiet:
        warnings.simplefilter("ignore")
    sys.exit(_run(shared + others))


def _open_closed_streams() -> None:
    """Open the null device for each standard stream that is closed, as it may be for a daemon.

    Opened in their order, the streams get their usual numbers, 0 to 2.  Otherwise another file
    would get number 2, and libraries would write their messages into it.  Worker processes inherit
    the streams.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            stream = Path(os.devnull).open(mode, encoding="utf-8")  # noqa: SIM115 open until Python ends
            os.set_inheritable(stream.fileno(), True)
            setattr(sys, name, stream)


def _run(arguments: list[str]) -> int:
    """Run a command, print its error if there is one, and return the exit code."""
    try:
        try:
            # The name is that of the console script, also for "python -m hpastore".
            return int(
                _command(json=settings.json)(arguments, prog_name="hpastore", standalone_mode=False)
                or DONE
            )
        finally:
            print(end="", flush=True)  # a failing write is caught here, and not when Python ends
    except HpastoreError as error:
        return _report(error)
    except PARSER_ERROR as error:
        return _report_parser_error(error)
    except UnicodeEncodeError as error:
        return _report(UsageError(f"not UTF-8, which all texts of a store are: {error.object!r}"))
    except OSError as error:
        if error.errno not in (errno.EPIPE, errno.ENOSPC):
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # for what Python writes at its end
        if error.errno == errno.EPIPE:  # the reader has ended, as after "| head"
            return ERROR
        show.program_error("no room left on the disk; free some and run the same command again")
        return NO_ROOM_OR_DATABASE
    except (
        Exception
    ) as error:  # a bug: programs that read JSON need a document beside the traceback
        _print_document("internal", f"{type(error).__name__}: {error}", None)
        raise


def _report(error: HpastoreError) -> int:
    """Print an error, and return its exit code."""
    if settings.stopped is not None:
        return STOPPED + settings.stopped
    show.program_error(str(error))
    place = getattr(error, "path", getattr(error, "url", None))
    _print_document(error.category, str(error), place)
    return _exit_code(error)


def _report_parser_error(error: Any) -> int:
    """Print what is wrong with the command line, and return the exit code."""
    text = _invalid_choice(error)
    if text is not None:
        return _report(UsageError(text))

    from typer.rich_utils import rich_format_error  # loads rich, which takes as long as all else

    rich_format_error(error)
    _print_document(UsageError.category, error.format_message() or "Missing command.", None)
    return int(error.exit_code)


def _invalid_choice(error: Any) -> str | None:
    """Word an invalid choice as the library does; None for any other error."""
    found = _INVALID_CHOICE.search(getattr(error, "message", None) or "")
    parameter = getattr(error, "param", None)
    if found is None or parameter is None:
        return None
    option = max(parameter.opts, key=len)
    choices = found["choices"].replace("'", "")
    return f"invalid {option} {found['value']} (choose from {choices})"


@cache
def _command(*, json: bool) -> Any:
    """Build the whole program as one command; with --json, a group alone prints no help."""
    command: Any = typer.main.get_command(app)
    if json:
        for group in command.commands.values():
            group.no_args_is_help = False
    return command


def _print_document(category: str, text: str, path: object) -> None:
    """With --json, print an error as the one JSON document."""
    if settings.json:
        show.document(
            {"error": category, "message": text, "path": None if path is None else str(path)}
        )
        sys.stdout.flush()


class _MessageHandler(logging.Handler):
    """Print each message of the library in a line, unless --quiet."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print one record, and keep it if it is a warning: `ingest --json` lists them."""
        if record.levelno >= logging.WARNING:
            settings.warnings.append(record.getMessage())
        if not settings.quiet:
            level = "" if record.levelno == logging.INFO else f"{record.levelname.lower()}: "
            show.program_error(level + record.getMessage())


def _stop(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 the signature is Python's
    leave(number, "stopped")


def _exit_code(error: HpastoreError) -> int:
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
        elif argument == "--version" and others[:2] == ["measures", "import"]:
            others.append(argument)  # the measure's, not the program's
        elif argument in ("--json", "--quiet", "--version") or argument.startswith("--db="):
            shared.append(argument)
        elif argument == "--db":
            shared.append(argument)
            shared.extend(islice(rest, 1))  # its value, unless the line ends here
        else:
            others.append(argument)
    return shared, others
