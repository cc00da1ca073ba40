from __future__ import annotations

from dataclasses import replace

import pytest

from hpastore.ingestion.summary import RunNotes, Summary
from hpastore.model import Note


def test_notes_are_one_line_for_each_kind_with_the_first_image(
    caplog: pytest.LogCaptureFixture,
) -> None:
    notes = RunNotes()
    notes.add("c", [Note("empty_mask", "its mask is empty")])
    notes.add("b", [Note("empty_mask", "its mask is empty"), Note("few_levels", "it is dark")])
    notes.warn()
    assert caplog.messages == ["b: its mask is empty (and 1 more image)", "b: it is dark"]
    caplog.clear()
    notes.add("a", [Note("empty_mask", "its mask is empty")])
    notes.warn()
    assert caplog.messages[0] == "a: its mask is empty (and 2 more images)"


@pytest.mark.parametrize(
    ("verdicts", "message"),
    [
        ([0], None),
        (
            [1],
            "1 image in clean sets changed; the clean sets keep 1 verdict on the former cells, and",
        ),
        (
            [2, 0, 3],
            "2 images in clean sets changed; the clean sets keep 5 verdicts on the former cells,",
        ),
    ],
)
def test_replaced_images_with_verdicts_are_counted(
    verdicts: list[int], message: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    notes = RunNotes()
    for count in verdicts:
        notes.add_replaced(count)
    notes.warn()
    assert [text[: len(message or "")] for text in caplog.messages] == (
        [] if message is None else [message]
    )


@pytest.mark.parametrize(
    "name", ["new", "changed", "relabelled", "remeasured", "gone", "returned", "resplit"]
)
def test_a_change_may_outdate_clean_sets(name: str) -> None:
    assert replace(Summary(), **{name: 1}).changes_cells  # type: ignore[arg-type]  # by name


def test_rejected_and_unchanged_images_leave_clean_sets_as_they_are() -> None:
    assert not Summary(unchanged=3, rejected=2, rejected_before=1).changes_cells
