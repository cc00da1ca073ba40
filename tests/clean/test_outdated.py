"""What is newer than a clean set is found, and said where the set is used."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from sqlalchemy import text

from hpastore.clean.create import create_clean_set, refresh_clean_set
from hpastore.clean.outdated import warn_if_outdated
from hpastore.clean.overrides import Override, override_cells, undo_overrides
from hpastore.clean.rules import CleanRecipe, Rule
from hpastore.kernels.definitions import VERSIONS
from hpastore.model import MeasurementSettings
from hpastore.store import write
from hpastore.store.clean_sets.outdated import NewerData, newer_than
from hpastore.store.clean_sets.rows import find_clean_set
from hpastore.store.engine import Store
from tests.world import measured, put

WIDE = CleanRecipe((Rule(lower=0, upper=1),), 0)


@pytest.fixture
def made(store: Store) -> Store:
    """Images of one label and of two, one that was decided about, and a clean set of each scope."""
    put(
        store,
        *(measured(name, (0,)) for name in "abc"),
        measured("m", (0, 16)),
        measured("e", (0,), n=0),
    )
    override_cells(store, [Override("a:1", keep=False), Override("a:2", keep=True, label=0)])
    create_clean_set(store, "single", WIDE)
    create_clean_set(store, "all", CleanRecipe(WIDE.rules, 0, "all"))
    create_clean_set(store, "train", WIDE, split="train")
    return store


def newer(store: Store, name: str = "single") -> NewerData:
    with store.reading() as connection:
        return newer_than(connection, find_clean_set(connection, name)[0])


def relabel(store: Store, name: str, *labels: int) -> None:
    with store.writing() as connection:
        write.relabel_image(connection, measured(name, labels).source, "/data", None)


def gone(store: Store, name: str) -> None:
    with store.writing() as connection:
        write.mark_gone(connection, [name], datetime.now(UTC))


def delete(store: Store, name: str) -> None:
    with store.writing() as connection:
        write.delete_images(connection, [name])


def move(store: Store, name: str, split: str | None) -> None:
    with store.writing() as connection:
        write.move_images(connection, [name], "/data", split)


CHANGES: dict[str, tuple[Callable[[Store], object], NewerData]] = {
    "a decision": (
        lambda s: override_cells(s, [Override("b:1", keep=True)]),
        NewerData(overrides=1),
    ),
    "a decision of long ago": (
        lambda s: (
            override_cells(s, [Override("b:1", keep=True)]),
            s.write(
                lambda c: c.execute(
                    text("UPDATE cell_override SET created_at = '2001-01-01 00:00:00'")
                )
            ),
        ),
        NewerData(overrides=1),
    ),
    "a decision for another label": (
        lambda s: override_cells(s, [Override("b:1", keep=True, label=5)]),
        NewerData(),
    ),
    "a decision that was turned": (
        lambda s: override_cells(s, [Override("a:1", keep=True)]),
        NewerData(overrides=1),
    ),
    "a decision that says the same": (
        lambda s: override_cells(s, [Override("a:1", keep=False)]),
        NewerData(),
    ),
    "one label beats every label": (
        lambda s: override_cells(
            s, [Override("a:1", keep=True, label=0), Override("a:2", keep=False)]
        ),
        NewerData(overrides=1),
    ),
    "a decision undone": (lambda s: undo_overrides(s, ["a:1", "a:2"]), NewerData(overrides=2)),
    "a new image": (
        lambda s: put(s, measured("n", (0,)), now=datetime.now(UTC)),
        NewerData(came=1),
    ),
    "a new image of long ago": (lambda s: put(s, measured("n", (0,))), NewerData(came=1)),
    "an image out of scope": (
        lambda s: put(s, measured("n", (0, 7)), measured("o", ())),
        NewerData(),
    ),
    "a replaced image": (lambda s: put(s, measured("c", (0,), n=5)), NewerData(came=1)),
    "an image gone": (lambda s: gone(s, "c"), NewerData(left=1)),
    "an image deleted": (lambda s: delete(s, "c"), NewerData(left=1)),
    "an image relabelled": (lambda s: relabel(s, "c", 16), NewerData(relabelled=1)),
    "an image relabelled out of scope": (lambda s: relabel(s, "c", 0, 16), NewerData(relabelled=1)),
    "an image relabelled into scope": (lambda s: relabel(s, "m", 16), NewerData(came=1)),
    "an image relabelled beyond the scope": (lambda s: relabel(s, "m", 0, 7), NewerData()),
    "another split": (lambda s: move(s, "c", "val"), NewerData()),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_is_newer_is_counted_and_a_refresh_takes_it_in(made: Store, change: str) -> None:
    assert not newer(made).any
    happens, expected = CHANGES[change]
    happens(made)
    assert newer(made) == expected
    refresh_clean_set(made, "single")
    assert newer(made) == NewerData()


def test_each_label_counts_where_all_are_judged(made: Store) -> None:
    relabel(made, "m", 0, 7)
    assert newer(made, "all") == NewerData(relabelled=1)
    put(made, measured("n", (7, 16)))
    assert newer(made, "all") == NewerData(relabelled=1, came=1)


def test_a_set_of_a_split_knows_who_entered_and_left(made: Store) -> None:
    move(made, "c", "val")
    assert newer(made, "train") == NewerData(left=1)
    refresh_clean_set(made, "train")
    assert not newer(made, "train").any
    move(made, "c", "train")
    assert newer(made, "train") == NewerData(came=1)


def test_an_image_that_came_back_is_newer(made: Store) -> None:
    gone(made, "c")
    refresh_clean_set(made, "single")
    move(made, "c", None)
    assert newer(made) == NewerData(came=1)


def test_fractions_of_another_percentile_are_newer_for_rules_on_them(made: Store) -> None:
    create_clean_set(made, "areas", CleanRecipe((Rule("area", None, 0.0, 1.0),), 0))
    with made.writing() as connection:
        write.adopt_settings(connection, MeasurementSettings(0.5, VERSIONS))
    assert newer(made) == NewerData(remeasured=True)
    assert not newer(made, "areas").any


def test_one_line_says_what_is_newer_and_how_to_take_it_in(
    made: Store, caplog: pytest.LogCaptureFixture
) -> None:
    def said(name: str) -> list[str]:
        caplog.clear()
        with caplog.at_level(logging.WARNING), made.reading() as connection:
            warn_if_outdated(connection, find_clean_set(connection, name)[0])
        return [record.getMessage() for record in caplog.records]

    assert said("single") == []
    override_cells(made, [Override("b:1", keep=True)])
    put(made, measured("n", (0,)), measured("o", (0,)))
    line = "clean set single@1 is older than 1 override and 2 new or replaced images; "
    assert said("single") == [line + "'hpastore clean refresh single' makes a version with them"]
    refresh_clean_set(made, "single")
    assert said("single") == []
    assert said("single@1") == [
        line + "'hpastore clean refresh single@1' makes a version with them"
    ]
