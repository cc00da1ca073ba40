"""Rules and recipes: what decides whether a cell is clean."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Any, Final, get_args

from hpastore.arguments import require_share
from hpastore.classes import DEFAULT_CLASSES, Classes
from hpastore.clean.bound import Bound, BoundKind
from hpastore.errors import UsageError
from hpastore.kernels.definitions import SHAPE_MEASURES, channel_of
from hpastore.schema.clean_rows import SIDES, Side
from hpastore.text import printable
from hpastore.vocabulary import REASONS, Guard, LabelSections, Scope, SmallLabels

SCOPES: Final = get_args(Scope)
GUARDS: Final = get_args(Guard)
SMALL_LABELS: Final = get_args(SmallLabels)
LABEL_SECTIONS: Final = get_args(LabelSections)

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

Groups = Mapping[str, Sequence[str]]
"""What each column of the label table says, of the columns by which rules are grouped."""


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
    by : str, optional
        A column of the label table, such as ``cell_line``: percentiles and medians are those of the
        label's cells in images for which the column says the same.
    """

    measure: str = "fraction"
    channel: str | None = "green"
    lower: Bound | float | None = 0.001
    upper: Bound | float | None = 0.999
    name: str | None = None
    where: str | None = None
    by: str | None = None

    @property
    def key(self) -> str:
        """What the section of a label calls the rule: its name, or what it measures."""
        return self.name or _measure_reason(self)

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

    def validated(
        self, custom: CustomChannels | None = None, columns: Sequence[str] | None = None
    ) -> Rule:
        """Return the rule with the channel of its measure, and its percentiles as `Bound`.

        Parameters
        ----------
        custom
            The custom measures of the store.
        columns
            The columns of the label table that the store keeps; None if they are not known.

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
        _require_column(self, columns)
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
class LabelRules:
    """How the rules of one label differ from those of all labels.

    Parameters
    ----------
    rules : tuple of Rule
        One with the name of a rule of all labels replaces it, the others come after those.
    off : tuple of str
        Names of rules of all labels that are not for this one.
    optional : bool
        Whether a store without this class ignores the section.
    """

    rules: tuple[Rule, ...] = ()
    off: tuple[str, ...] = ()
    optional: bool = False


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
    labels : mapping of int or str to LabelRules or tuple of Rule
        What differs for single labels, given by id or name; a tuple is the rules alone.
    min_cells : int
        The percentiles and medians of a label with fewer cells that have a value are not used.
    guard : str
        For an image that would lose all its cells for a label: ``report`` reports it, ``keep``
        keeps the cell that passed the most rules, of several the largest.
    small_labels : str
        What stands in for a label with fewer than `min_cells` cells: ``nothing``; ``image``, where
        multiples of the label's median become multiples of the median of the cell's image, and
        percentiles bound nothing; or ``all``, the cells of all labels.
    label_sections : str
        Whether `labels` ``change`` the rules of all labels, or ``replace`` them.
    negative_class : LabelRules, optional
        What differs for the negative class, whatever its name; ignored without one.
    text : str, optional
        The text of the file that it was read from.
    """

    rules: tuple[Rule, ...] = (Rule(),)
    min_green: int = 64
    scope: Scope = "single"
    labels: Mapping[int | str, LabelRules | tuple[Rule, ...]] = field(default_factory=dict)
    min_cells: int = 1
    guard: Guard = "report"
    small_labels: SmallLabels = "nothing"
    label_sections: LabelSections = "change"
    negative_class: LabelRules | None = None
    text: str | None = field(default=None, compare=False, repr=False)

    def validated(
        self,
        custom: CustomChannels | None = None,
        classes: Classes = DEFAULT_CLASSES,
        columns: Sequence[str] | None = None,
    ) -> CleanRecipe:
        """Return the recipe with its rules validated, and its labels as ids.

        Parameters
        ----------
        custom
            The custom measures of the store.
        classes
            The classes of the store.
        columns
            The columns of the label table that the store keeps; None if they are not known.

        Raises
        ------
        UsageError
            If a value is invalid.
        """
        _require_one_of("scope", self.scope, SCOPES)
        _require_one_of("guard", self.guard, GUARDS)
        _require_one_of("small_labels", self.small_labels, SMALL_LABELS)
        _require_one_of("label_sections", self.label_sections, LABEL_SECTIONS)
        if not 0 <= self.min_green <= _MAX_LEVEL + 1:
            raise UsageError(
                f"invalid min_green {self.min_green}; use a grey level from 0 to {_MAX_LEVEL + 1}"
            )
        if not 0 <= self.min_cells <= _MAX_MIN_CELLS:
            raise UsageError(
                f"invalid min_cells {self.min_cells}; use a number from 0 to {_MAX_MIN_CELLS}"
            )
        sections = self.sections(classes)
        count = len(self.rules) + sum(len(section.rules) for section in sections.values())
        if count > MAX_RULES:
            raise UsageError(f"the recipe has {count} rules; use at most {MAX_RULES}")
        rules = _validated_rules(self.rules, custom, columns)
        _require_reasons(rules)
        labels: dict[int | str, LabelRules | tuple[Rule, ...]] = {}
        for label, section in sections.items():
            of_label = f" of label {label}"
            changed = replace(
                section, rules=_validated_rules(section.rules, custom, columns, of_label)
            )
            _require_reasons(_changed(rules, changed, self.label_sections, of_label), of_label)
            labels[label] = changed
        return replace(self, rules=rules, labels=labels, negative_class=None)

    def sections(self, classes: Classes) -> dict[int, LabelRules]:
        """Give what differs for single labels by id, ascending.

        Raises
        ------
        UsageError
            If a label does not exist, or is given twice.
        """
        found: dict[int, LabelRules] = {}
        for label, given in self.labels.items():
            section = given if isinstance(given, LabelRules) else LabelRules(tuple(given))
            try:
                label_id = classes.find(label)
            except UsageError as error:
                if section.optional:
                    continue
                where = f"[label.{printable(str(label))}] of the recipe"
                fix = "or rename or delete this section in a copy of the recipe"
                raise UsageError(f"{where}: {error}, {fix}") from error
            if label_id in found:
                raise UsageError(f"label {label_id} has two sections, by its id and by its name")
            found[label_id] = section
        if self.negative_class is not None and classes.negative is not None:
            if classes.negative in found:
                raise UsageError(
                    f"label {classes.negative} has two sections: [negative_class] and its own"
                )
            found[classes.negative] = self.negative_class
        return dict(sorted(found.items()))

    def rules_of(self, label: int, classes: Classes = DEFAULT_CLASSES) -> tuple[Rule, ...]:
        """Give the rules that decide about cells under a label, in their order."""
        section = self.sections(classes).get(label)
        return self.rules if section is None else _changed(self.rules, section, self.label_sections)

    @property
    def grouped_by(self) -> list[str]:
        """The columns of the label table by which rules are grouped."""
        sections = (
            given.rules if isinstance(given, LabelRules) else given
            for given in (*self.labels.values(), self.negative_class or ())
        )
        rules = (*self.rules, *chain.from_iterable(sections))
        return sorted({rule.by for rule in rules if rule.by is not None})

    def rows(self, classes: Classes, groups: Groups | None = None) -> list[dict[str, Any]]:
        """Give the recipe's rows of ``clean_rule``: one per rule, or per rule, label and group.

        Parameters
        ----------
        classes
            Those of the store.
        groups
            What the columns say by which rules are grouped.
        """
        rows: list[dict[str, Any]] = []
        for position, (columns, labels) in enumerate(self._placed(classes), start=1):
            label_ids: Sequence[int | None] = labels
            if len(labels) == len(classes.ids):
                label_ids = (None,)
            values: list[str | None] = [None]
            if columns["grouped_by"] is not None:
                values += (groups or {}).get(columns["grouped_by"], ())
            rows += [
                {"label_id": label, "group_value": value, **columns, "position": position}
                for label in label_ids
                for value in values
            ]
        return rows

    def _placed(self, classes: Classes) -> list[tuple[dict[str, Any], list[int]]]:
        """Give each rule's columns and labels, in an order that is the order of each label.

        A rule that replaces another one comes right after it.
        """
        sections = self.sections(classes)
        places: dict[int, list[tuple[dict[str, Any], list[int]]]] = {}
        for label in classes.ids:
            rules = self.rules_of(label, classes) if label in sections else self.rules
            added = len(self.rules)
            names = [rule.key for rule in self.rules]
            for rule in rules:
                replaces = self.label_sections == "change" or label not in sections
                place = names.index(rule.key) if replaces and rule.key in names else added
                if place == added:
                    added += 1
                else:
                    names[place] = ""  # the next one of this name is another
                columns = {**_columns(rule, rules), "shown": rule is _shown_rule(rules)}
                variants = places.setdefault(place, [])
                same = next((labels for found, labels in variants if found == columns), None)
                if same is None:
                    variants.append((columns, [label]))
                else:
                    same.append(label)
        return [variant for _, variants in sorted(places.items()) for variant in variants]


