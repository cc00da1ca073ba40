"""Rows of the tables of clean sets, typed: what is read once is passed on as these."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Final, Literal, NamedTuple, Protocol, TypeVar

Side = Literal["lower", "upper"]
SIDES: Final[tuple[Side, ...]] = ("lower", "upper")

BOUND_REASONS: Final[dict[Side, str]] = {"lower": "below_lower", "upper": "above_upper"}
"""The reasons of a rule that has none of its own: the first one with a percentile."""

MISSING_REASONS: Final = ("no_channel", "no_background", "no_value")
"""The reasons of a cell without the value that its first rule with a percentile needs."""

OVERRIDE_REASONS: Final = ("override_keep", "override_drop")


class CleanSetRow(NamedTuple):
    """A row of ``clean_set`` without its checksums."""

    id: int
    name: str
    version: int
    created_at: datetime
    scope: str
    min_green: int
    recipe_toml: str
    frozen: bool
    min_cells: int
    guard: str
    background_percentile: float | None
    split: str | None
    small_labels: str | None
    """What stands in for a label with few cells: ``image``, ``all`` or nothing."""
    recipe_version: int | None

    @property
    def versioned_name(self) -> str:
        """``NAME@VERSION``."""
        return f"{self.name}@{self.version}"


class RuleBound(NamedTuple):
    """One side of a rule as its recipe gives it: at most one of these is not None."""

    percentile: float | None
    value: float | None
    median: float | None
    image_median: float | None = None

    @property
    def is_given(self) -> bool:
        """Whether the rule has a bound on this side."""
        return any(number is not None for number in self)


class RuleRow(NamedTuple):
    """A row of ``clean_rule``."""

    id: int
    clean_set_id: int
    position: int
    label_id: int | None
    """None is every label."""
    labels: tuple[int, ...]
    """The labels that the rule is for; not stored."""
    grouped_by: str | None
    """A column of the label table."""
    group_value: str | None
    """What it says of the images that the rule is for; None is nothing."""
    measure: str
    channel: str | None
    lower: RuleBound
    upper: RuleBound
    reason: str | None
    """None is ``below_lower`` and ``above_upper``."""
    condition: str | None
    """A flag that a cell must have for the rule to apply."""
    shown: bool
    """Whether a cell that no rule drops is shown with the value of this rule."""

    @property
    def title(self) -> str:
        """The rule as messages name it, by the reason that it gives."""
        return self.reason or " / ".join(BOUND_REASONS.values())

    @property
    def has_percentile(self) -> bool:
        """Whether one of its bounds is a percentile."""
        return any(bound.percentile is not None for bound in (self.lower, self.upper))

    @property
    def has_median(self) -> bool:
        """Whether one of its bounds is a multiple of the label's median."""
        return any(bound.median is not None for bound in (self.lower, self.upper))

    @property
    def has_image_median(self) -> bool:
        """Whether one of its bounds is a multiple of the median of the cell's image."""
        return any(bound.image_median is not None for bound in (self.lower, self.upper))

    @property
    def is_from_cells(self) -> bool:
        """Whether one of its bounds is taken from the label's cells: a percentile or a median."""
        return self.has_percentile or self.has_median

    @property
    def decides_missing(self) -> bool:
        """Whether a cell without a value is dropped: by the first rule with a percentile only."""
        return self.shown and self.has_percentile

    @property
    def missing_reason(self) -> str:
        """The reason of a cell that has no value where `decides_missing`, but the channel."""
        return "no_background" if self.measure == "fraction" else "no_value"

    def bound(self, side: Side) -> RuleBound:
        """Give one side of the rule."""
        return self.lower if side == "lower" else self.upper

    def bound_reason(self, side: Side) -> str:
        """Name the reason of the cells that exceed one side."""
        return self.reason or BOUND_REASONS[side]


class BoundRow(NamedTuple):
    """The bounds of a rule for a label, as numbers in the measure's unit.

    They are a row of ``clean_set_threshold``, or current: taken from the cells that the store holds
    now.
    """

    rule_id: int
    label_id: int
    n: int
    """Cells of images with this one label that have a value."""
    lower: float | None
    upper: float | None
    stand_in: str | None = None
    """What the bounds were taken from in place of the label: ``all``, the cells of all labels; or
    ``image``, the median of each cell's image, and then bounds by the label's median are None."""

    def side(self, side: Side) -> float | None:
        """Give the bound on one side."""
        return self.lower if side == "lower" else self.upper


def image_factor(rule: RuleRow, side: Side, stand_in: str | None) -> float | None:
    """Give the multiple of its image's median that bounds a cell on one side; None without one.

    Parameters
    ----------
    rule, side
    stand_in
        What stands in for the cell's label.
    """
    bound = rule.bound(side)
    if bound.image_median is not None:
        return bound.image_median
    return bound.median if stand_in == "image" else None


class _HasReason(Protocol):
    @property
    def reason(self) -> str | None: ...
    @property
    def shown(self) -> bool: ...


_Rule = TypeVar("_Rule", bound=_HasReason)


def deciding_rule(rules: Iterable[_Rule], reason: str | None) -> _Rule | None:
    """Choose the rule that a verdict's reason names, or else the one whose value is shown.

    Parameters
    ----------
    rules
        Of one clean set and label, in their order.
    reason
        None for a clean cell.
    """
    rules = list(rules)
    stored = None if reason in BOUND_REASONS.values() else reason
    if reason is not None:
        for rule in rules:
            if rule.reason == stored:
                return rule
    return next((rule for rule in rules if rule.shown), None)
