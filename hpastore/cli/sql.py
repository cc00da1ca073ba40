"""The user's own SQL."""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterable, Sequence
from typing import Annotated, Any, Final, Literal

import typer

from hpastore.cli import show
from hpastore.cli.table import print_table
from hpastore.errors import UsageError
from hpastore.text import count_text, printable

Format = Literal["table", "csv", "json"]

_TABLE_LIMITS: Final = (200, 64)
_LIMITS: Final = (1_000_000, 512)
"""Rows, and MiB of memory; the text of a table takes many times that."""


def sql(
    query: Annotated[str, typer.Argument(help="One SELECT.", metavar="QUERY")],
    output: Annotated[
        Format | None,
        typer.Option("--format", help="Output format; by default table, or json with --json."),
    ] = None,
    timeout: Annotated[
        float, typer.Option(help="Stop the query after this many seconds.", metavar="S")
    ] = 30,
    max_rows: Annotated[
        int | None,
        typer.Option(
            help="Print at most N rows; by default 200 for a table, else 1,000,000.", metavar="N"
        ),
    ] = None,
    max_memory: Annotated[
        int | None,
        typer.Option(
            help="Hold at most N MiB of rows; by default 64 for a table, else 512.", metavar="N"
        ),
    ] = None,
) -> None:
    """Ask the store in SQL; the query can only read.

    Flags are 0 and 1 on SQLite, False and True on PostgreSQL.

    Example: hpastore sql "SELECT label, cells, clean_share FROM label_summary"
    """
    import hpastore

    output = output or ("json" if show.settings.json else "table")
    if show.settings.json and output != "json":
        raise UsageError(f"--json and --format {output} exclude each other; leave one out")
    default_rows, default_memory = _TABLE_LIMITS if output == "table" else _LIMITS
    rows = default_rows if max_rows is None else max_rows
    memory = default_memory if max_memory is None else max_memory
    with show.open_store() as store:
        answer = hpastore.query(
            store, query, timeout=timeout, max_rows=rows, max_bytes=memory * 2**20
        )
    if output == "json":
        show.documents(dict(zip(answer.columns, row, strict=True)) for row in answer.rows)
    elif output == "csv":
        _write_csv([answer.columns, *answer.rows])
    else:
        print_table(answer.columns, answer.rows)
    if answer.cut:
        cut = f"cut at {count_text(len(answer.rows), 'row')}"
        if answer.limit == "rows":
            show.message(f"hpastore: {cut}; --max-rows gives more")
        else:
            show.message(f"hpastore: {cut}, which take {memory} MiB; --max-memory gives more")


def _write_csv(rows: Iterable[Sequence[Any]]) -> None:
    """Print rows as CSV; control characters are escaped on a terminal, and kept elsewhere."""
    if sys.stdout.isatty():
        rows = ([printable(v, None) if isinstance(v, str) else v for v in row] for row in rows)
    csv.writer(sys.stdout, lineterminator="\n").writerows(rows)


def dump(
    canonical: Annotated[
        bool,
        typer.Option(
            "--canonical",
            help="Required: the only form, without the database's keys, times and roots.",
        ),
    ] = False,
) -> None:
    """Print the store's content and a checksum; stores with the same content print the same.

    Example: hpastore dump --canonical | tail -1
    """
    import hpastore

    if not canonical:
        raise UsageError("add --canonical, which is the only form of a dump")
    with show.open_store() as store:
        lines = hpastore.dump(store)
        if show.settings.json:
            *rows, last = lines
            show.document({"lines": len(rows), "sha256": last.removeprefix("sha256\t")})
        else:
            for line in lines:
                show.text(f"{line}\n")
