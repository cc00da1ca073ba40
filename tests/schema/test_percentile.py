from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from sqlalchemy import Column, FromClause, Integer, MetaData, Table, insert, select

from hpastore.schema.percentile import (
    AnySelect,
    between,
    nearest,
    percentiles,
    ranked,
    ranked_levels,
)
from hpastore.schema.types import REAL
from hpastore.store.engine import Store
from tests.world import Array, exact

SHARES = (0.0, 1.0, 0.001, 0.5, 0.999, 0.25, 1 / 3, 0.1)

SAMPLE = Table(
    "sample",
    MetaData(),
    Column("part", Integer),
    Column("share", REAL),
    Column("value", REAL),
    prefixes=["TEMPORARY"],
)


def draw(rng: np.random.Generator) -> Array:
    """Values as measures have them: shares of few pixels, whole numbers, zeros, and any others."""
    n = int(rng.choice([1, 2, 3, int(rng.integers(4, 80))]))
    ties = rng.integers(0, 6, n) / rng.integers(1, 50)
    kinds = [ties, np.zeros(n), rng.integers(0, 256, n) * 1.0, rng.random(n), rng.normal(0, 1e9, n)]
    return np.asarray(kinds[rng.integers(len(kinds))])


def cases(count: int = 400) -> dict[int, Array]:
    rng = np.random.default_rng(7)
    return {part: draw(rng) for part in range(count)}


def fill(groups: dict[int, Array], shares: dict[int, float]) -> list[dict[str, object]]:
    return [
        {"part": part, "share": shares[part], "value": value}
        for part, values in groups.items()
        for value in values.tolist()
    ]


def test_many_percentiles_of_one_group_equal_numpys_to_the_last_bit(store: Store) -> None:
    groups = cases()
    rng = np.random.default_rng(8)
    shares = dict(enumerate((*SHARES, *rng.random(8).tolist())))
    asked = {f"q{i}": share for i, share in shares.items()}
    with store.writing() as connection:
        SAMPLE.create(connection)
        connection.execute(insert(SAMPLE), fill(groups, dict.fromkeys(groups, 0.5)))
        found = connection.execute(percentiles(SAMPLE, "part", asked)).all()
    assert len(found) == len(groups)
    for part, n, *values in map(tuple, found):
        assert n == len(groups[part])
        expected = np.quantile(groups[part], list(shares.values())).tolist()
        assert list(map(exact, values)) == list(map(exact, expected)), (part, shares)


Rank = Callable[[FromClause, str], AnySelect]

either = pytest.mark.parametrize("rank", [ranked, ranked_levels])


def at_share(rank: Rank) -> AnySelect:
    """Take of each part the percentile that a column names: ``part, n, q``."""
    rows = rank(SAMPLE, "part").subquery("ranked")
    found = nearest(rows, ["part"], {"q": rows.c.share}).subquery("found")
    return select(found.c.part, found.c.n, between(found, "q"))


@either
def test_the_share_may_be_a_column(store: Store, rank: Rank) -> None:
    groups = cases()
    rng = np.random.default_rng(9)
    shares = {part: float(rng.choice([*SHARES, rng.random()])) for part in groups}
    with store.writing() as connection:
        SAMPLE.create(connection)
        connection.execute(insert(SAMPLE), fill(groups, shares))
        found = connection.execute(at_share(rank)).all()
    expected = {
        part: exact(float(np.quantile(values, shares[part]))) for part, values in groups.items()
    }
    assert {part: exact(value) for part, _, value in map(tuple, found)} == expected


def test_the_formula_of_the_databases_own_function_would_not_do() -> None:
    """What the cases are worth: a + (b - a) t alone, as ``percentile_cont`` has it, fails some."""
    rng = np.random.default_rng(9)
    groups = cases().values()
    differ = sum(
        exact(plain(values, q)) != exact(float(np.quantile(values, q)))
        for values in groups
        for q in [rng.random()]
    )
    assert differ > 5


def plain(values: Array, share: float) -> float:
    ordered = np.sort(values)
    h = (len(values) - 1) * share
    low = int(h)
    a, b = ordered[low], ordered[min(low + 1, len(values) - 1)]
    return float(a + (b - a) * (h - low))


@either
def test_a_share_that_is_null_gives_null(store: Store, rank: Rank) -> None:
    with store.writing() as connection:
        SAMPLE.create(connection)
        connection.execute(insert(SAMPLE), [{"part": 1, "share": None, "value": 2.5}])
        assert connection.execute(at_share(rank)).one() == (1, 1, None)


def test_no_values_give_no_rows(store: Store) -> None:
    with store.writing() as connection:
        SAMPLE.create(connection)
        found = percentiles(SAMPLE, "part", {"q": 0.5})
        assert connection.execute(found).all() == []


def places(store: Store, rank: Rank, values: list[float]) -> list[tuple[float, int, int, int]]:
    with store.writing() as connection:
        SAMPLE.create(connection)
        connection.execute(insert(SAMPLE), [{"part": 1, "share": 0.5, "value": v} for v in values])
        rows = rank(SAMPLE, "part").subquery("ranked").c
        found = connection.execute(select(rows.value, rows.first, rows.last, rows.n)).all()
    return sorted((value, first, last, n) for value, first, last, n in found)


@either
@pytest.mark.parametrize("values", [[3.0, 1.0, 2.0], [5.0]])
def test_places_count_from_zero_by_value(store: Store, rank: Rank, values: list[float]) -> None:
    expected = [(v, place, place, len(values)) for place, v in enumerate(sorted(values))]
    assert places(store, rank, values) == expected


def test_equal_values_have_their_places_together(store: Store) -> None:
    assert places(store, ranked_levels, [2.0, 1.0, 2.0, 2.0]) == [(1.0, 0, 0, 4), (2.0, 1, 3, 4)]
