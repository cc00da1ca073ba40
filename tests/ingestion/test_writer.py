from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from hpastore.ingestion.discover import discover
from hpastore.ingestion.file_counts import FileCounter
from hpastore.ingestion.layout import Layout
from hpastore.ingestion.policy import Policy
from hpastore.ingestion.run import ingest
from hpastore.ingestion.store_state import read_state
from hpastore.ingestion.summary import RunNotes
from hpastore.ingestion.worker import Task, measure_source
from hpastore.ingestion.writer import Writer, start_run
from hpastore.model import Inputs, Measured, Plan
from hpastore.store.engine import Store
from tests.world import dataset, name_of, rows, scalar, write_image

A = name_of(0)


def start(store: Store, root: Path, **options: str) -> tuple[Writer, Inputs, Plan, Counter[str]]:
    """Begin a run."""
    inputs = discover(Layout(root, **options))  # type: ignore[arg-type]  # by name
    state = read_state(store, None, Policy()).with_roots(store, inputs, ())
    todo = state.compare(inputs)
    writer, counts = start_run(store, inputs, todo, state, None, ())
    return writer, inputs, todo, counts


def measured(root: Path) -> Measured:
    (source,) = discover(Layout(root)).sources
    result = measure_source(Task(source, {}), root, 0.99)
    assert isinstance(result, Measured)
    return result


def test_each_result_is_recorded_with_its_run(store: Store, tmp_path: Path) -> None:
    root = dataset(tmp_path, 1)
    writer, inputs, todo, counts = start(store, root, split="train")
    assert counts == Counter()
    counter = FileCounter(inputs, todo)
    assert writer.write(measured(root), counter, RunNotes()) == Counter(
        new=1, images_decoded=1, cells=3
    )
    assert counter.result().stored == 5
    (run,) = rows(store, "SELECT root, split, added, cells, finished_at FROM ingest_run")
    assert run == {"root": str(root), "split": "train", "added": 1, "cells": 3, "finished_at": None}
    writer.finish()
    assert scalar(store, "SELECT count(*) FROM ingest_run WHERE finished_at IS NOT NULL") == 1


def test_an_image_that_another_process_has_stored_meanwhile_is_unchanged(
    store: Store, tmp_path: Path
) -> None:
    root = dataset(tmp_path, 1)
    writer, inputs, todo, _ = start(store, root)
    result = measured(root)
    ingest(store, root, executor="serial")
    assert writer.write(result, FileCounter(inputs, todo), RunNotes()) == Counter(unchanged=1)
    assert scalar(store, "SELECT count(*) FROM image") == 1


def test_another_image_that_was_stored_from_another_root_meanwhile_is_a_conflict(
    store: Store, tmp_path: Path
) -> None:
    root, other = dataset(tmp_path / "one", 1), dataset(tmp_path / "two", 1)
    writer, inputs, todo, _ = start(store, root)
    result = measured(root)
    write_image(other, A, seed=9)
    ingest(store, other, executor="serial")
    counts = writer.write(result, FileCounter(inputs, todo), RunNotes())
    assert counts == Counter(rejected=1, rejected_before=0)
    assert rows(store, "SELECT image_name, code FROM failure") == [
        {"image_name": A, "code": "conflict"}
    ]
    assert scalar(store, "SELECT root FROM image") == str(other)


@pytest.mark.parametrize("gone", [False, True])
def test_what_needs_no_pixel_is_done_at_the_start(store: Store, tmp_path: Path, gone: bool) -> None:
    root = dataset(tmp_path, 3)
    ingest(store, root, executor="serial")
    table = root / "train.csv"
    rest = "" if gone else f"{name_of(2)},0|16\n"
    table.write_text(f"ID,Label\n{A},5\n{name_of(1)},16\n{rest}")
    _, _, _, counts = start(store, root, split="train")
    assert counts == Counter(relabelled=1, resplit=2 if gone else 3)
    assert scalar(store, "SELECT labels FROM image WHERE name = :name", name=A) == "5"
    assert scalar(store, "SELECT count(*) FROM image WHERE gone_at IS NOT NULL") == int(gone)
