"""Commands about clean sets."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from hpastore.cli import show
from hpastore.cli.completion import complete_clean_sets
from hpastore.cli.options import ChannelName, CleanSet, Lower, MeasureName, Upper
from hpastore.cli.table import print_table
from hpastore.text import measure_name
from hpastore.vocabulary import Guard, Scope

if TYPE_CHECKING:
    import pandas as pd

    from hpastore.clean.limits import Limits
    from hpastore.clean.rules import CleanRecipe
    from hpastore.clean.summary import CleanSetSummary

DRIFTED: Final = 4

_DEFAULT_RULE: Final = ("fraction", "green", 0.001, 0.999)
"""Measure, channel and percentiles of `create` without a recipe."""

_HIDDEN: Final = ("split", "channel", "idle_rules", "forced_drops")
"""Columns of a clean set that only ``--json`` shows."""


def create(
    name: Annotated[
        str,
        typer.Argument(
            help="A new name, or an existing one, which gets its next version.", metavar="NAME"
        ),
    ],
    recipe: Annotated[
        str | None,
        typer.Option(
            help="Rules to judge by: notebook, hpa, or a TOML file.", metavar="NAME|FILE.toml"
        ),
    ] = None,
    measure: MeasureName = "fraction",
    channel: ChannelName = "green",
    lower: Lower = 0.001,
    upper: Upper = 0.999,
    min_green: Annotated[
        int | None,
        typer.Option(
            help="Cells with no green pixel as bright as this are dark, so not clean; 0 turns "
            "this off.",
            show_default="64",
        ),
    ] = None,
    scope: Annotated[
        Scope | None,
        typer.Option(
            help="Judge images with a single label, or each cell against all labels of its image.",
            show_default="single",
        ),
    ] = None,
    min_cells: Annotated[
        int | None,
        typer.Option(
            help="Do not apply percentiles to labels with fewer cells.",
            metavar="N",
            show_default="1",
        ),
    ] = None,
    guard: Annotated[
        Guard | None,
        typer.Option(
            help="Where an image would lose all its cells: report it, or keep its best cell.",
            show_default="report",
        ),
    ] = None,
    frozen: Annotated[
        bool,
        typer.Option("--frozen", help="Keep the thresholds in later versions, as data arrive."),
    ] = False,
    split: Annotated[
        str | None,
        typer.Option(
            help="Judge only images of this split, also in later versions.",
            metavar="NAME",
        ),
    ] = None,
) -> None:
    """Judge all cells by percentiles of their label or by a recipe, and store the verdicts.

    Example: hpastore clean create mine --recipe hpa
    """
    from dataclasses import replace

    import hpastore

    rule = (measure, channel, lower, upper)
    rules = _one_rule(rule) if recipe is None else _recipe(recipe, rule)
    options: dict[str, Any] = {
        "min_green": min_green,
        "scope": scope,
        "min_cells": min_cells,
        "guard": guard,
    }
    given = {key: value for key, value in options.items() if value is not None}
    if given:  # the recipe's text does not contain them
        rules = replace(rules, text=None, **given)
    with show.open_store() as store:
        _print_made(hpastore.create_clean_set(store, name, rules, frozen=frozen, split=split))


def _one_rule(rule: tuple[str, str, float, float]) -> CleanRecipe:
    import hpastore

    return hpastore.CleanRecipe((hpastore.Rule(*rule),))


def _recipe(recipe: str, rule: tuple[str, str, float, float]) -> CleanRecipe:
    import hpastore

    if rule != _DEFAULT_RULE:
        raise hpastore.UsageError(
            "--recipe brings its own rules: leave out --measure, --channel, --lower and --upper"
        )
    return hpastore.load_recipe(recipe)


def print_recipe(
    name: Annotated[
        str | None,
        typer.Argument(
            help="A recipe of hpastore; without it, all names are listed.", metavar="NAME"
        ),
    ] = None,
) -> None:
    """Print a recipe that comes with hpastore, as a start for your own.

    Example: hpastore clean recipe hpa > mine.toml
    """
    import hpastore
    from hpastore.clean.recipe import recipe_toml, shipped

    if name is None:
        show.document(shipped()) if show.settings.json else show.text("\n".join(shipped()) + "\n")
        return
    _print_toml(recipe_toml(hpastore.load_recipe(name)))


def refresh(name: CleanSet) -> None:
    """Make the next version with the same recipe, from all current cells and overrides.

    Prints how many verdicts changed, and why.  A frozen set keeps its thresholds, and a set that is
    limited to a split stays so.

    Example: hpastore clean refresh mine
    """
    import hpastore

    with show.open_store() as store:
        _print_made(hpastore.refresh_clean_set(store, name))


def freeze(
    name: CleanSet,
    undo: Annotated[bool, typer.Option("--undo", help="Let it follow new data again.")] = False,
) -> None:
    """Keep the thresholds of a clean set in its later versions, as data arrive.

    Example: hpastore clean freeze mine
    """
    import hpastore

    with show.open_store() as store:
        hpastore.freeze_clean_set(store, name, frozen=not undo)
    if show.settings.json:
        show.document({"clean_set": name, "frozen": not undo})
    else:
        show.line(f"{name} {'follows new data again' if undo else 'keeps its thresholds'}")


def drop(
    name: Annotated[
        str,
        typer.Argument(
            help="NAME, which is all its versions, or NAME@VERSION.",
            autocompletion=complete_clean_sets,
        ),
    ],
) -> None:
    """Delete one version of a clean set, or all of them.

    Example: hpastore clean drop mine@1
    """
    import hpastore
    from hpastore.text import count_text

    with show.open_store() as store:
        dropped = hpastore.drop_clean_set(store, name)
    if show.settings.json:
        show.document({"dropped": dropped})
    else:
        show.line(f"{count_text(dropped, 'version')} of {name.partition('@')[0]} dropped")


def list_clean_sets() -> None:
    """List the clean sets with their numbers of verdicts.

    Example: hpastore clean list
    """
    import hpastore

    with show.open_store() as store:
        show.frame(hpastore.clean_sets(store))


def show_clean_set(
    name: CleanSet,
    recipe: Annotated[
        bool, typer.Option("--recipe", help="Print its recipe as TOML instead.")
    ] = False,
    emptied: Annotated[
        bool, typer.Option("--emptied", help="List the images that lost all their cells instead.")
    ] = False,
    bounds: Annotated[
        bool,
        typer.Option("--bounds", help="List every rule of each label with its bounds instead."),
    ] = False,
) -> None:
    """Show a clean set: for each label the share clean, and the verdicts by reason.

    Example: hpastore clean show mine@1
    """
    import hpastore

    with show.open_store() as store:
        if recipe:
            _print_toml(hpastore.clean_set_recipe(store, name))
        elif emptied:
            show.frame(hpastore.emptied_images(store, name))
        elif bounds:
            _print_bounds(hpastore.clean_set_bounds(store, name))
        else:
            _print_labels(hpastore.clean_set(store, name))
            _print_limits(hpastore.clean_set_limits(store, name))


def diff(
    a: Annotated[
        str,
        typer.Argument(
            help="A clean set: NAME, which is its newest version, or NAME@VERSION.",
            autocompletion=complete_clean_sets,
        ),
    ],
    b: Annotated[
        str,
        typer.Argument(
            help="The clean set to compare it with.", autocompletion=complete_clean_sets
        ),
    ],
    summary: Annotated[
        bool, typer.Option("--summary", help="Print only the number of cells by cause.")
    ] = False,
) -> None:
    """List the cells that are clean in one set and not in the other, with the cause.

    Example: hpastore clean diff mine@1 mine@2
    """
    import hpastore

    with show.open_store() as store:
        found = hpastore.clean_diff(store, a, b)
    counted = hpastore.summarise_diff(found)
    if summary:
        show.frame(counted)
        return
    show.frame(found)
    for change, cause, cells in counted.itertuples(index=False, name=None):
        show.message(f"{cells:,} {change}: {cause}, {hpastore.CAUSES[cause]}")


def drift(
    name: Annotated[
        str | None,
        typer.Argument(
            help="NAME or NAME@VERSION; by default the newest version of each clean set.",
            autocompletion=complete_clean_sets,
        ),
    ] = None,
) -> None:
    """Tell what 'clean refresh' would change; exit code 4 if there is anything.

    Example: hpastore clean drift
    """
    import hpastore

    with show.open_store() as store:
        found = hpastore.drift(store, name)
    if show.settings.json:
        show.document([asdict(one) for one in found])
    else:
        for one in found:
            show.line(str(one))
    if any(one.any for one in found):
        raise typer.Exit(DRIFTED)


def _print_toml(text: str) -> None:
    if show.settings.json:
        show.document({"recipe": text})
    else:
        show.text(text)


def _print_labels(found: pd.DataFrame) -> None:
    """Print verdicts by label.

    As text, all reasons of a label share one column: one column each is too wide for a terminal.
    """
    if show.settings.json:
        show.frame(found)
        return
    reasons = found.loc[:, "clean":"emptied"].columns[1:-1]
    shown = found.drop(columns=[*reasons, *_HIDDEN])
    rules = found[["channel", "measure"]].astype(object).where(found.notna(), None)
    measures = zip(rules["channel"], rules["measure"], strict=True)
    shown["measure"] = [measure_name(channel, measure) for channel, measure in measures]
    shown["reasons"] = [_counts_text(counts) for counts in found[reasons].to_dict("records")]
    show.frame(shown)
    splits = found["split"].dropna().unique()
    limited = f"; only images of split {splits[0]} were judged" if len(splits) else ""
    clean = f"{found['clean'].sum():,} of {found['cells'].sum():,}"
    show.message(f"{clean} verdicts are clean{limited}")


def _print_bounds(found: pd.DataFrame) -> None:
    """Print rules by label; as text, only the columns that say something."""
    if not show.settings.json:
        rules = found[["channel", "measure"]].astype(object).where(found.notna(), None)
        names = zip(rules["channel"], rules["measure"], strict=True)
        found["measure"] = [measure_name(channel, measure) for channel, measure in names]
        found = found.drop(columns="channel").dropna(axis="columns", how="all")
    show.frame(found)


def _counts_text(counts: Mapping[Hashable, int]) -> str:
    """List counts, the largest first: ``below_lower 20, dark 3``."""
    largest_first = sorted(counts.items(), key=lambda count: -count[1])
    return ", ".join(f"{reason} {n:,}" for reason, n in largest_first if n)


def _print_made(made: CleanSetSummary) -> None:
    """Print what a new version holds, what differs from the last one, and what to look at."""
    from hpastore.clean.limits import Limits
    from hpastore.text import count_text

    if show.settings.json:
        show.document(asdict(made))
    else:
        limited = "" if made.split is None else f" of split {made.split}"
        verdicts = f"{made.clean} of {made.cells} verdicts are clean"
        show.line(f"{made.name}@{made.version}{limited}: {verdicts}")
        if made.flips:
            rows = [(f.label_id, f.label, f.change, f.cause, f.cells) for f in made.flips]
            print_table(["label_id", "label", "change", "cause", "cells"], rows)
    _print_superseded(made)
    _print_skipped(made)
    _print_limits(Limits(made.idle, made.forced, made.stand_ins))
    if made.emptied:
        show.message(
            f"{count_text(made.emptied, 'time')} an image lost all its cells for a label; "
            f"'hpastore clean show {made.name}@{made.version} --emptied' lists them; "
            "--guard keep keeps the best cell of each"
        )


def _print_superseded(made: CleanSetSummary) -> None:
    """Warn that a name now stands for a different set, and tell how the two differ."""
    before = made.superseded
    if before is None:
        return
    now = f"{made.name}@{made.version}"
    differences = []
    if before.other_split:
        now += f" {_split_text(made.split)}"
        differences.append(_split_text(before.split))
    if before.other_rules:
        differences.append("by other rules")
    old = f"{made.name}@{before.version}, {' and '.join(differences)}"
    show.message(f"'{made.name}' now means {now}; {old}, stays as it is")


def _split_text(split: str | None) -> str:
    return "of all images" if split is None else f"of split {split}"


def _print_skipped(made: CleanSetSummary) -> None:
    """Tell how many cells the scope leaves out."""
    from hpastore.text import count_text

    if made.skipped_images:
        cells = count_text(made.skipped_cells, "cell")
        images = count_text(made.skipped_images, "image")
        are = "is" if made.skipped_cells == 1 else "are"
        what = f"{cells} of {images} with several labels {are} not judged"
        show.message(f"{what} (scope single; --scope all judges them)")


def _print_limits(limits: Limits) -> None:
    """Tell which percentiles bound nothing, and which must drop cells."""
    from hpastore.clean.limits import limits_text

    for line in limits_text(*limits):
        show.message(line)
