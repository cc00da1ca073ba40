"""Commands about the whole database."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hpastore.cli import show
from hpastore.cli.ingest_options import ClassTable, read_class_table

app = typer.Typer(no_args_is_help=True, help="Upgrade, check and copy the database.")

DRIFTED = 4


@app.command("upgrade")
def upgrade(classes: ClassTable = None) -> None:
    """Upgrade the store to the schema of this program; without a store, make an empty one.

    Example: hpastore db upgrade
    """
    from hpastore.store import migrate, version
    from hpastore.store.classes import set_classes

    given = read_class_table(classes)
    with show.connect_anyway(create=True) as store:
        upgraded = migrate.upgrade(store, classes=given)
        if given is not None:
            set_classes(store, given)
    if show.settings.json:
        show.document({"upgraded": upgraded, "schema": version.head()})
    else:
        show.line(f"{'upgraded to' if upgraded else 'is at'} schema {version.head()}")


@app.command("current")
def current() -> None:
    """Print the schema's revision in the store and in this program; exit code 4 if they differ.

    Example: hpastore db current
    """
    from hpastore.store import version

    with show.connect_anyway() as store:
        revision = version.current(store)
    if show.settings.json:
        show.document({"schema": revision, "program": version.head()})
    else:
        show.line(f"store {revision or 'none'}, program {version.head()}")
    if revision != version.head():
        raise typer.Exit(DRIFTED)


@app.command("check")
def check() -> None:
    """Compare the database with the schema of this program; exit code 4 if they differ.

    Example: hpastore db check
    """
    from hpastore.store import migrate

    with show.connect_anyway() as store:
        found = migrate.check(store)
    if show.settings.json:
        show.document(found)
    else:
        for sentence in found or ["nothing has drifted"]:
            show.line(sentence)
    if found:
        raise typer.Exit(DRIFTED)


@app.command("backup")
def backup(
    out: Annotated[Path, typer.Argument(help="The file to write.", metavar="OUT")],
    force: Annotated[bool, typer.Option("--force", help="Replace an existing file.")] = False,
) -> None:
    """Copy the store into a SQLite file, which is a store itself; others may work meanwhile.

    For PostgreSQL's own tools, make a copy with: pg_dump --format=custom --file=OUT.dump URL

    Example: hpastore db backup cells-today.db
    """
    import hpastore

    with show.open_store() as store, show.progress("pages") as progress:
        hpastore.backup(store, out, force=force, progress=progress)
    if show.settings.json:
        show.document({"backup": str(out), "bytes": out.stat().st_size})
    else:
        size = out.stat().st_size
        show.line(
            f"{out}: {size} bytes; 'hpastore --db {out} doctor --deep' compares its checksums"
        )
