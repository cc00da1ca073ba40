"""Commands about the database as a whole."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hpastore.cli import show

app = typer.Typer(no_args_is_help=True, help="Look after the database: its schema, and copies of it.")

DRIFTED = 4


@app.command("upgrade")
def upgrade() -> None:
    """Bring the store to this program's schema; makes an empty store where there is none.

    Example: hpastore db upgrade
    """
    from hpastore.store import migrate, version

    with show.connect_anyway(create=True) as store:
        did = migrate.upgrade(store)
    if show.settings.json:
        show.document({"upgraded": did, "schema": version.head()})
    else:
        show.line(f"{'upgraded to' if did else 'is at'} schema {version.head()}")


@app.command("current")
def current() -> None:
    """Print the revision of the store's schema, and this program's; exit code 4 if they differ.

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
    """Compare the database with what this program expects; exit code 4 if something has drifted.

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
    out: Annotated[Path, typer.Argument(help="The file to make.", metavar="OUT")],
    force: Annotated[bool, typer.Option("--force", help="Replace OUT if it exists.")] = False,
) -> None:
    """Copy the store as it is now into a file, while others use it; the copy is a store itself.

    Of a PostgreSQL database this makes a SQLite store with the same rows; what is to go back into
    PostgreSQL by its own tools is made by: pg_dump --format=custom --file=OUT.dump URL

    Example: hpastore db backup cells-today.db
    """
    import hpastore

    with show.open_store() as store, show.progress("pages") as progress:
        hpastore.backup(store, out, force=force, progress=progress)
    if show.settings.json:
        show.document({"backup": str(out), "bytes": out.stat().st_size})
    else:
        size = out.stat().st_size
        show.line(f"{out}: {size} bytes; 'hpastore --db {out} doctor --deep' compares its checksums")
