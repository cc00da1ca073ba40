"""The command that explains why a cell is clean or not."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Final

import typer

from hpastore.cli import show
from hpastore.cli.table import print_table
from hpastore.text import measure_name

if TYPE_CHECKING:
    from hpastore.clean.explain import Check, Explanation

_OUTCOMES: Final = {True: "passes", False: "FAILS", None: "not checked"}


def explain(
    cell: Annotated[
        str,
        typer.Argument(help="The cell: its image's name and its id, as NAME:ID.", metavar="CELL"),
    ],
) -> None:
    """Explain why a cell is clean or not: the result of every rule, in every clean set.

    Example: hpastore explain sample-0003:7
    """
    import hpastore
    from hpastore.clean.explain import unjudged_text

    with show.open_store() as store:
        explanations = hpastore.explain(store, cell)
        if not explanations:
            show.message(unjudged_text(store, cell))
    if show.settings.json:
        show.document([asdict(one) for one in explanations])
        return
    for one in explanations:
        _print(one)


def _print(one: Explanation) -> None:
    """Print the verdict, the value that decided, and a table of all rules."""
    split = "" if one.split is None else f" of split {one.split}"
    verdict = "clean" if one.clean else "not clean"
    reason = f", {one.reason}" if one.reason else ""
    since = "" if one.since == one.version else f", since version {one.since}"
    show.line(f"{one.clean_set}@{one.version}{split}, {one.label}: {verdict}{reason}{since}")

    if one.measure is not None:
        numbers = {"value": one.value, "lower": one.lower, "upper": one.upper}
        shown = ", ".join(f"{name} {n:.6g}" for name, n in numbers.items() if n is not None)
        rank = "" if one.rank is None else f", rank {one.rank:,} of {one.n:,}"
        show.line(f"  {measure_name(one.channel, one.measure)}: {shown}{rank}")
    if one.override:
        show.line(f"  override: {one.override}")
    if one.later_override:
        refresh = f"'hpastore clean refresh {one.clean_set}' applies it"
        show.line(f"  override after this version: {one.later_override}; {refresh}")

    show.line()
    print_table(["rule", "measure", "value", "lower", "upper", ""], [_row(c) for c in one.checks])
    show.line()


def _row(check: Check) -> tuple[object, ...]:
    name = measure_name(check.channel, check.measure)
    note = f": {check.note}" if check.note else ""
    outcome = f"{_OUTCOMES[check.passed]}{note}"
    return (check.reason, name, check.value, check.lower, check.upper, outcome)
