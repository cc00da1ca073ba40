from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from hpastore.ingestion.notices import log_inputs, log_pruned, log_roots, log_splits
from hpastore.ingestion.policy import Policy
from hpastore.ingestion.roots import MovedRoot, Roots
from hpastore.ingestion.store_state import StoreState
from hpastore.kernels.definitions import VERSIONS
from hpastore.model import (
    Inputs,
    MeasurementSettings,
    Orphan,
    Plan,
    RequiredMeasures,
    Source,
    StoredImage,
)

INPUTS = Inputs(Path("/data"), (), ())
SETTINGS = MeasurementSettings(0.99, VERSIONS)


@pytest.fixture(autouse=True)
def _all_levels(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    with caplog.at_level(logging.INFO):
        yield


def stored(split: str | None = None, root: str = "/data") -> StoredImage:
    return StoredImage(root, split, (0,), (), SETTINGS)


def state(roots: Roots, **images: StoredImage) -> StoreState:
    return StoreState(images, {}, SETTINGS, RequiredMeasures(), Policy(), roots)


def orphans(*names: str) -> tuple[Orphan, ...]:
    return tuple(Orphan("image_without_label", name, 5) for name in names)


@pytest.mark.parametrize(
    ("repeated", "todo", "messages"),
    [
        (0, Plan(), []),
        (
            1,
            Plan(orphans=orphans("x"), relabelled=(Source("a", (), ()),)),
            [
                "1 row names a label twice, which counts once",
                "1 image has no row in the table and is not ingested: x",
                "1 image loses its labels, since this run has none (--labels none)",
            ],
        ),
        (
            2,
            Plan(
                orphans=(*orphans("x", "y"), Orphan("spare_file", "z", 1)),
                relabelled=(Source("a", (), ()), Source("b", (), ()), Source("c", (1,), ())),
            ),
            [
                "2 rows name a label twice, which counts once",
                "2 images have no row in the table and are not ingested, such as x",
                "2 images lose their labels, since this run has none (--labels none)",
            ],
        ),
    ],
)
def test_what_is_unusual_in_the_inputs_is_counted(
    repeated: int, todo: Plan, messages: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    images = {name: stored() for name in "abc"}
    log_inputs(replace(INPUTS, repeated=repeated), todo, images)
    assert caplog.messages == messages


def test_near_rows_are_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    log_inputs(replace(INPUTS, near="1 row nearly names an existing image"), Plan(), {})
    assert [(record.levelname, record.message) for record in caplog.records] == [
        ("WARNING", "1 row nearly names an existing image")
    ]


@pytest.mark.parametrize(
    ("images", "verdicts", "message"),
    [
        (1, 1, "1 gone image was deleted; clean sets keep 1 verdict on it"),
        (2, 3, "2 gone images were deleted; clean sets keep 3 verdicts on them"),
    ],
)
def test_verdicts_on_deleted_images_are_counted(
    images: int, verdicts: int, message: str, caplog: pytest.LogCaptureFixture
) -> None:
    log_pruned(images, verdicts)
    assert caplog.messages == [message]


def test_moved_and_missing_roots_and_images_that_stay_are_named(
    caplog: pytest.LogCaptureFixture,
) -> None:
    roots = Roots(
        moved=(MovedRoot("/old", 1, 1), MovedRoot("/older", 5, 4)),
        kept=frozenset("abc"),
        missing={"/away": 3},
    )
    images = {"a": stored(root="/one"), "b": stored(root="/two"), "c": stored(root="/two")}
    log_roots(state(roots, **images), INPUTS)
    assert caplog.messages[:4] == [
        "/old has moved to /data, with its 1 image",
        "/older has moved to /data, with its 5 images",
        "1 image is stored from /one, where its files still exist, and stays there",
        "2 images are stored from /two, where their files still exist, and stay there",
    ]
    assert caplog.messages[4].startswith("the root /away, with 3 images, does not exist")


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ({"val": 1}, "1 image keeps its split, which is not train (1 val); --resplit changes it"),
        (
            {"val": 1, "test": 2},
            "3 images keep their split, which is not train (2 test, 1 val); --resplit changes it",
        ),
    ],
)
def test_images_that_keep_another_split_are_counted(
    counts: dict[str, int], message: str, caplog: pytest.LogCaptureFixture
) -> None:
    log_splits(Plan(other_split=counts), replace(INPUTS, split="train"), {})
    assert caplog.messages == [message]


def test_new_images_without_a_split_are_counted_if_others_have_one(
    caplog: pytest.LogCaptureFixture,
) -> None:
    todo = Plan(new=(Source("x", (0,), ()),))
    others = {"a": stored(), "b": stored("val", "/other"), "c": stored("val")._replace(gone=True)}
    log_splits(todo, INPUTS, others)
    log_splits(todo, replace(INPUTS, split="train"), others | {"d": stored("train")})
    assert caplog.messages == []
    log_splits(todo, INPUTS, others | {"d": stored("train")})
    (message,) = caplog.messages
    assert message == (
        "1 new image has no split, but other images of this root have one (1 train); "
        "give it with --split NAME"
    )
