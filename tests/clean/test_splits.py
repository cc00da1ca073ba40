"""Thresholds and clean sets that are limited to a split."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from hpastore.classes import DEFAULT_CLASSES
from hpastore.clean.create import create_clean_set, refresh_clean_set
from hpastore.clean.diff import clean_diff
from hpastore.clean.drift import drift
from hpastore.clean.explain import explain
from hpastore.clean.rules import CleanRecipe, Rule
from hpastore.clean.sets import clean_set, clean_sets
from hpastore.clean.summary import Superseded
from hpastore.clean.thresholds import thresholds
from hpastore.errors import UsageError
from hpastore.schema.views import CLEAN_CELL
from hpastore.store import write
from hpastore.store.clean_sets.live_verdicts import stream_verdicts
from hpastore.store.engine import Store
from hpastore.store.export_rows import Selection
from hpastore.store.integrity.doctor import doctor
from tests.world import measured, put, rows

WIDE = CleanRecipe((Rule(lower=0, upper=1),))

TRAIN, VAL = [0.1, 0.2, 0.3], [0.7, 0.8, 0.9]


def move(store: Store, split: str, *names: str) -> None:
    with store.writing() as connection:
        write.move_images(connection, names, "/data", split)


@pytest.fixture
def halves(store: Store) -> Store:
    """Two images of the split train and two of val, which differ, and one of no split."""
    put(
        store,
        *(measured(name, (0,), green_fraction=TRAIN) for name in ("a", "b")),
        *(measured(name, (0,), green_fraction=VAL) for name in ("x", "y")),
        now=datetime.now(UTC),
    )
    move(store, "val", "x", "y")
    return store


def images_of(store: Store, clean_set: str, version: int = 1) -> set[str]:
    sql = (
        "SELECT DISTINCT image_name FROM clean_cell WHERE clean_set = :name AND version = :version"
    )
    return {row["image_name"] for row in rows(store, sql, name=clean_set, version=version)}


def test_thresholds_of_a_split_are_of_its_cells_only(halves: Store) -> None:
    rule = Rule(lower=0, upper=1)
    found = {
        split: thresholds(halves, rule, split=split)[["n", "lower", "upper"]].to_numpy().tolist()
        for split in ("train", "val", None)
    }
    assert found == {"train": [[6, 0.1, 0.3]], "val": [[6, 0.7, 0.9]], None: [[12, 0.1, 0.9]]}


def test_a_set_of_a_split_is_made_and_shown_from_its_cells_only(halves: Store) -> None:
    create_clean_set(halves, "all", WIDE)
    made = create_clean_set(halves, "half", WIDE, split="train")
    assert (made.cells, made.clean, made.split) == (6, 6, "train")
    assert images_of(halves, "half") == {"a", "b"}
    assert clean_set(halves, "half")[["n", "lower", "upper"]].to_numpy().tolist() == [[6, 0.1, 0.3]]
    assert clean_sets(halves)["split"].fillna("").tolist() == ["", "train"]
    live = "SELECT clean_set, n, upper FROM label_threshold WHERE label_id = 0 ORDER BY clean_set"
    assert [tuple(row.values()) for row in rows(halves, live)] == [
        ("all", 12, 0.9),
        ("half", 6, 0.3),
    ]
    ranks = rows(
        halves, "SELECT rank, live FROM clean_cell_live WHERE clean_set = 'half' ORDER BY rank"
    )
    assert [row["rank"] for row in ranks] == [1, 1, 3, 3, 5, 5]
    assert all(row["live"] for row in ranks)
    (_, told) = explain(halves, "b:3")
    assert (told.clean_set, told.split, told.rank, told.n) == ("half", "train", 5, 6)
    share = rows(halves, "SELECT clean_share FROM label_summary WHERE label_id = 0")
    assert share == [{"clean_share": 1.0}]


def test_what_an_export_reads_of_a_set_of_a_split_is_what_the_view_shows(halves: Store) -> None:
    create_clean_set(halves, "half", CleanRecipe((Rule(lower=0.3, upper=0.8),)), split="train")
    with halves.reading() as connection:
        found = [
            row._asdict() for row in stream_verdicts(connection, Selection(1), DEFAULT_CLASSES)
        ]
        view = connection.execute(CLEAN_CELL.table.select()).mappings().all()
    assert len(found) == len(view) == 6
    expected = [{name: row[name] for name in row if name in found[0]} for row in view]
    shown = [{name: row[name] for name in expected[0]} for row in found]
    assert sorted(shown, key=repr) == sorted(expected, key=repr)


def test_an_image_whose_split_changes_leaves_or_enters_at_the_next_refresh(halves: Store) -> None:
    create_clean_set(halves, "half", WIDE, split="train")
    assert not drift(halves)[0].any
    move(halves, "val", "a")
    move(halves, "train", "x")
    assert images_of(halves, "half") == {"a", "b"}
    (found,) = drift(halves)
    assert (found.unjudged, found.left, found.labels) == (3, 3, (0,))
    made = refresh_clean_set(halves, "half")
    assert (made.version, made.split, made.cells) == (2, "train", 6)
    assert images_of(halves, "half", 2) == {"b", "x"}
    assert not drift(halves)[0].any
    changes = clean_diff(halves, "half@1", "half@2")
    assert set(zip(changes["change"], changes["cause"], changes["cell"].str[0], strict=True)) == {
        ("out", "split_changed", "a"),
        ("in", "split_changed", "x"),
    }


def test_sets_of_different_splits_differ_by_their_split(halves: Store) -> None:
    create_clean_set(halves, "all", WIDE)
    create_clean_set(halves, "half", WIDE, split="val")
    changes = clean_diff(halves, "all", "half")
    assert set(zip(changes["change"], changes["cause"], changes["cell"].str[0], strict=True)) == {
        ("out", "split_changed", "a"),
        ("out", "split_changed", "b"),
    }


def test_new_and_gone_images_of_a_split_are_no_change_of_split(halves: Store) -> None:
    create_clean_set(halves, "half", WIDE, split="train")
    put(halves, measured("c", (0,), green_fraction=TRAIN), now=datetime.now(UTC))
    with halves.writing() as connection:
        write.mark_gone(connection, ["a"], datetime.now(UTC))
    refresh_clean_set(halves, "half")
    changes = clean_diff(halves, "half@1", "half@2")
    assert set(zip(changes["cause"], changes["cell"].str[0], strict=True)) == {
        ("new_image", "c"),
        ("image_gone", "a"),
    }


def test_a_frozen_set_of_a_split_keeps_both(halves: Store) -> None:
    create_clean_set(halves, "half", WIDE, split="train", frozen=True)
    put(halves, measured("c", (0,), green_fraction=[0.05, 0.2, 0.25]))
    made = refresh_clean_set(halves, "half")
    assert (made.cells, made.clean, made.split) == (9, 8, "train")


def test_an_unknown_split_is_refused_with_those_there_are(halves: Store, store: Store) -> None:
    for call in (
        lambda: thresholds(halves, split="test"),
        lambda: create_clean_set(halves, "a", split="test"),
    ):
        with pytest.raises(UsageError, match=r"no split 'test' \(choose from train, val\)"):
            call()
    assert clean_sets(halves).empty


@pytest.mark.parametrize("frozen", [False, True])
def test_a_refresh_whose_split_is_empty_makes_a_version_without_verdicts(
    halves: Store, caplog: pytest.LogCaptureFixture, frozen: bool
) -> None:
    create_clean_set(halves, "half", WIDE, split="val", frozen=frozen)
    move(halves, "train", "x", "y")
    made = refresh_clean_set(halves, "half")
    assert (made.version, made.cells, made.split) == (2, 0, "val")
    assert (
        "clean set half@2 has no verdicts: there are no cells to judge in split val" in caplog.text
    )
    assert clean_set(halves, "half").empty
    assert not drift(halves, "half")[0].any
    assert doctor(halves, deep=True) == []


def test_a_name_that_means_another_split_or_other_rules_tells_what_it_meant(halves: Store) -> None:
    first = create_clean_set(halves, "a", WIDE, split="train")
    again = create_clean_set(halves, "a", WIDE, split="train")
    other_split = create_clean_set(halves, "a", WIDE, split="val")
    other_rules = create_clean_set(
        halves, "a", CleanRecipe((Rule(lower=0, upper=0.5),)), split="val"
    )
    both = create_clean_set(halves, "a", WIDE)
    old = refresh_clean_set(halves, "a@1")
    assert (first.superseded, again.superseded) == (None, None)
    assert other_split.superseded == Superseded(2, "train", other_split=True, other_rules=False)
    assert other_rules.superseded == Superseded(3, "val", other_split=False, other_rules=True)
    assert both.superseded == Superseded(4, "val", other_split=True, other_rules=True)
    assert old.superseded == Superseded(5, None, other_split=True, other_rules=False)


def test_images_with_several_labels_are_counted_where_the_scope_skips_them(halves: Store) -> None:
    put(halves, measured("s", (0, 1)), measured("t", (0, 1, 2), n=1), measured("u", (3, 4)))
    move(halves, "val", "u")
    made = [create_clean_set(halves, "a", WIDE, split=split) for split in (None, "train", "val")]
    assert [(one.skipped_cells, one.skipped_images) for one in made] == [(7, 3), (4, 2), (3, 1)]
    refreshed = refresh_clean_set(halves, "a@1")
    assert (refreshed.skipped_cells, refreshed.skipped_images) == (7, 3)
    everything = create_clean_set(halves, "b", replace(WIDE, scope="all"))
    assert (everything.skipped_cells, everything.skipped_images) == (0, 0)


def test_without_any_split_the_error_says_how_to_give_one(store: Store) -> None:
    with pytest.raises(UsageError, match="no image has one; 'hpastore ingest ROOT --split NAME'"):
        thresholds(store, split="train")
