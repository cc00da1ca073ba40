"""Images that are met in another root."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hpastore.clean.create import create_clean_set
from hpastore.ingestion.layout import Layout
from hpastore.ingestion.run import plan
from hpastore.ingestion.summary import Summary
from hpastore.store.engine import Store
from tests.ingestion.changes import (
    A,
    B,
    C,
    channel,
    failures,
    live,
    mask,
    of_image,
    poison,
    same_size,
    spoil,
    take,
    write_channel,
)
from tests.world import (
    dataset,
    draw_mask,
    dump,
    rows,
    write_image,
    write_table,
)


def test_a_moved_root_is_read_in_no_part(store: Store, tmp_path: Path) -> None:
    root = dataset(tmp_path / "here", 3)
    spoil(channel(root, C))
    take(store, root)
    there = root.rename(tmp_path / "there")
    poison(there)
    assert plan(store, there).work == 0
    assert take(store, there) == Summary(unchanged=2, rejected=1, rejected_before=1)
    assert rows(store, "SELECT DISTINCT root FROM image") == [{"root": str(there)}]
    write_table(there, {A: "0", B: "16"})
    assert take(store, there) == Summary(unchanged=2)
    assert failures(store) == []


@pytest.mark.parametrize("fault", [spoil, Path.unlink])
def test_a_stored_image_that_is_bad_for_a_while_moves_with_its_root(
    store: Store, tmp_path: Path, fault: Callable[[Path], Any]
) -> None:
    root = dataset(tmp_path / "here", 3)
    take(store, root)
    fault(channel(root, B))
    take(store, root)
    there = root.rename(tmp_path / "there")
    assert take(store, there) == Summary(unchanged=2, rejected=1, rejected_before=1)
    write_channel(there, B, "green")
    assert take(store, there).changed == 1
    write_table(there, {A: "0"})
    assert take(store, there).gone == 2


def test_the_same_bytes_in_another_root_are_relocated(store: Store, tmp_path: Path) -> None:
    root = dataset(tmp_path / "one", 3)
    take(store, root)
    create_clean_set(store, "mine")
    before = dump(store, without=("root", "mtime_ns", "checksum"))
    copy = tmp_path / "two"
    shutil.copytree(root, copy, copy_function=shutil.copyfile)
    for path in (*(root / "train").iterdir(), *(root / "hpa_cell_mask").iterdir()):
        path.unlink()
    todo = plan(store, copy)
    assert (todo.work, todo.unchanged) == (0, 3)
    assert take(store, copy) == Summary(unchanged=3)
    assert rows(store, "SELECT DISTINCT root FROM image") == [{"root": str(copy)}]
    after = dump(store, without=("root", "mtime_ns", "checksum"))
    assert {table for table in after if after[table] != before[table]} == {"ingest_run"}
    write_table(root, {})
    write_image(root, "new")
    write_table(root, {"new": "0"})
    assert take(store, root).gone == 0


@pytest.mark.parametrize("size", ["same", "other"])
def test_other_bytes_in_another_root_are_a_conflict_and_the_stored_image_stays(
    store: Store, tmp_path: Path, size: str, decoded: list[str]
) -> None:
    one, two = dataset(tmp_path / "one", 3), tmp_path / "two"
    np.savez(mask(one, B), draw_mask(3))
    take(store, one)
    before = dump(store)
    shutil.copytree(one, two)
    if size == "same":
        same_size(mask(two, B))
    else:
        write_channel(two, B, "red")
    todo = plan(store, two)
    assert (todo.work, [f.code for f in todo.rejected], todo.unchanged) == (1, ["conflict"], 2)
    decoded.clear()
    for before_it in range(2):
        assert take(store, two) == Summary(unchanged=2, rejected=1, rejected_before=before_it)
    assert failures(store) == [(B, "conflict")]
    assert f"from {one};" in rows(store, "SELECT message FROM failure")[0]["message"]
    assert decoded == []
    assert rows(store, "SELECT DISTINCT root FROM image") == [{"root": str(one)}]
    assert dump(store)["cell_stats"] == before["cell_stats"]
    write_table(one, {A: "0"})
    take(store, one, prune=True)
    assert [source.name for source in plan(store, two).new] == [B, C]
    assert take(store, two).new == 2


def test_names_that_differ_by_case_only_are_refused_in_any_run(
    store: Store, tmp_path: Path
) -> None:
    root, other = tmp_path / "one", tmp_path / "two"
    for folder, name in ((root, "cell"), (other, "CELL")):
        write_image(folder, name)
        write_table(folder, {name: "0"})
    take(store, root)
    assert [failure.code for failure in plan(store, other).rejected] == ["duplicate"]
    assert take(store, other) == Summary(rejected=1)
    message = "CELL: the store has cell, which differs only in case; rename one of them"
    assert rows(store, "SELECT message FROM failure") == [{"message": message}]
    write_image(root, "Cell")
    assert take(store, Layout(root, labels="none")) == Summary(rejected=2)
    assert failures(store) == [(name, "duplicate") for name in ("CELL", "Cell", "cell")]
    for path in of_image(root, "cell"):
        path.unlink()
    assert take(store, Layout(root, labels="none"), allow_gone=1).new == 1
    assert live(store) == ["Cell"]
