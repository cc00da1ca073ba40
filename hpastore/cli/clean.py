"""Commands about thresholds and clean sets."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from hpastore.cli import show
from hpastore.cli.table import print_table

if TYPE_CHECKING:
    import pandas as pd

    from hpastore.clean.limits import ForcedDrop, IdleRule
    from hpastore.clean.summary import CleanSetSummary
    from hpastore.store.engine import Store

DRIFTED: Final = 4

app = typer.Typer(no_args_is_help=True, help="Make clean sets, and look at them.")

Measure = Annotated[str, typer.Option(help="A measure, see the README's table.", metavar="M")]
Channel = Annotated[str, typer.Option(help="red, green, blue or yellow.", metavar="C")]
Lower = Annotated[float, typer.Option(help="Lower percentile, a share 0..1.", metavar="P")]
Upper = Annotated[float, typer.Option(help="Upper percentile, a share 0..1.", metavar="P")]
Split = Annotated[str | None, typer.Option(help="Only cells of images of this split.", metavar="NAME")]
Name = Annotated[str, typer.Argument(help="NAME, the newest version, or NAME@VERSION.")]


def thresholds(
    measure: Measure = "fraction",
    channel: Channel = "green",
    lower: Lower = 0.001,
    upper: Upper = 0.999,
    label: Annotated[int | None, typer.Option(help="Only this label, 0..18.", metavar="L")] = None,
    split: Split = None,
) -> None:
    """Take two percentiles of a measure for every label, from the cells of now.

    Example: hpastore thresholds --measure intensity_mean --lower 0.05 --upper 0.95
    """
    import hpastore
    from hpastore.clean.thresholds import measure_name

    rule = hpastore.Rule(measure, channel, lower, upper)
    with show.open_store() as store:
        found = hpastore.thresholds(store, rule, label=label, split=split)
        if not show.settings.json:
            found.insert(2, "measure", measure_name(store, rule))
    show.frame(found)


@app.command("create")
def create(
    name: Annotated[str, typer.Argument(help="A name; one that exists gets its next version.")],
    recipe: Annotated[
        str | None,
        typer.Option(help="Rules of their own: notebook, hpa, or a TOML file.", metavar="NAME|FILE.toml"),
    ] = None,
    measure: Measure = "fraction",
    channel: Channel = "green",
    lower: Lower = 0.001,
    upper: Upper = 0.999,
    min_green: Annotated[
        int | None,
        typer.Option(help="Cells whose brightest green pixel is below are dark; 0 turns this off. [64]"),
    ] = None,
    scope: Annotated[
        str | None,
        typer.Option(help="single: images with one label; all: each cell against each label. [single]"),
    ] = None,
    min_cells: Annotated[
        int | None,
        typer.Option(help="Where a label has fewer cells, its percentiles bound nothing. [1]", metavar="N"),
    ] = None,
    guard: Annotated[
        str | None,
        typer.Option(help="Of an image that would lose all cells: report, or keep its best. [report]"),
    ] = None,
    frozen: Annotated[
        bool, typer.Option("--frozen", help="Later versions keep its thresholds when data arrive.")
    ] = False,
    split: Annotated[
        str | None,
        typer.Option(
            help="Judge only cells of images of this split, and take thresholds from no others; refresh too.",
            metavar="NAME",
        ),
    ] = None,
) -> None:
    """Judge all cells by their label's percentiles or a recipe, and keep the verdicts under a name.

    Example: hpastore clean create mine --recipe hpa
    """
    from dataclasses import replace

    import hpastore

    if recipe is None:
        rules = hpastore.CleanRecipe((hpastore.Rule(measure, channel, lower, upper),))
    elif (measure, channel, lower, upper) != ("fraction", "green", 0.001, 0.999):
        raise hpastore.UsageError(
            "a recipe has rules of its own: leave out --measure, --channel, --lower and --upper"
        )
    else:
        rules = hpastore.load_recipe(recipe)
    options: dict[str, Any] = {"min_green": min_green, "scope": scope, "min_cells": min_cells, "guard": guard}
    given = {key: value for key, value in options.items() if value is not None}
    if given:  # the text would say otherwise
        rules = replace(rules, text=None, **given)
    with show.open_store() as store:
        _made(hpastore.create_clean_set(store, name, rules, frozen=frozen, split=split))


@app.command("recipe")
def recipe_(
    name: Annotated[str | None, typer.Argument(help="One of the shipped recipes; none lists them.")] = None,
) -> None:
    """Print a recipe that comes with hpastore, to begin one's own with.

    Example: hpastore clean recipe hpa > mine.toml
    """
    import hpastore
    from hpastore.clean.recipe import recipe_toml, shipped

    if name is None:
        show.document(shipped()) if show.settings.json else show.text("\n".join(shipped()) + "\n")
        return
    text = recipe_toml(hpastore.load_recipe(name))
    show.document({"recipe": text}) if show.settings.json else show.text(text)


@app.command("refresh")
def refresh(name: Name) -> None:
    """Make a new version by the same recipe, over the cells and overrides of now; say what flipped, and why.

    A frozen version's thresholds stay, and one that is limited to a split stays so.

    Example: hpastore clean refresh mine
    """
    import hpastore

    with show.open_store() as store:
        _made(hpastore.refresh_clean_set(store, name))


@app.command("freeze")
def freeze(
    name: Name, undo: Annotated[bool, typer.Option("--undo", help="Have it follow new data again.")] = False
) -> None:
    """Have a version keep its thresholds when data arrive.

    Example: hpastore clean freeze mine
    """
    import hpastore

    with show.open_store() as store:
        hpastore.freeze_clean_set(store, name, frozen=not undo)
    if show.settings.json:
        show.document({"clean_set": name, "frozen": not undo})
    else:
        show.line(f"{name} {'follows new data again' if undo else 'keeps its thresholds'}")


@app.command("drop")
def drop(name: Annotated[str, typer.Argument(help="NAME, all its versions, or NAME@VERSION.")]) -> None:
    """Delete a clean set, all its versions or one.

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


