"""Rules and recipes: what decides whether a cell is clean."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, get_args

from hpastore.arguments import require_share
from hpastore.classes import DEFAULT_CLASSES, Classes
from hpastore.clean.bound import Bound, BoundKind
from hpastore.errors import UsageError
from hpastore.kernels.definitions import SHAPE_MEASURES, channel_of
from hpastore.schema.clean_rows import SIDES, Side
from hpastore.text import printable
from hpastore.vocabulary import REASONS, Guard, Scope

SCOPES: Final = get_args(Scope)
GUARDS: Final = get_args(Guard)

FLAGS: Final = (*(m.name for m in SHAPE_MEASURES if m.kind == "flag"), "no_nucleus")
"""Rules without bounds: a cell that has the flag is dropped."""

REASON_PATTERN: Final = re.compile(r"[a-z][a-z0-9_]{0,63}")

_MAX_LEVEL: Final = 255

_MAX_MIN_CELLS: Final = 2**31 - 1
"""The largest integer that both databases hold in ``clean_set.min_cells``."""

MAX_RULES: Final = 500
"""Of a recipe, those of all its labels together; PostgreSQL takes 1,664 columns in a SELECT."""

SHOWN: Final = (
    *("label_id", "label", "split", "measure", "channel"),
    *("n", "lower", "upper", "cells", "clean"),
)
"""First columns of a table of verdicts by label, before one for each reason."""

COUNTED: Final = ("emptied", "idle_rules", "forced_drops")
"""Its last columns: numbers of emptied images, of `IdleRule` and of `ForcedDrop`."""

_COLUMNS: Final = (*SHOWN, *COUNTED, "reasons")
"""None of these may be a reason."""

CustomChannels = Mapping[str, Sequence[str | None]]
"""The channels of each custom measure; None is the cell as a whole."""


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
        that is not green, and ``below_lower`` and ``above_upper`` for the first rule with a
        percentile.
    where : str, optional
        One of `FLAGS`; the rule applies only to cells that have it.
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
    def sides(self) -> dict[Side, tuple[BoundKind, float]]:
        """Kind and number of each bound that the rule has, by ``lower`` and ``upper``."""
        sides: dict[Side, tuple[BoundKind, float]] = {}
        if self.is_flag:
            return sides
        for side in SIDES:
            bound = self.lower if side == "lower" else self.upper
            if bound is not None:
                bound = bound if isinstance(bound, Bound) else Bound(percentile=bound)
                sides[side] = bound.resolve()
        return sides

    @property
    def has_percentile(self) -> bool:
        """Whether one of its bounds is a percentile."""
        return any(kind == "percentile" for kind, _ in self.sides.values())

    def validated(self, custom: CustomChannels | None = None) -> Rule:
        """Return the rule with the channel of its measure, and its percentiles as `Bound`.

        Parameters
        ----------
        custom
            The custom measures of the store.

        Raises
        ------
        UsageError
            If there is no such measure, channel or flag, a percentile is not a share, or the lower
            bound is above the upper.
        """
        if self.where is not None and self.where not in FLAGS:
            raise UsageError(f"invalid flag {self.where!r} (choose from {', '.join(FLAGS)})")
        if self.name is not None and not REASON_PATTERN.fullmatch(self.name):
            raise UsageError(
                f"invalid rule name {self.name!r}; use up to 64 small letters, digits and '_', "
                "a letter first"
            )
        if self.is_flag:
            return replace(self, channel=None, lower=None, upper=None)
        channel = _channel(self, custom or {})
        sides = self.sides
        if not sides:
            raise UsageError(f"the rule on {self.measure} has neither a lower nor an upper bound")
        for side, (kind, number) in sides.items():
            if kind == "percentile":
                require_share(number, side)
        _require_order(sides)
        bounds = {side: Bound(**{kind: number}) for side, (kind, number) in sides.items()}
        return replace(self, channel=channel, lower=bounds.get("lower"), upper=bounds.get("upper"))


@dataclass(frozen=True)
class CleanRecipe:
    """Everything that decides about the cells of a clean set.

    Parameters
    ----------
    rules : tuple of Rule
        In their order: the first that fails gives a cell's reason.  By default the notebook's one.
    min_green : int
        Cells whose brightest green pixel is darker are dark, hence not clean, except in images
        whose only label is the negative class; 0 turns this off.  The default is the notebook's
        MAX_GREEN.
    scope : str
        ``single`` judges the cells of images with one label; ``all`` judges each cell against each
        label of its image.
    labels : mapping of int or str to tuple of Rule
        Rules of single labels, given by id or name, in place of `rules`.
    min_cells : int
        The percentiles and medians of a label with fewer cells that have a value bound nothing.
    guard : str
        For an image that would lose all its cells for a label: ``report`` reports it, ``keep``
        keeps the cell that passed the most rules, of several the largest.
    text : str, optional
        The text of the file that it was read from.
    """

    rules: tuple[Rule, ...] = (Rule(),)
    min_green: int = 64
    scope: Scope = "single"
    labels: Mapping[int | str, tuple[Rule, ...]] = field(default_factory=dict)
    min_cells: int = 1
    guard: Guard = "report"
    text: str | None = field(default=None, compare=False, repr=False)

    def validated(
        self, custom: CustomChannels | None = None, classes: Classes = DEFAULT_CLASSES
    ) -> CleanRecipe:
        """Return the recipe with its rules validated, and its labels as ids.

        Parameters
        ----------
        custom
            The custom measures of the store.
        classes
            The classes of the store.

        Raises
        ------
        UsageError
            If a value is invalid.
        """
        if self.scope not in SCOPES:
            raise UsageError(f"invalid scope {self.scope!r} (choose from {', '.join(SCOPES)})")
        if self.guard not in GUARDS:
            raise UsageError(f"invalid guard {self.guard!r} (choose from {', '.join(GUARDS)})")
        if not 0 <= self.min_green <= _MAX_LEVEL + 1:
            raise UsageError(
                f"invalid min_green {self.min_green}; use a grey level from 0 to {_MAX_LEVEL + 1}"
            )
        if not 0 <= self.min_cells <= _MAX_MIN_CELLS:
            raise UsageError(
                f"invalid min_cells {self.min_cells}; use a number from 0 to {_MAX_MIN_CELLS}"
            )
        rules_by_label = self.rules_by_label(classes)
        count = len(self.rules) + sum(map(len, self.labels.values()))
        if count > MAX_RULES:
            raise UsageError(f"the recipe has {count} rules; use at most {MAX_RULES}")
        rules = _validated_rules(self.rules, custom)
        labels: dict[int | str, tuple[Rule, ...]] = {}
        for label, of_label in rules_by_label.items():
            labels[label] = _validated_rules(of_label, custom, f" of label {label}")
        return replace(self, rules=rules, labels=labels)

    def rules_by_label(self, classes: Classes) -> dict[int, tuple[Rule, ...]]:
        """Give the rules of single labels by id, ascending.

        Raises
        ------
        UsageError
            If a label does not exist, or is given twice.
        """
        found: dict[int, tuple[Rule, ...]] = {}
        for label, rules in self.labels.items():
            try:
                label_id = classes.find(label)
            except UsageError as error:
                where = f"[label.{printable(str(label))}] of the recipe"
                fix = "or rename or delete this section in a copy of the recipe"
                raise UsageError(f"{where}: {error}, {fix}") from error
            if label_id in found:
                raise UsageError(
                    f"label {label_id} has two lists of rules, by its id and by its name"
                )
            found[label_id] = rules
        return dict(sorted(found.items()))

    def rule_lists(
        self, classes: Classes
    ) -> Iterator[tuple[tuple[int, ...] | None, tuple[Rule, ...]]]:
        """Give each list of rules with the labels that it is for; None is every label."""
        rules_by_label = self.rules_by_label(classes)
        others = tuple(label for label in classes.ids if label not in rules_by_label)
        yield (others if rules_by_label else None), self.rules
        for label, rules in rules_by_label.items():
            yield (label,), rules

    def rows(self, classes: Classes) -> list[dict[str, Any]]:
        """Give the recipe's rows of ``clean_rule``: one per rule, or per rule and label."""
        rows: list[dict[str, Any]] = []
        position = 0
        for labels, rules in self.rule_lists(classes):
            shown = _shown_rule(rules)
            for rule in rules:
                position += 1
                columns = {**_columns(rule, rules), "position": position, "shown": rule is shown}
                label_ids: Sequence[int | None] = (None,) if labels is None else labels
                rows += [{"label_id": label, **columns} for label in label_ids]
        return rows


