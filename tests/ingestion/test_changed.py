"""What counts as a change of an image's files, and what a run does about it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hpastore.clean.create import create_clean_set
from hpastore.ingestion.layout import Layout
from hpastore.ingestion.run import plan
from hpastore.ingestion.summary import Summary
from hpastore.store.engine import Store, connect
from hpastore.store.write import images
from hpastore.vocabulary import CHANNELS
from tests.ingestion.changes import (
    A,
    B,
    C,
    changed,
    channel,
    mask,
    moved_up,
    of_image,
    poison,
    same_size,
    take,
    touch,
    write_channel,
)
from tests.world import (
    dataset,
    draw_mask,
    dump,
    replaced,
    rows,
    scalar,
    write_image,
)


def other_nuclei(root: Path) -> None:
    with replaced(root / "hpa_nuclei_mask" / f"{B}.npz") as path:
        np.savez_compressed(path, moved_up(draw_mask(1)))


def other_type(root: Path) -> None:
    np.save(mask(root, B, ".npy"), draw_mask(2))
    mask(root, B).unlink()


def two_of_three(root: Path) -> None:
    """One of another size, one of the same size, and one that was only touched."""
    write_channel(root, B, "red")
    same_size(mask(root, B))
    touch(channel(root, B, "blue"))


def write_channels(root: Path) -> None:
    for of in CHANNELS:
        write_channel(root, B, of)


CHANGES: dict[str, tuple[Callable[[Path], object], tuple[str, ...]]] = {
    "one channel": (lambda root: write_channel(root, B, "yellow"), ("yellow",)),
    "all channels": (write_channels, CHANNELS),
    "a mask of the same size": (lambda root: same_size(mask(root, B)), ("cell_mask",)),
    "a mask of another type": (other_type, ("cell_mask",)),
    "other nuclei": (other_nuclei, ("nucleus_mask",)),
    "no nuclei any more": (
        lambda root: (root / "hpa_nuclei_mask" / f"{B}.npz").unlink(),
        ("nucleus_mask",),
    ),
    "two of three": (two_of_three, ("red", "cell_mask")),
}


@pytest.mark.parametrize("case", CHANGES)
def test_a_plan_names_the_files_that_changed(store: Store, tmp_path: Path, case: str) -> None:
    change, roles = CHANGES[case]
    root = dataset(tmp_path, 3, nuclei=True)
    np.savez(mask(root, B), draw_mask(3))  # not compressed: of the size of others
    take(store, root)
    change(root)
    todo = plan(store, root)
    assert (changed(todo), todo.work, todo.unchanged) == ({B: roles}, 1, 2)
    done = take(store, root)
    assert (done.changed, done.unchanged, done.images_decoded) == (1, 2, 1)
    assert plan(store, root).work == 0
    kept = rows(
        store, "SELECT uri, sha256 FROM image_file JOIN image ON id = image_id WHERE name = :n", n=B
    )
    assert {row["uri"]: row["sha256"] for row in kept} == {
        path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in of_image(root, B)
    }


def test_nuclei_that_come_are_a_change(store: Store, tmp_path: Path) -> None:
    root = dataset(tmp_path, 3)
    take(store, root)
    dataset(root, 3, nuclei=True)
    assert changed(plan(store, root)) == dict.fromkeys((A, B, C), ("nucleus_mask",))
    assert take(store, root).changed == 3
    assert scalar(store, "SELECT count(*) FROM cell WHERE nucleus_area IS NULL") == 0


def test_a_touched_file_is_no_work_and_is_read_once(store: Store, tmp_path: Path) -> None:
    root = dataset(tmp_path, 3)
    take(store, root)
    touch(channel(root, B))
    todo = plan(store, root)
    assert (todo.work, todo.unchanged) == (0, 3)
    assert take(store, root) == Summary(unchanged=3)
    poison(root)
    assert take(store, root) == Summary(unchanged=3)


def test_an_image_is_replaced_in_one_transaction(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = dataset(tmp_path, 3)
    take(store, root)
    create_clean_set(store, "mine")
    before = dump(store)
    write_image(root, B, seed=9, mask=draw_mask(4))

    def fail(*_: Any) -> None:
        assert scalar_of_writer("SELECT cell_count FROM image WHERE name = 'image-01'") == 1
        raise RuntimeError("a bug")

    def scalar_of_writer(sql: str) -> Any:
        with connect(store.engine.url.render_as_string(hide_password=False)) as other:
            return scalar(other, sql)

    monkeypatch.setattr(images, "_insert_cells", fail)
    with pytest.raises(RuntimeError, match="a bug"):
        take(store, root)
    after = dump(store)
    assert {table for table in after if after[table] != before[table]} == {"ingest_run"}


def test_a_changed_image_keeps_its_split_unless_another_is_to_be_given(
    store: Store, tmp_path: Path
) -> None:
    root = dataset(tmp_path, 3)
    take(store, Layout(root, split="train"))
    write_channel(root, A, "red")
    take(store, root)
    write_channel(root, B, "red")
    take(store, Layout(root, split="dev"))
    assert rows(store, "SELECT DISTINCT split FROM image") == [{"split": "train"}]
    write_channel(root, C, "red")
    take(store, Layout(root, split="dev"), resplit=True)
    assert rows(store, "SELECT DISTINCT split FROM image") == [{"split": "dev"}]
