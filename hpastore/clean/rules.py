"""What makes a cell clean, as a value."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Final

from hpastore.arguments import require_share
from hpastore.errors import UsageError
from hpastore.kernels.custom import MAX_VALUE
from hpastore.kernels.definitions import SHAPE_MEASURES, channel_of
from hpastore.text import printable
from hpastore.vocabulary import LABEL_NAMES, REASONS, find_label

SCOPES: Final = ("single", "all")
GUARDS: Final = ("report", "keep")

FLAGS: Final = (*(m.name for m in SHAPE_MEASURES if m.kind == "flag"), "no_nucleus")
"""Rules without bounds: a cell that has the flag is dropped."""

NAME_PATTERN: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
REASON_PATTERN: Final = re.compile(r"[a-z][a-z0-9_]{0,63}")

_BRIGHTEST: Final = 255

_MOST_CELLS: Final = 2**31 - 1
"""As both databases hold `min_cells`."""

_MOST_TIMES: Final = 1e6
"""Of a label's median: a product beyond the range of numbers ends every query of PostgreSQL."""

MOST_RULES: Final = 500
"""Of a recipe, those of all its labels together; PostgreSQL takes 1,664 columns in a SELECT."""

SHOWN: Final = (
    *("label_id", "label", "split", "measure", "channel"),
    *("n", "lower", "upper", "cells", "clean"),
)
"""What a table of verdicts by label begins with, before a column for each reason."""

COUNTED: Final = ("emptied", "idle_rules", "forced_drops")
"""What it ends with: images that lost all cells, rules that bound nothing, percentiles that must drop one."""

_COLUMNS: Final = (*SHOWN, *COUNTED, "reasons")
"""None of these is a reason."""

Own = Mapping[str, Sequence[str | None]]
"""The channels of each measure that users added; None is a cell as a whole."""


@dataclass(frozen=True)
class Bound:
    """One side of what a cell's value may be; one of the three.

    Parameters
    ----------
    percentile : float, optional
        Of the label's cells, a share 0..1.
    value : float, optional
        In the measure's unit.
    median : float, optional
        Times the label's median.
    """

    percentile: float | None = None
    value: float | None = None
    median: float | None = None

    def said(self) -> tuple[str, float]:
        """Return the kind of bound and its number.

        Raises
        ------
        UsageError
            If it is not one number of one kind.
        """
        given = [(f.name, getattr(self, f.name)) for f in fields(self) if getattr(self, f.name) is not None]
        if len(given) != 1:
            raise UsageError("a bound is one of {percentile = P}, {value = V} and {median = M}")
        kind, number = given[0]
        is_number = isinstance(number, int | float) and not isinstance(number, bool)
        if not is_number or (kind != "percentile" and not abs(number) < math.inf) or abs(number) > MAX_VALUE:
            raise UsageError(f"a bound's {kind} takes a number, not {printable(repr(number))}")
        if kind == "median" and abs(number) > _MOST_TIMES:
            raise UsageError(f"a bound's median takes a factor up to {_MOST_TIMES:g}, not {number:g}")
        return kind, float(number)


