from __future__ import annotations

import pytest

from hpastore.clean.bound import Bound
from hpastore.clean.create import create_clean_set
from hpastore.clean.explain import explain
from hpastore.clean.rules import CleanRecipe, Rule
from hpastore.kernels.definitions import CHANNEL_MEASURES
from hpastore.store.engine import Store
from hpastore.store.integrity.doctor import doctor
from tests.world import lacking, measured, put, rows

FAINT = Rule("intensity_max", "yellow", Bound(median=0.5), None, "faint_yellow")


@pytest.fixture
def mixed(store: Store) -> Store:
    """Two images with all channels, one without yellow, one without green."""
    put(
        store,
        measured("a", n=3),
        measured("b", n=3),
        lacking(measured("no-yellow", n=2), "yellow"),
        lacking(measured("no-green", n=2), "green"),
    )
    return store


def reasons(store: Store, image: str) -> set[str | None]:
    found = rows(store, "SELECT reason FROM clean_cell WHERE image_name = :image", image=image)
    return {row["reason"] for row in found}


def test_what_an_image_lacks_is_null_everywhere(mixed: Store) -> None:
    stats = rows(mixed, "SELECT * FROM cell_stats WHERE image_name = 'no-yellow'")
    assert len(stats) == 2
    for row in stats:
        of_yellow = {name: value for name, value in row.items() if name.startswith("yellow_")}
        assert len(of_yellow) == len(CHANNEL_MEASURES)
        assert set(of_yellow.values()) == {None}
        assert row["red_intensity_max"] is not None
    channels = rows(
        mixed,
        "SELECT DISTINCT channel FROM cell_channel JOIN cell_stats USING (cell_id) "
        "WHERE image_name = 'no-yellow' ORDER BY channel",
    )
    assert [row["channel"] for row in channels] == ["blue", "green", "red"]
    assert doctor(mixed, deep=True) == []


def test_a_rule_on_a_missing_channel_says_so(
    mixed: Store, caplog: pytest.LogCaptureFixture
) -> None:
    create_clean_set(mixed, "mine", CleanRecipe((Rule(), FAINT), min_green=0))
    assert "1 image has no yellow channel: faint_yellow cannot drop their cells" in caplog.messages
    assert (
        "1 image has no green channel: their cells are dropped with the reason no_channel"
        in caplog.messages
    )
    assert reasons(mixed, "no-green") == {"no_channel"}
    assert "no_channel" not in reasons(mixed, "no-yellow")

    [explanation] = explain(mixed, "no-yellow:1")
    assert {check.reason: check.note for check in explanation.checks}["faint_yellow"] == "no yellow"
    [explanation] = explain(mixed, "no-green:1")
    assert explanation.reason == "no_channel"
    assert [check.reason for check in explanation.checks if check.passed is False] == ["no_channel"]


def test_a_missing_channel_is_no_dark_one(mixed: Store) -> None:
    create_clean_set(mixed, "mine", CleanRecipe((FAINT,), min_green=255))
    assert "dark" not in reasons(mixed, "no-green")
    assert reasons(mixed, "a") == {"dark"}