@app.command("list")
def list_() -> None:
    """List the clean sets with the numbers of their verdicts.

    Example: hpastore clean list
    """
    import hpastore

    with show.open_store() as store:
        show.frame(hpastore.clean_sets(store))


@app.command("show")
def show_(
    name: Name,
    recipe: Annotated[bool, typer.Option("--recipe", help="Its recipe as TOML instead.")] = False,
    emptied: Annotated[
        bool, typer.Option("--emptied", help="The images that lost all their cells instead.")
    ] = False,
) -> None:
    """Show a clean set: per label its verdicts counted by reason, and the bounds of its first percentiles.

    Example: hpastore clean show mine@1
    """
    import hpastore

    with show.open_store() as store:
        if recipe:
            text = hpastore.clean_set_recipe(store, name)
            show.document({"recipe": text}) if show.settings.json else show.text(text)
        elif emptied:
            show.frame(hpastore.emptied_images(store, name))
        else:
            _show_labels(hpastore.clean_set(store, name))
            _say_limits(*hpastore.clean_set_limits(store, name))


def _show_labels(found: pd.DataFrame) -> None:
    """Print verdicts by label; as text, the reasons of each in words: as columns no terminal holds them."""
    if show.settings.json:
        show.frame(found)
        return
    reasons = found.loc[:, "clean":"emptied"].columns[1:-1]
    told = found.drop(columns=[*reasons, "split", "channel", "idle_rules", "forced_drops"])
    told["measure"] = [_named(*pair) for pair in zip(found["channel"], found["measure"], strict=True)]
    told["reasons"] = [_counted(counts) for counts in found[reasons].to_dict("records")]
    show.frame(told)
    splits = found["split"].dropna().unique()
    limited = f"; only images of split {splits[0]} were judged" if len(splits) else ""
    show.message(f"{found['clean'].sum():,} of {found['cells'].sum():,} verdicts are clean{limited}")


def _counted(counts: Mapping[Hashable, int]) -> str:
    most = sorted(counts.items(), key=lambda count: -count[1])
    return ", ".join(f"{reason} {n:,}" for reason, n in most if n)


@app.command("diff")
def diff(
    a: Annotated[str, typer.Argument(help="NAME, the newest version, or NAME@VERSION.")],
    b: Annotated[str, typer.Argument(help="What it is compared with.")],
    summary: Annotated[bool, typer.Option("--summary", help="Only the number of cells by cause.")] = False,
) -> None:
    """List the cells that are clean in one set and not in the other, by cause.

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


@app.command("drift")
def drift(
    name: Annotated[
        str | None, typer.Argument(help="NAME or NAME@VERSION; else the newest version of each.")
    ] = None,
) -> None:
    """Say what a refresh would change; exit code 4 if that is anything.

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