@dataclass(frozen=True)
class Rule:
    """Keep a cell whose measure lies between two bounds, both inclusive.

    Parameters
    ----------
    measure : str
        A measure's name, by default the notebook's ``fraction``; or one of `FLAGS`, which has no
        bounds and drops the cells that have the flag.
    channel : str, optional
        The measure's channel; ignored for a measure of a whole cell.
    lower, upper : Bound or float, optional
        A number is a percentile as a share 0..1; the defaults are the notebook's.  None bounds
        nothing.
    name : str, optional
        The reason of the cells that it drops; by default the measure's name, after the channel's if
        that is not green, and ``below_lower`` and ``above_upper`` for the first rule with a percentile.
    where : str, optional
        One of `FLAGS`; the rule is asked for cells that have it and for no others.
    """

    measure: str = "fraction"
    channel: str | None = "green"
    lower: Bound | float | None = 0.001
    upper: Bound | float | None = 0.999
    name: str | None = None
    where: str | None = None

    @property
    def is_flag(self) -> bool:
        """Whether the rule drops cells that have a flag."""
        return self.measure in FLAGS

    @property
    def sides(self) -> dict[str, tuple[str, float]]:
        """Kind and number of each bound that there is, by ``lower`` and ``upper``."""
        bounds = {} if self.is_flag else {"lower": self.lower, "upper": self.upper}
        return {
            side: (bound if isinstance(bound, Bound) else Bound(percentile=bound)).said()
            for side, bound in bounds.items()
            if bound is not None
        }

    @property
    def has_percentile(self) -> bool:
        """Whether it has a bound that is a percentile."""
        return any(kind == "percentile" for kind, _ in self.sides.values())

    def checked(self, own: Own | None = None) -> Rule:
        """Return the rule with its channel put right, and percentiles as bounds.

        Parameters
        ----------
        own
            Measures that users added.

        Raises
        ------
        UsageError
            If there is no such measure, channel or flag, a percentile is not a share, or the lower bound
            is above the upper.
        """
        if self.where is not None and self.where not in FLAGS:
            raise UsageError(f"no flag {self.where!r}; there are {', '.join(FLAGS)}")
        if self.name is not None and not REASON_PATTERN.fullmatch(self.name):
            raise UsageError(f"{self.name!r} cannot be a rule's name; use small letters, digits and '_'")
        if self.is_flag:
            return replace(self, channel=None, lower=None, upper=None)
        channel = _own_channel(self, own or {})
        sides = self.sides
        if not sides:
            raise UsageError(f"the rule on {self.measure} has neither a lower nor an upper bound")
        for side, (kind, number) in sides.items():
            if kind == "percentile":
                require_share(number, side)
        kinds = {kind for kind, _ in sides.values()}
        if len(sides) == 2 and len(kinds) == 1 and sides["lower"][1] > sides["upper"][1]:
            raise UsageError(f"lower {sides['lower'][1]:g} is above upper {sides['upper'][1]:g}")
        bounds = {side: Bound(**{kind: number}) for side, (kind, number) in sides.items()}
        return replace(self, channel=channel, lower=bounds.get("lower"), upper=bounds.get("upper"))


@dataclass(frozen=True)
class CleanRecipe:
    """Everything that a clean set is made from.

    Parameters
    ----------
    rules : tuple of Rule
        In their order: the first that fails gives a cell's reason.  By default the notebook's one.
    min_green : int
        Cells whose brightest green pixel is below are dark, hence not clean, except in images whose
        only label is Negative; 0 turns this off.  The default is the notebook's MAX_GREEN.
    scope : str
        ``single`` judges the cells of images with one label; ``all`` judges each cell against each
        label of its image.
    labels : mapping of int or str to tuple of Rule
        Rules of single labels, given by id or name, in place of `rules`.
    min_cells : int
        Where a label has fewer cells with a value, but any, its percentiles and medians bound nothing.
    guard : str
        Of an image that would lose all its cells for a label: ``report`` says so, ``keep`` keeps the
        cell that passed the most rules, of several the largest.
    text : str, optional
        The file that it was read from.
    """

    rules: tuple[Rule, ...] = (Rule(),)
    min_green: int = 64
    scope: str = "single"
    labels: Mapping[int | str, tuple[Rule, ...]] = field(default_factory=dict)
    min_cells: int = 1
    guard: str = "report"
    text: str | None = field(default=None, compare=False, repr=False)

    def checked(self, own: Own | None = None) -> CleanRecipe:
        """Return the recipe with its rules checked.

        Parameters
        ----------
        own
            Measures that users added.

        Raises
        ------
        UsageError
            If a value makes no sense.
        """
        if self.scope not in SCOPES:
            raise UsageError(f"no scope {self.scope!r}; there are {' and '.join(SCOPES)}")
        if self.guard not in GUARDS:
            raise UsageError(f"no guard {self.guard!r}; there are {' and '.join(GUARDS)}")
        if not 0 <= self.min_green <= _BRIGHTEST + 1:
            raise UsageError(f"min green takes a grey level from 0 to {_BRIGHTEST + 1}, not {self.min_green}")
        if not 0 <= self.min_cells <= _MOST_CELLS:
            raise UsageError(f"min cells takes a number from 0 to {_MOST_CELLS}, not {self.min_cells}")
        of_labels = self.rules_by_label()
        count = len(self.rules) + sum(map(len, self.labels.values()))
        if count > MOST_RULES:
            raise UsageError(f"a recipe has up to {MOST_RULES} rules, not {count}")
        rules = _checked_list(self.rules, own)
        labels: dict[int | str, tuple[Rule, ...]] = {}
        for label, of_label in of_labels.items():
            labels[label] = _checked_list(of_label, own, f" of label {label}")
        return replace(self, rules=rules, labels=labels)

    def rules_by_label(self) -> dict[int, tuple[Rule, ...]]:
        """Give the rules of single labels by id, ascending.

        Raises
        ------
        UsageError
            If a label does not exist, or is given twice.
        """
        found: dict[int, tuple[Rule, ...]] = {}
        for label, rules in self.labels.items():
            label_id = find_label(label)
            if label_id in found:
                raise UsageError(f"label {label_id} has two lists of rules, by its id and by its name")
            found[label_id] = rules
        return dict(sorted(found.items()))

    def lists(self) -> Iterator[tuple[tuple[int, ...] | None, tuple[Rule, ...]]]:
        """Give each list of rules, with the labels that it is for, if any; None is every label."""
        of_labels = self.rules_by_label()
        others = tuple(label for label in range(len(LABEL_NAMES)) if label not in of_labels)
        yield (others if of_labels else None), self.rules
        for label, rules in of_labels.items():
            yield (label,), rules

    def rows(self) -> list[dict[str, Any]]:
        """Give the recipe's rows of ``clean_rule``: one per rule, or per rule and label."""
        rows = []
        position = 0
        for labels, rules in self.lists():
            shown = _shown(rules)
            for rule in rules:
                position += 1
                columns = {**_columns(rule, rules), "position": position, "shown": rule is shown}
                rows += [{"label_id": label, **columns} for label in ((None,) if labels is None else labels)]
        return rows


