"""The user's own SQL."""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterable, Sequence
from typing import Annotated, Any, Final

import typer

from hpastore.cli import show
from hpastore.cli.table import print_table
from hpastore.errors import UsageError
from hpastore.text import printable

FORMATS: Final = ("table", "csv", "json")

_TABLE: Final = (200, 64)
_OTHERS: Final = (1_000_000, 512)
"""Most rows, and most MiB of memory; a table's text takes many times that."""


def sql(
    query: Annotated[str, typer.Argument(help="One SELECT.", metavar="QUERY")],
    form: Annotated[
        str | None, typer.Option("--format", help="table, csv or json.", metavar="FORMAT")
    ] = None,
    timeout: Annotated[float, typer.Option(help="Seconds.", metavar="S")] = 30,
    max_rows: Annotated[
        int | None, typer.Option(help="Cut after N rows; 200 for a table, else 1,000,000.", metavar="N")
    ] = None,
    max_memory: Annotated[
        int | None, typer.Option(help="Cut after N MiB of memory; 64 for a table, else 512.", metavar="N")
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
    usual_rows, usual_memory = _TABLE if form == "table" else _OTHERS
    rows = usual_rows if max_rows is None else max_rows
    memory = usual_memory if max_memory is None else max_memory
    with show.open_store() as store:
        answer = hpastore.query(store, query, timeout=timeout, max_rows=rows, max_bytes=memory * 2**20)
    if form == "json":
        show.documents(dict(zip(answer.columns, row, strict=True)) for row in answer.rows)
    elif form == "csv":
        _write_csv([answer.columns, *answer.rows])
    else:
        print_table(answer.columns, answer.rows)
    if answer.cut:
        how = "; --max-rows" if answer.limit == "rows" else f", which take {memory} MiB; --max-memory"
        show.message(f"hpastore: cut at {len(answer.rows)} rows{how} gives more")


def _write_csv(rows: Iterable[Sequence[Any]]) -> None:
    """Print rows as CSV; values as they are but on a terminal, which would obey control characters."""
    if sys.stdout.isatty():
        rows = ([printable(v, None) if isinstance(v, str) else v for v in row] for row in rows)
    csv.writer(sys.stdout, lineterminator="\n").writerows(rows)


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
                show.text(f"{line}\n")