def _changed(
    rules: Sequence[Rule], section: LabelRules, sections: LabelSections, of_label: str = ""
) -> tuple[Rule, ...]:
    """Give the rules of a label: those of all labels as its section changes them."""
    if sections == "replace":
        return section.rules
    known = [rule.key for rule in rules]
    for name in section.off:
        if name not in known:
            raise UsageError(
                f"no rule {printable(name)!r} to switch off{of_label} (choose from "
                f"{', '.join(known)})"
            )
    more, kept = list(section.rules), []
    for rule in rules:
        instead = next((one for one in more if one.key == rule.key), None)
        if instead is not None:
            more.remove(instead)
            kept.append(instead)
        elif rule.key not in section.off:
            kept.append(rule)
    return (*kept, *more)


def reason_of(rule: Rule, rules: Sequence[Rule]) -> str | None:
    """Name the reason that a rule of a list gives; None is below_lower and above_upper."""
    if rule.name is not None:
        return rule.name
    if rule.has_percentile and rule is _shown_rule(rules):
        return None
    return _measure_reason(rule)


def _measure_reason(rule: Rule) -> str:
    """Name a rule by what it measures."""
    is_shape = rule.measure in FLAGS or any(rule.measure == m.name for m in SHAPE_MEASURES)
    if is_shape or rule.channel in (None, "green"):
        return rule.measure
    return f"{rule.channel}_{rule.measure}"