def check_name(name: str) -> None:
    """Refuse a name that no clean set may have.

    Raises
    ------
    UsageError
    """
    if not NAME_PATTERN.fullmatch(name):
        raise UsageError(
            f"{name!r} cannot be a clean set's name; use letters, digits, '.', '_' and '-', up to 64"
        )


def reason_of(rule: Rule, rules: Sequence[Rule]) -> str | None:
    """Name the reason of the cells that a rule of a list drops; None is below_lower and above_upper."""
    if rule.name is not None:
        return rule.name
    if rule.has_percentile and rule is _shown(rules):
        return None
    return rule.measure if rule.channel in (None, "green") else f"{rule.channel}_{rule.measure}"


def _own_channel(rule: Rule, own: Own) -> str | None:
    """Say which channel a rule's measure is of."""
    if rule.measure not in own:
        return channel_of(rule.measure, rule.channel, own)
    channels = own[rule.measure]
    if None in channels:
        return None
    if rule.channel not in channels:
        raise UsageError(
            f"no channel {rule.channel!r} for {rule.measure}; there are {', '.join(map(str, channels))}"
        )
    return rule.channel


def _checked_list(rules: Sequence[Rule], own: Own | None, of_label: str = "") -> tuple[Rule, ...]:
    checked = []
    for n, rule in enumerate(rules, 1):
        try:
            checked.append(rule.checked(own))
        except UsageError as error:
            raise UsageError(
                f"rule {n}{of_label}, {printable(rule.name or rule.measure)}: {error}"
            ) from error
    seen: set[str | None] = set()
    for n, rule in enumerate(checked, 1):
        reason = reason_of(rule, checked)
        where = f"rule {n}{of_label}, {rule.name or rule.measure}"
        if reason in REASONS or reason in _COLUMNS:
            raise UsageError(f"{where}: {reason!r} is no reason for a rule to give; give it another name")
        if reason in seen:
            raise UsageError(f"{where}: another rule gives the reason {reason!r} too; give it another name")
        seen.add(reason)
    return tuple(checked)


def _shown(rules: Sequence[Rule]) -> Rule | None:
    """Choose the rule with whose value a cell is shown that none drops: the first with a percentile."""
    return next((rule for rule in rules if rule.has_percentile), rules[0] if rules else None)


def _columns(rule: Rule, rules: Sequence[Rule]) -> dict[str, Any]:
    """What a row of ``clean_rule`` says of the rule itself; a flag is a bound like any other."""
    bounds: dict[str, float | None] = {
        f"{side}_{f.name}": None for side in ("lower", "upper") for f in fields(Bound)
    }
    measure = rule.measure
    if measure == "no_nucleus":
        measure, bounds["lower_value"] = "nucleus_area", 1.0
    elif rule.is_flag:
        bounds["upper_value"] = 0.0
    for side, (kind, number) in rule.sides.items():
        bounds[f"{side}_{kind}"] = number
    return {
        "measure": measure,
        "channel": rule.channel,
        "reason": reason_of(rule, rules),
        "condition": rule.where,
        **bounds,
    }
