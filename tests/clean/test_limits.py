"""What bounds cannot do for labels with few cells is reported."""

from __future__ import annotations

import pytest

from hpastore.clean.bound import Bound
from hpastore.clean.create import create_clean_set, refresh_clean_set
from hpastore.clean.explain import explain
from hpastore.clean.limits import ForcedDrop, IdleRule, limits_text
from hpastore.clean.rules import CleanRecipe, Rule
from hpastore.clean.sets import clean_set, clean_set_limits
from hpastore.schema.clean_rows import SIDES
from hpastore.store.engine import Store
from tests.world import measured, put, rows

SIZE = Rule("area", None, Bound(median=0.5), Bound(value=90.0), name="size")


def test_rules_that_bound_nothing_are_named_with_their_labels(store: Store) -> None:
    put(store, measured("a", (0,), n=3), measured("b", (7,), n=5))
    recipe = CleanRecipe((Rule(lower=0.3, upper=0.7), SIZE, Rule("touches_border")), min_cells=4)
    made = create_clean_set(store, "a", recipe)
    idle = tuple(
        IdleRule(0, "Nucleoplasm", rule, 3, 4) for rule in ("below_lower / above_upper", "size")
    )
    assert (
        made.idle == refresh_clean_set(store, "a").idle == clean_set_limits(store, "a")[0] == idle
    )
    assert clean_set(store, "a")["idle_rules"].tolist() == [2, 0]
    (line,) = limits_text(idle, ())
    assert line == (
        "label 0 (3 cells) has fewer than 4 cells (min_cells), so that the percentiles and medians of "
        "below_lower / above_upper, size bound nothing"
    )


def test_explain_notes_which_bounds_were_not_checked_and_why(store: Store) -> None:
    nan = float("nan")
    put(
        store, measured("a", (0,), area=[5, 100, 7], blue_brenner=[nan] * 3, touches_border=[0] * 3)
    )
    border = Rule("pieces", None, None, Bound(value=1.0), where="touches_border")
    brenner = Rule("brenner", "blue", None, Bound(value=1.0))
    recipe = CleanRecipe((Rule(lower=0.3, upper=0.7), SIZE, border, brenner), min_cells=4)
    create_clean_set(store, "a", recipe)
    told = [
        {check.reason: (check.passed, check.note) for check in explain(store, f"a:{n}")[0].checks}
        for n in (1, 2)
    ]
    few = "3 cells, 4 needed"
    assert told[0] == {
        "dark": (True, None),
        "below_lower / above_upper": (None, few),
        "size": (True, few),
        "pieces": (None, "only for cells with touches_border"),
        "blue_brenner": (None, "no value"),
    }
    assert told[1]["size"] == (False, few)


@pytest.mark.parametrize(
    ("percentiles", "sides"),
    [
        ((0.001, 0.999), ["lower", "upper"]),
        ((0.09, 0.91), ["lower", "upper"]),
        ((0.1, 0.9), []),
        ((0.0, 1.0), []),
        ((0.0, 0.95), ["upper"]),
    ],
)
def test_a_percentile_of_fewer_cells_than_it_is_a_share_of_drops_one_all_the_same(
    store: Store, percentiles: tuple[float, float], sides: list[str]
) -> None:
    put(store, measured("a", (0,), green_fraction=[k / 10 for k in range(10)]))
    made = create_clean_set(store, "a", CleanRecipe((Rule("fraction", "green", *percentiles),)))
    assert [drop.side for drop in made.forced] == sides
    assert clean_set(store, "a")["forced_drops"].tolist() == [len(sides)]
    ends = rows(store, "SELECT clean FROM clean_cell WHERE mask_id IN (1, 10) ORDER BY mask_id")
    if sides:
        assert [bool(row["clean"]) for row in ends] == ["lower" not in sides, "upper" not in sides]


def test_a_line_describes_percentiles_that_must_drop_a_cell() -> None:
    drops = [
        ForcedDrop(label, "", "size", side, p, n)
        for label, n in ((0, 7), (5, 9))
        for side, p in zip(SIDES, (0.01, 0.99), strict=True)
    ]
    (line,) = limits_text((), drops)
    assert line == (
        "labels 0 (7 cells), 5 (9) have so few cells that percentiles 0.01 and 0.99 drop the lowest and the "
        "highest cell, good or bad; use percentiles nearer to 0.5 or a larger min_cells"
    )


def test_one_cell_is_not_dropped_by_its_own_percentile(store: Store) -> None:
    put(store, measured("a", (0,), n=1))
    made = create_clean_set(store, "a")
    assert (made.forced, made.clean) == ((), 1)


def test_a_label_without_a_bound_is_no_idle_rule_where_it_drops_all(store: Store) -> None:
    put(store, measured("a", (0,), n=20), measured("b", (0, 5), n=2))
    made = create_clean_set(store, "a", CleanRecipe((Rule(lower=0.1, upper=0.9),), 0, "all"))
    assert (made.idle, made.forced) == ((), ())
    reasons = rows(store, "SELECT DISTINCT reason FROM clean_cell WHERE label_id = 5")
    assert reasons == [{"reason": "no_threshold"}]