@app.command("override")
def override(
    cells: Annotated[list[str], typer.Argument(help="NAME:ID of each.", metavar="CELL...")],
    keep: Annotated[
        bool | None, typer.Option("--keep/--drop", help="Clean or not, whatever the rules say.")
    ] = None,
    undo: Annotated[bool, typer.Option("--undo", help="Forget what was decided about them.")] = False,
    lost: Annotated[
        bool, typer.Option("--lost", help="With --undo: only about cells that are lost.")
    ] = False,
    label: Annotated[int | None, typer.Option(help="Only for this label, 0..18.", metavar="L")] = None,
    score: Annotated[float | None, typer.Option(help="How sure, 0..1.", metavar="S")] = None,
    comment: Annotated[str | None, typer.Option(help="Why.", metavar="TEXT")] = None,
    author: Annotated[
        str | None, typer.Option(help="Who decides; else the user's name.", metavar="NAME")
    ] = None,
) -> None:
    """Decide about cells; it takes effect with the next 'clean refresh' of a set.

    Example: hpastore clean override sample-0003:7 --drop --comment "two cells"
    """
    import hpastore

    if undo == (keep is not None):
        raise hpastore.UsageError("say one of --keep, --drop and --undo")
    if lost and not undo:
        raise hpastore.UsageError("--lost goes with --undo")
    with show.open_store() as store:
        if keep is None:
            n = hpastore.undo_overrides(store, cells, label=label, every=label is None, detached=lost)
        else:
            author = _user_name() if author is None else author
            decided = (hpastore.Override(c, keep, label, score, author, comment) for c in cells)
            n = hpastore.override_cells(store, decided)
        effect = _effect(store)
    _overridden(n, "undone" if keep is None else "written")
    if n:
        show.message(effect)


@app.command("overrides")
def overrides(
    lost: Annotated[bool, typer.Option("--lost", help="Only those without a cell.")] = False,
) -> None:
    """List what was decided about cells.

    Example: hpastore clean overrides --lost
    """
    import hpastore

    with show.open_store() as store:
        show.frame(hpastore.list_overrides(store, detached=lost))


@app.command("override-import")
def override_import(
    path: Annotated[Path, typer.Argument(help="A table, or lines 'IMAGE_CELL SCORE'.", metavar="FILE")],
    first_id: Annotated[
        int, typer.Option(help="In lines: what an image's first cell is called.", min=0, max=1)
    ] = 1,
    keep_from: Annotated[
        float, typer.Option(help="In lines: score from which on a cell is kept.", min=0, max=1)
    ] = 0.5,
    skip_unknown: Annotated[
        bool, typer.Option("--skip-unknown", help="Leave out what is about cells that the store has not.")
    ] = False,
) -> None:
    """Read what was decided about cells from a file: all of it, or nothing.

    Example: hpastore clean override-import scores.txt --first-id 0 --keep-from 0.8
    """
    import hpastore

    decided = hpastore.read_overrides(path, first_id=first_id, keep_from=keep_from)
    with show.open_store() as store:
        n = hpastore.override_cells(store, decided, skip_unknown=skip_unknown)
        effect = _effect(store)
    _overridden(n, "written")
    if n:
        show.message(effect)


@app.command("override-export")
def override_export(
    path: Annotated[Path, typer.Argument(help="The CSV.", metavar="OUT.csv")],
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
) -> None:
    """Write what was decided about cells as a CSV that override-import reads.

    Example: hpastore clean override-export decided.csv
    """
    import hpastore

    with show.open_store() as store:
        _overridden(hpastore.export_overrides(store, path, force=force), "exported")


