"""Commands about overrides: decisions of people about single cells."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hpastore.cli import show
from hpastore.cli.options import Force, Label

if TYPE_CHECKING:
    from hpastore.store.engine import Store


def override(
    cells: Annotated[
        list[str],
        typer.Argument(
            help="Each cell: its image's name and its id, as NAME:ID.", metavar="CELL..."
        ),
    ],
    keep: Annotated[
        bool, typer.Option("--keep", help="The cells are clean, whatever the rules say.")
    ] = False,
    drop: Annotated[
        bool, typer.Option("--drop", help="The cells are not clean, whatever the rules say.")
    ] = False,
    undo: Annotated[
        bool, typer.Option("--undo", help="Delete the decisions about the cells.")
    ] = False,
    lost: Annotated[
        bool,
        typer.Option(
            "--lost",
            help="With --undo: delete only decisions that are no longer attached to a cell.",
        ),
    ] = False,
    label: Label = None,
    score: Annotated[
        float | None, typer.Option(help="How certain the decision is, from 0 to 1.", metavar="S")
    ] = None,
    comment: Annotated[str | None, typer.Option(help="The reason.", metavar="TEXT")] = None,
    author: Annotated[
        str | None,
        typer.Option(help="Who decides; by default the name of the current user.", metavar="NAME"),
    ] = None,
) -> None:
    """Decide whether cells are clean; the next 'clean refresh' of a clean set applies the decision.

    Example: hpastore clean override sample-0003:7 --drop --comment "two cells"
    """
    import hpastore

    if keep + drop + undo != 1:
        raise hpastore.UsageError("give exactly one of --keep, --drop and --undo")
    if lost and not undo:
        raise hpastore.UsageError("--lost needs --undo")
    with show.open_store() as store:
        if undo:
            n = hpastore.undo_overrides(
                store, cells, label=label, every=label is None, detached=lost
            )
        else:
            author = _user_name() if author is None else author
            decisions = [
                hpastore.Override(cell, keep, label, score, author, comment) for cell in cells
            ]
            n = hpastore.override_cells(store, decisions)
        effect = _effect(store)
    _print_count(n, "undone" if undo else "written")
    if n:
        show.message(effect)


def overrides(
    lost: Annotated[
        bool, typer.Option("--lost", help="Only those that are no longer attached to a cell.")
    ] = False,
) -> None:
    """List all decisions about cells.

    Example: hpastore clean overrides --lost
    """
    import hpastore

    with show.open_store() as store:
        show.frame(hpastore.list_overrides(store, detached=lost))


def override_import(
    path: Annotated[
        Path, typer.Argument(help="A table, or a text of lines 'IMAGE_CELL SCORE'.", metavar="FILE")
    ],
    first_id: Annotated[
        int,
        typer.Option(help="In lines: the number of an image's first cell, 0 or 1.", min=0, max=1),
    ] = 1,
    keep_from: Annotated[
        float, typer.Option(help="In lines: cells with this score or more are kept.", min=0, max=1)
    ] = 0.5,
    skip_unknown: Annotated[
        bool,
        typer.Option(
            "--skip-unknown", help="Skip decisions about cells that are not in the store."
        ),
    ] = False,
) -> None:
    """Read decisions about cells from a file: all of them, or none if one is wrong.

    Example: hpastore clean override-import scores.txt --first-id 0 --keep-from 0.8
    """
    import hpastore

    with show.open_store() as store:
        decisions = hpastore.read_overrides(
            path, first_id=first_id, keep_from=keep_from, classes=hpastore.store_classes(store)
        )
        n = hpastore.override_cells(store, decisions, skip_unknown=skip_unknown)
        effect = _effect(store)
    _print_count(n, "written")
    if n:
        show.message(effect)


def override_export(
    path: Annotated[Path, typer.Argument(help="The CSV to write.", metavar="OUT.csv")],
    force: Force = False,
) -> None:
    """Write all decisions about cells as a CSV that override-import reads.

    Example: hpastore clean override-export decided.csv
    """
    import hpastore

    with show.open_store() as store:
        _print_count(hpastore.export_overrides(store, path, force=force), "exported")


def _effect(store: Store) -> str:
    """Tell when a decision takes effect."""
    import hpastore

    names = hpastore.clean_sets(store)["name"].unique()
    if not len(names):
        return "it takes effect in the next 'hpastore clean create NAME'"
    name = names[0] if len(names) == 1 else "NAME"
    which = "" if len(names) == 1 else f", NAME being one of {', '.join(names)}"
    refresh = f"'hpastore clean refresh {name}'{which}"
    return f"clean sets stay as they are; it takes effect with the next {refresh}"


def _user_name() -> str | None:
    """Get the user's name; None where the system has none, or none that is valid text."""
    import getpass

    try:
        name = getpass.getuser()
        name.encode()
    except (OSError, KeyError, ImportError, UnicodeEncodeError):
        return None
    return name or None


def _print_count(n: int, done: str) -> None:
    from hpastore.text import count_text

    if show.settings.json:
        show.document({done: n})
    else:
        show.line(f"{count_text(n, 'override')} {done}")
