"""The user's own SQL."""

from __future__ import annotations

import csv
import sys
from typing import Annotated, Final

import typer

from hpastore.cli import show
from hpastore.errors import UsageError

FORMATS: Final = ("table", "csv", "json")

_TABLE_ROWS: Final = 200
_MAX_ROWS: Final = 1_000_000


def sql(
    query: Annotated[str, typer.Argument(help="One SELECT.", metavar="QUERY")],
    form: Annotated[
        str | None, typer.Option("--format", help="table, csv or json.", metavar="FORMAT")
    ] = None,
    timeout: Annotated[float, typer.Option(help="Seconds.", metavar="S")] = 30,
    max_rows: Annotated[
        int | None, typer.Option(help="Cut after N rows; 200 for a table, else 1,000,000.", metavar="N")
    ] = None,
) -> None:
    """Ask the store in SQL; read-only, whatever the query says.

    Flags are 0 and 1 in SQLite's answers, False and True in PostgreSQL's.

    Example: hpastore sql "SELECT label, cells, clean_share FROM label_summary"
    """
    import hpastore

    form = form or ("json" if show.settings.json else "table")
    if form not in FORMATS:
        raise UsageError(f"no format {form!r}; there are {', '.join(FORMATS)}")
    if show.settings.json and form != "json":
        raise UsageError(f"--json and --format {form} exclude each other; leave one out")
    most = max_rows if max_rows is not None else _TABLE_ROWS if form == "table" else _MAX_ROWS
    with show.open_store() as store:
        answer = hpastore.query(store, query, timeout=timeout, max_rows=most)
    if form == "json":
        show.document(show.records(answer.columns, answer.rows))
    elif form == "csv":
        csv.writer(sys.stdout, lineterminator="\n").writerows([answer.columns, *answer.rows])
    else:
        show.text_table(answer.columns, answer.rows)
    if answer.cut:
        print(f"hpastore: cut at {most} rows; --max-rows gives more", file=sys.stderr)


def dump(
    canonical: Annotated[
        bool,
        typer.Option("--canonical", help="Without keys, moments, roots and times; the only form there is."),
    ] = False,
) -> None:
    """Print what the store holds, in an order and form that equal stores share, then a checksum.

    Example: hpastore dump --canonical | tail -1
    """
    import hpastore

    if not canonical:
        raise UsageError("say --canonical: there is no other form of a dump")
    with show.open_store() as store:
        lines = hpastore.dump(store)
        if show.settings.json:
            *rows, last = lines
            show.document({"lines": len(rows), "sha256": last.removeprefix("sha256\t")})
        else:
            for line in lines:
                print(line)
