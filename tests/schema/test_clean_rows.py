"""Rows of clean sets answer what the code asks of them; one function chooses the rule that decides."""

from __future__ import annotations

from typing import Any

import pytest

from hpastore.schema.clean_rows import BoundRow, RuleBound, RuleRow, deciding_rule

NONE = RuleBound(None, None, None)


def rule(reason: str | None = None, **columns: Any) -> RuleRow:
    made = RuleRow(
        id=1,
        clean_set_id=1,
        position=1,
        label_id=None,
        labels=(0, 16),
        measure="fraction",
        channel="green",
        grouped_by=None,
        group_value=None,
        lower=RuleBound(0.001, None, None),
        upper=NONE,
        reason=reason,
        condition=None,
        shown=reason is None,
    )
    return made._replace(**columns)


FIRST = rule()
SIZE = rule("size", position=2)
BORDER = rule("border", position=3)


@pytest.mark.parametrize(
    ("reason", "decides"),
    [
        ("size", SIZE),
        ("border", BORDER),
        ("below_lower", FIRST),
        ("above_upper", FIRST),
        *((reason, FIRST) for reason in (None, "dark", "override_drop", "no_value", "kept_best")),
        ("rule_of_another_label", FIRST),
    ],
)
def test_the_reason_names_the_rule_that_decides_or_else_it_is_the_shown_one(
    reason: str | None, decides: RuleRow
) -> None:
    assert deciding_rule([SIZE, FIRST, BORDER], reason) is decides


def test_a_set_without_rules_has_none_that_decides() -> None:
    assert deciding_rule([], "dark") is None
    assert deciding_rule([SIZE], None) is None


@pytest.mark.parametrize(
    ("bound", "given", "percentile", "from_cells"),
    [
        (NONE, False, False, False),
        (RuleBound(0.0, None, None), True, True, True),
        (RuleBound(None, 0.0, None), True, False, False),
        (RuleBound(None, None, 0.0), True, False, True),
    ],
)
def test_a_bound_of_zero_is_a_bound(
    bound: RuleBound, given: bool, percentile: bool, from_cells: bool
) -> None:
    one = rule(lower=NONE, upper=bound)
    assert bound.is_given is given
    assert (one.bound("lower"), one.bound("upper")) == (NONE, bound)
    assert one.has_percentile is one.decides_missing is percentile
    assert one.is_from_cells is from_cells


def test_reasons_are_the_rules_own_or_those_of_its_sides() -> None:
    assert [FIRST.bound_reason(side) for side in ("lower", "upper")] == [
        "below_lower",
        "above_upper",
    ]
    assert (FIRST.title, SIZE.title) == ("below_lower / above_upper", "size")
    assert SIZE.bound_reason("lower") == SIZE.bound_reason("upper") == "size"
    assert FIRST.missing_reason == "no_background"
    assert rule(measure="brenner").missing_reason == "no_value"


def test_bounds_are_given_by_side() -> None:
    bound = BoundRow(1, 0, 9, 0.25, None)
    assert (bound.side("lower"), bound.side("upper")) == (0.25, None)
