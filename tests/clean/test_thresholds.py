from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from hpastore.clean.bound import Bound
from hpastore.clean.create import create_clean_set
from hpastore.clean.rules import CleanRecipe, Rule
from hpastore.clean.thresholds import thresholds
from hpastore.errors import UsageError
from hpastore.store.engine import Store
from hpastore.vocabulary import LABEL_NAMES
from tests.world import Array, exact, measured, put, rows

NAN = float("nan")
SHARES = (0.0, 1.0, 0.001, 0.5, 0.999)
MEASURES = (("fraction", "green"), ("brenner", "blue"), ("area", None))


def values_of(measure: str, rng: np.random.Generator, n: int) -> Array:
    """Values of n cells; a third of the labels has only zeros, or hardly any but ties."""
    if measure == "area":
        return rng.integers(1, 9, n)
    kinds = [
        np.zeros(n),
        rng.integers(0, 5, n) / rng.integers(5, 40),
        rng.random(n) * 200,
        rng.random(n),
    ]
    found = kinds[rng.integers(len(kinds))]
    found[rng.random(n) < 0.2] = NAN
    return found


def fill(store: Store) -> dict[str, list[Array]]:
    """Store an image for each label, of 1 to 60 cells, and return their values by measure."""
    rng = np.random.default_rng(3)
    sizes = [1, 1, 2, 3, *rng.integers(2, 60, len(LABEL_NAMES) - 4).tolist()]
    made = {measure: [values_of(measure, rng, n) for n in sizes] for measure, _ in MEASURES}
    names = {
        measure: f"{channel}_{measure}" if channel else measure for measure, channel in MEASURES
    }
    for label in range(len(sizes)):
        values = {names[measure]: made[measure][label].tolist() for measure in made}
        put(store, measured(f"image-{label}", (label,), **values))
    return made


def expected(values: list[Array], lower: float, upper: float) -> list[tuple[Any, ...]]:
    present = [v[~np.isnan(v)] for v in values]
    return [
        (
            label,
            LABEL_NAMES[label],
            len(v),
            *(exact(float(np.quantile(v, q))) for q in (lower, upper)),
        )
        for label, v in enumerate(present)
        if len(v)
    ]


def listed(frame: Any) -> list[tuple[Any, ...]]:
    return [tuple(map(exact, row)) for row in frame.itertuples(index=False)]


def test_thresholds_equal_numpys_quantiles_to_the_last_bit(store: Store) -> None:
    made = fill(store)
    shares = [*SHARES, *np.random.default_rng(4).random(5).tolist()]
    cases = 0
    for measure, channel in MEASURES:
        for share in shares:
            lower, upper = sorted((share, 1 - share))
            found = listed(thresholds(store, Rule(measure, channel, lower, upper)))
            assert found == expected(made[measure], lower, upper)
            cases += 2 * len(found)
    assert cases > 300


def test_the_view_equals_the_function(store: Store) -> None:
    fill(store)
    rules = [
        Rule(),
        Rule("brenner", "blue", 0.1, 0.9),
        Rule("area", None, 0.5, 0.5),
        Rule(upper=1.0),
    ]
    for i, rule in enumerate(rules):
        create_clean_set(store, f"set-{i}", CleanRecipe((rule,)))
    for i, rule in enumerate(rules):
        live = rows(
            store,
            "SELECT * FROM label_threshold WHERE clean_set = :name ORDER BY label_id",
            name=f"set-{i}",
        )
        columns = ("label_id", "label", "n", "lower", "upper")
        found = [tuple(exact(row[name]) for name in columns) for row in live]
        assert [row for row in found if row[2]] == listed(thresholds(store, rule))
        assert {row[2:] for row in found if not row[2]} <= {(0, None, None)}
        assert len(found) == len(LABEL_NAMES)


def test_columns_are_typed_even_without_a_cell(store: Store) -> None:
    found = thresholds(store)
    assert found.columns.tolist() == ["label_id", "label", "n", "lower", "upper"]
    assert found.empty


def test_only_cells_of_images_with_one_label_count(store: Store) -> None:
    put(
        store,
        measured("a", (3,), green_fraction=[0.1, 0.2]),
        measured("b", (3, 5), green_fraction=[0.9]),
        measured("c", (), green_fraction=[0.9]),
    )
    assert thresholds(store, Rule(lower=0, upper=1)).to_dict("records") == [
        {"label_id": 3, "label": LABEL_NAMES[3], "n": 2, "lower": 0.1, "upper": 0.2}
    ]


def test_dark_cells_count(store: Store) -> None:
    put(store, measured("a", (0,), green_fraction=[0.0, 0.5, 1.0], green_intensity_max=[1, 2, 200]))
    found = thresholds(store, Rule(lower=0.0, upper=0.5))
    assert found[["n", "lower", "upper"]].to_numpy().tolist() == [[3, 0.0, 0.5]]


def test_cells_without_a_value_do_not(store: Store) -> None:
    put(
        store,
        measured("a", (0,), green_fraction=[NAN, 0.5, NAN]),
        measured("b", (1,), green_fraction=[NAN]),
    )
    assert thresholds(store)[["label_id", "n", "lower"]].to_numpy().tolist() == [[0, 1, 0.5]]


def test_one_label_may_be_asked_for(store: Store) -> None:
    put(store, measured("a", (0,)), measured("b", (16,)))
    assert thresholds(store, label=16)["label_id"].tolist() == [16]
    assert thresholds(store, label=5).empty
    with pytest.raises(UsageError, match="no label 19; ids go from 0 to 18"):
        thresholds(store, label=19)


def test_measures_of_shape_have_no_channel(store: Store) -> None:
    put(store, measured("a", (0,), area=[4, 9, 2]))
    for channel in ("green", None, "purple"):
        found = thresholds(store, Rule("area", channel, 0.0, 1.0))
        assert found[["n", "lower", "upper"]].to_numpy().tolist() == [[3, 2.0, 9.0]]


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        (Rule(upper=98), r"upper takes a share from 0 to 1, not 98; 98 % is 0\.98"),
        (Rule(lower=-0.1), r"lower takes a share from 0 to 1, not -0\.1$"),
        (Rule(lower=NAN), "lower takes a share"),
        (Rule(lower=0.6, upper=0.4), r"lower 0\.6 is above upper 0\.4"),
        (Rule("brightness"), "no measure 'brightness'; there are .*fraction.*area"),
        (Rule("touches_border"), "touches_border is a flag and has no percentiles"),
        (Rule(upper=Bound(value=3)), "needs a lower and an upper percentile; the rule on fraction"),
        (Rule("size"), "no measure 'size'"),
        (
            Rule(channel="purple"),
            "no channel 'purple' for fraction; there are red, green, blue, yellow",
        ),
        (Rule(channel=None), "needs a channel: red, green, blue, yellow"),
    ],
)
def test_rules_that_make_no_sense_are_refused(store: Store, rule: Rule, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        thresholds(store, rule)