def explain(cell: Annotated[str, typer.Argument(help="NAME:ID", metavar="CELL")]) -> None:
    """Say why a cell is clean or not: every rule's verdict, in every clean set.

    Example: hpastore explain sample-0003:7
    """
    import hpastore
    from hpastore.clean.explain import unjudged_text

    with show.open_store() as store:
        found = hpastore.explain(store, cell)
        if not found:
            show.message(unjudged_text(store, cell))
    if show.settings.json:
        show.document([asdict(one) for one in found])
        return
    for one in found:
        since = "" if one.since == one.version else f", since version {one.since}"
        limited = "" if one.split is None else f" of split {one.split}"
        verdict = _verdict(one.clean, one.reason)
        show.line(f"{one.clean_set}@{one.version}{limited}, {one.label}: {verdict}{since}")
        told = {"value": one.value, "lower": one.lower, "upper": one.upper}
        numbers = (f"{key} {value:.6g}" for key, value in told.items() if value is not None)
        place = "" if one.rank is None else f", rank {one.rank:,} of {one.n:,}"
        show.line(f"  {_named(one.channel, one.measure)}: {', '.join(numbers)}{place}")
        if one.override:
            show.line(f"  override: {one.override}")
        if one.later_override:
            refresh = f"'hpastore clean refresh {one.clean_set}' applies it"
            show.line(f"  override after this version: {one.later_override}; {refresh}")
        rows = [
            (c.reason, _named(c.channel, c.measure), c.value, c.lower, c.upper, _passed(c.passed, c.note))
            for c in one.checks
        ]
        show.line()
        print_table(["rule", "measure", "value", "lower", "upper", ""], rows)
        show.line()


_PASSED = {True: "passes", False: "FAILS", None: "not asked"}


def _passed(passed: bool | None, note: str | None) -> str:
    return _PASSED[passed] + (f": {note}" if note else "")


def _named(channel: str | None, measure: str | None) -> str:
    return " ".join(filter(None, (channel, measure)))


def _verdict(clean: bool, reason: str | None) -> str:
    return ("clean" if clean else "not clean") + (f", {reason}" if reason else "")


def _made(made: CleanSetSummary) -> None:
    if show.settings.json:
        show.document(asdict(made))
    else:
        limited = "" if made.split is None else f" of split {made.split}"
        show.line(f"{made.name}@{made.version}{limited}: {made.clean} of {made.cells} verdicts are clean")
        if made.flips:
            rows = [(f.label_id, f.label, f.change, f.cause, f.cells) for f in made.flips]
            print_table(["label_id", "label", "change", "cause", "cells"], rows)
    _say_superseded(made)
    _say_skipped(made)
    _say_limits(made.idle, made.forced)
    if made.emptied:
        show.message(
            f"{made.emptied} times an image lost all its cells for a label; "
            f"'hpastore clean show {made.name}@{made.version} --emptied' lists them; "
            "--guard keep keeps the best of each"
        )


def _say_superseded(made: CleanSetSummary) -> None:
    """Say that a name means another set than before, and how the two differ."""
    before = made.superseded
    if before is None:
        return
    now = f"{made.name}@{made.version}"
    differs = []
    if before.other_split:
        now += f" {_split_text(made.split)}"
        differs.append(_split_text(before.split))
    if before.other_rules:
        differs.append("by other rules")
    old = f"{made.name}@{before.version}, {' and '.join(differs)}"
    show.message(f"'{made.name}' now means {now}; {old}, stays as it is")


def _split_text(split: str | None) -> str:
    return "of all images" if split is None else f"of split {split}"


def _say_skipped(made: CleanSetSummary) -> None:
    """Say how many cells the scope leaves out."""
    from hpastore.text import count_text

    if made.skipped_images:
        cells = count_text(made.skipped_cells, "cell")
        images = count_text(made.skipped_images, "image")
        are = "is" if made.skipped_cells == 1 else "are"
        what = f"{cells} of {images} with several labels {are} not judged"
        show.message(f"{what} (scope single; --scope all judges them)")


def _say_limits(idle: Sequence[IdleRule], forced: Sequence[ForcedDrop]) -> None:
    from hpastore.clean.limits import limits_text

    for line in limits_text(idle, forced):
        show.message(line)


def _effect(store: Store) -> str:
    """Say when a decision takes effect."""
    import hpastore

    names = hpastore.clean_sets(store)["name"].unique()
    if not len(names):
        return "it takes effect in the next 'hpastore clean create NAME'"
    name = names[0] if len(names) == 1 else "NAME"
    which = "" if len(names) == 1 else f", NAME being one of {', '.join(names)}"
    return (
        f"clean sets stay as they are; it takes effect with the next 'hpastore clean refresh {name}'{which}"
    )


def _user_name() -> str | None:
    """Name the user who runs this; None where the system has no name, or none that a text may have."""
    import getpass

    try:
        name = getpass.getuser()
        name.encode()
    except (OSError, KeyError, ImportError, UnicodeEncodeError):
        return None
    return name or None


def _overridden(n: int, done: str) -> None:
    from hpastore.text import count_text

    if show.settings.json:
        show.document({done: n})
    else:
        show.line(f"{count_text(n, 'override')} {done}")