def _require_one_of(what: str, value: str, allowed: Sequence[str]) -> None:
    if value not in allowed:
        raise UsageError(f"invalid {what} {value!r} (choose from {', '.join(allowed)})")


def _require_column(rule: Rule, columns: Sequence[str] | None) -> None:
    """Refuse groups that mean nothing, or that no image has."""
    if rule.by is None:
        return
    if not any(kind in ("percentile", "median") for kind, _ in rule.sides.values()):
        raise UsageError(
            f"remove by = {printable(repr(rule.by))}: no bound of the rule is a percentile or a "
            "median of the label"
        )
    if columns is not None and rule.by not in columns:
        have = f"choose from {', '.join(columns)}" if columns else "the store keeps none"
        raise UsageError(
            f"no column {printable(rule.by)!r} of the label table ({have}; 'hpastore ingest "
            "--keep-column' keeps one)"
        )


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
    rules: Sequence[Rule],
    custom: CustomChannels | None,
    columns: Sequence[str] | None,
    of_label: str = "",
) -> tuple[Rule, ...]:
    """Validate the rules of a list, one by one."""
    valid = []
    for n, rule in enumerate(rules, 1):
        try:
            valid.append(rule.validated(custom, columns))
        except UsageError as error:
            raise UsageError(
                f"rule {n}{of_label}, {printable(rule.name or rule.measure)}: {error}"
            ) from error
    return tuple(valid)


def _require_reasons(rules: Sequence[Rule], of_label: str = "") -> None:
    """Refuse rules of a label whose reasons are reserved, or the same."""
    seen: set[str | None] = set()
    for n, rule in enumerate(rules, 1):
        reason = reason_of(rule, rules)
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
        "grouped_by": rule.by,
        **bounds,
    }
