"""What docs/recipes.md says that a clean set is, in plain Python over rows of ``cell_stats``."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from hpastore.clean.rules import CleanRecipe, LabelRules, Rule
from hpastore.schema.clean_rows import Side

Row = Mapping[str, Any]
Key = tuple[str, int, int]
"""Image, mask id and label."""
Decisions = Mapping[tuple[str, int, int | None], bool]
"""Whether somebody keeps a cell, by image, mask id and label; None is every label."""

CANNOT_BE_BEST = ("override_drop", "no_channel", "no_background", "no_value")


class Verdict(NamedTuple):
    clean: bool
    reason: str | None


class Limits(NamedTuple):
    """What a rule asks of the cells of a label, or of one cell."""

    n: int
    lower: float | None
    upper: float | None
    stand_in: str | None


class Oracle:
    """Judges cells by a recipe.

    Parameters
    ----------
    recipe
    stats
        All rows of ``cell_stats``.
    decisions
    split
        Only images of this split count; None is all.
    negative
        The negative class.
    """

    def __init__(
        self,
        recipe: CleanRecipe,
        stats: Iterable[Row],
        decisions: Decisions,
        split: str | None = None,
        negative: int | None = 18,
    ) -> None:
        self.recipe = recipe
        self.decisions = decisions
        self.negative = negative
        self.all_cells = list(stats)
        self.cells = [cell for cell in self.all_cells if split is None or cell["split"] == split]

    def verdicts(self) -> dict[Key, Verdict]:
        images: dict[str, list[Row]] = {}
        for cell in self.cells:
            images.setdefault(cell["image_name"], []).append(cell)
        found: dict[Key, Verdict] = {}
        for cells in images.values():
            by_label: dict[int, list[Row]] = {}
            for cell in cells:
                labels = labels_of(cell)
                if self.recipe.scope == "all" or len(labels) == 1:
                    for label in labels:
                        by_label.setdefault(label, []).append(cell)
            for label, of_label in by_label.items():
                found |= self.of_image(of_label, label)
        return found

    def of_image(self, cells: Sequence[Row], label: int) -> dict[Key, Verdict]:
        steps = {cell["mask_id"]: self.first_step(cell, label) for cell in cells}
        clean = [
            mask_id for mask_id, (_, reason) in steps.items() if reason in (None, "override_keep")
        ]
        found = {
            (cells[0]["image_name"], mask_id, label): Verdict(mask_id in clean, reason)
            for mask_id, (_, reason) in steps.items()
        }
        candidates = [cell for cell in cells if steps[cell["mask_id"]][1] not in CANNOT_BE_BEST]
        if self.recipe.guard == "keep" and not clean and candidates:
            best = max(candidates, key=lambda c: (steps[c["mask_id"]][0], c["area"], -c["mask_id"]))
            found[best["image_name"], best["mask_id"], label] = Verdict(True, "kept_best")
        return found

    def first_step(self, cell: Row, label: int) -> tuple[int, str | None]:
        """Go through the reasons of docs/recipes.md, then the rules: how far the cell comes, and why."""
        rules = self.rules(label)
        first = next((rule for rule in rules if rule.has_percentile), None)
        if first is not None and not is_asked(first, cell):
            first = None

        keep = self.decision(cell, label)
        if keep is not None:
            return 0, "override_keep" if keep else "override_drop"
        if first is not None and value_of(first, cell) is None:
            if first.channel is not None and cell[f"{first.channel}_intensity_max"] is None:
                return 1, "no_channel"
            return 1, "no_background" if first.measure == "fraction" else "no_value"
        brightest = cell["green_intensity_max"]
        is_dark = brightest is not None and brightest < self.recipe.min_green
        if is_dark and labels_of(cell) != [self.negative]:
            return 2, "dark"
        if first is not None:
            of_first = self.limits(first, label, self.group(first, cell))
            if of_first.n == 0 and of_first.stand_in is None:
                return 3, "no_threshold"
        for place, rule in enumerate(rules, start=4):
            reason = self.dropped_by(rule, cell, label)
            if reason is not None:
                return place, reason
        return 4 + len(rules), None

    def decision(self, cell: Row, label: int) -> bool | None:
        name = cell["image_name"], cell["mask_id"]
        return self.decisions.get((*name, label), self.decisions.get((*name, None)))

    def dropped_by(self, rule: Rule, cell: Row, label: int) -> str | None:
        if not is_asked(rule, cell):
            return None
        if rule.is_flag:
            return rule.name or rule.measure if has_flag(rule.measure, cell) else None
        value, limits = value_of(rule, cell), self.limits_of(rule, label, cell)
        if value is None:
            return None
        names = self.reasons(rule, label)
        if limits.lower is not None and value < limits.lower:
            return names[0]
        if limits.upper is not None and value > limits.upper:
            return names[1]
        return None

    def reasons(self, rule: Rule, label: int) -> tuple[str, str]:
        if rule.name is not None:
            return rule.name, rule.name
        if rule is next((one for one in self.rules(label) if one.has_percentile), None):
            return "below_lower", "above_upper"
        name = rule.measure if rule.channel in (None, "green") else f"{rule.channel}_{rule.measure}"
        return name, name

    def limits_of(self, rule: Rule, label: int, cell: Row) -> Limits:
        """The bounds for one cell: its image's median counts too."""
        found = self.limits(rule, label, self.group(rule, cell))
        values = [
            value
            for other in self.all_cells
            if other["image_name"] == cell["image_name"]
            and (value := value_of(rule, other)) is not None
        ]
        for side, (kind, number) in rule.sides.items():
            if kind == "image_median" or (kind == "median" and found.stand_in == "image"):
                bound = number * float(np.median(values)) if values else None
                found = (
                    found._replace(lower=bound) if side == "lower" else found._replace(upper=bound)
                )
        return found

    def limits(self, rule: Rule, label: int, group: str | None = None) -> Limits:
        """The bounds for a label, in a group of images; None is those in no group."""
        needed = max(self.recipe.min_cells, 1)
        everywhere = [
            (labels_of(cell), value)
            for cell in self.cells
            if len(labels_of(cell)) == 1
            and self.group(rule, cell) == group
            and (value := value_of(rule, cell)) is not None
        ]
        own = [value for labels, value in everywhere if labels == [label]]
        kinds = {kind for kind, _ in rule.sides.values()}
        used: list[float] | None = own if len(own) >= needed else None
        stand_in = None
        if used is None and self.recipe.small_labels == "image" and "median" in kinds:
            stand_in = "image"
        if used is None and self.recipe.small_labels == "all" and kinds & {"median", "percentile"}:
            of_all = [value for _, value in everywhere]
            if len(of_all) >= needed:
                used, stand_in = of_all, "all"

        def bound(side: Side) -> float | None:
            if side not in rule.sides:
                return None
            kind, number = rule.sides[side]
            if kind == "value":
                return number
            if used is not None and kind == "percentile":
                return float(np.quantile(used, number))
            if used is not None and kind == "median":
                return number * float(np.median(used))
            return None

        return Limits(len(own), bound("lower"), bound("upper"), stand_in)

    def groups(self, rule: Rule) -> list[str | None]:
        """All groups of images that a rule tells apart; None is those in none, or all images."""
        if rule.by is None:
            return [None]
        said = {columns_of(cell).get(rule.by) for cell in self.all_cells}
        return [None, *sorted(value for value in said if value)]

    def group(self, rule: Rule, cell: Row) -> str | None:
        return None if rule.by is None else columns_of(cell).get(rule.by) or None

    def rules(self, label: int) -> Sequence[Rule]:
        """The rules of a label: those of all, as its section changes them."""
        sections: dict[int | str, Any] = dict(self.recipe.labels)
        if self.recipe.negative_class is not None and self.negative is not None:
            sections[self.negative] = self.recipe.negative_class
        section = sections.get(label)
        if section is None:
            return self.recipe.rules
        if not isinstance(section, LabelRules):
            section = LabelRules(section)
        if self.recipe.label_sections == "replace":
            return section.rules
        more, rules = list(section.rules), []
        for rule in self.recipe.rules:
            instead = next((one for one in more if name_of(one) == name_of(rule)), None)
            if instead is not None:
                more.remove(instead)
                rules.append(instead)
            elif name_of(rule) not in section.off:
                rules.append(rule)
        return [*rules, *more]


def name_of(rule: Rule) -> str:
    if rule.name is not None:
        return rule.name
    if rule.channel in (None, "green"):
        return rule.measure
    return f"{rule.channel}_{rule.measure}"


def columns_of(cell: Row) -> dict[str, str]:
    found: dict[str, str] = json.loads(cell["columns"])
    return found


def labels_of(cell: Row) -> list[int]:
    return [int(label) for label in cell["labels"].split("|") if label]


def is_asked(rule: Rule, cell: Row) -> bool:
    return rule.where is None or has_flag(rule.where, cell)


def has_flag(flag: str, cell: Row) -> bool:
    return bool(cell["nucleus_area"] == 0 if flag == "no_nucleus" else cell[flag])


def value_of(rule: Rule, cell: Row) -> float | None:
    value = cell[rule.measure if rule.measure in cell else f"{rule.channel}_{rule.measure}"]
    return None if value is None else float(value)