def reason_of(rule: Rule, rules: Sequence[Rule]) -> str | None:
    """Name the reason that a rule of a list gives; None is below_lower and above_upper."""
    if rule.name is not None:
        return rule.name
    if rule.has_percentile and rule is _shown_rule(rules):
        return None
    return rule.measure if rule.channel in (None, "green") else f"{rule.channel}_{rule.measure}"


def _require_order(sides: Mapping[Side, tuple[BoundKind, float]]) -> None:
    """Refuse a lower bound above an upper one of the same kind."""
    if len(sides) < 2:
        return
    lower_kind, lower = sides["lower"]
    upper_kind, upper = sides["upper"]
    if lower_kind == upper_kind and lower > upper:
        raise UsageError(f"lower {lower:g} is above upper {upper:g}")


def _channel(rule: Rule, custom: CustomChannels) -> str | None:
    """Find the channel of a rule's measure; None for a measure of the whole cell."""
    if rule.measure not in custom:
        return channel_of(rule.measure, rule.channel, custom)
    channels = custom[rule.measure]
    if None in channels:
        return None
    if rule.channel not in channels:
        raise UsageError(
            f"{rule.measure} has no channel {rule.channel!r} (choose from "
            f"{', '.join(map(str, channels))})"
        )
    return rule.channel


def _validated_rules(
    rules: Sequence[Rule], custom: CustomChannels | None, of_label: str = ""
) -> tuple[Rule, ...]:
    """Validate a list of rules, each and their reasons together."""
    valid = []
    for n, rule in enumerate(rules, 1):
        try:
            valid.append(rule.validated(custom))
        except UsageError as error:
            raise UsageError(
                f"rule {n}{of_label}, {printable(rule.name or rule.measure)}: {error}"
            ) from error

    seen: set[str | None] = set()
    for n, rule in enumerate(valid, 1):
        reason = reason_of(rule, valid)
        where = f"rule {n}{of_label}, {rule.name or rule.measure}"
        if reason in REASONS or reason in _COLUMNS:
            raise UsageError(
                f"{where}: the reason {reason!r} is reserved; give the rule another name"
            )
        if reason in seen:
            raise UsageError(
                f"{where}: another rule has the reason {reason!r}; give one of them another name"
            )
        seen.add(reason)
    return tuple(valid)


def _shown_rule(rules: Sequence[Rule]) -> Rule | None:
    """Choose the rule whose value is shown for clean cells: the first with a percentile."""
    first = rules[0] if rules else None
    return next((rule for rule in rules if rule.has_percentile), first)


def _columns(rule: Rule, rules: Sequence[Rule]) -> dict[str, Any]:
    """Columns of ``clean_rule`` that describe the rule itself; a flag becomes a bound."""
    bounds: dict[str, float | None] = {
        f"{side}_{kind}": None for side in SIDES for kind in get_args(BoundKind)
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
