"""What is unchanged, or has new labels only, costs no reading."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hpastore.clean.thresholds import thresholds
from hpastore.ingestion.run import plan
from hpastore.ingestion.summary import Summary
from hpastore.model import Plan
from hpastore.reading import files
from hpastore.schema.views import VIEWS
from hpastore.store.engine import Store
from tests.ingestion.changes import (
    ALL,
    A,
    B,
    C,
    channel,
    poison,
    take,
    touch,
)
from tests.world import (
    dataset,
    dump,
    rows,
    write_table,
)


def test_nothing_is_read_where_nothing_changed(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    read = files._read

    def noted(path: Path, limit: int) -> Any:
        opened.append(path.name)
        return read(path, limit)

    root = dataset(tmp_path, 3, nuclei=True)
    take(store, root)
    poison(root)
    monkeypatch.setattr(files, "_read", noted)
    todo = plan(store, root)
    assert todo == Plan(unchanged=3, unchanged_files=18)
    assert opened == ["train.csv"]
    before = dump(store)
    assert take(store, root) == Summary(unchanged=3)
    assert dump(store) == before


def test_new_labels_read_no_pixel(store: Store, tmp_path: Path) -> None:
    root = dataset(tmp_path, 3)
    take(store, root)
    before = dump(store)
    poison(root)
    write_table(root, {A: "5|3", B: "16", C: "7"})
    assert [source.name for source in plan(store, root).relabelled] == [A, C]
    assert take(store, root) == Summary(relabelled=2, unchanged=1)
    found = rows(store, "SELECT name, labels, label_count FROM image ORDER BY name")
    assert [(row["labels"], row["label_count"]) for row in found] == [
        ("3|5", 2),
        ("16", 1),
        ("7", 1),
    ]
    after = dump(store)
    tables = {table for table in after if after[table] != before[table]} - {
        v.table.name for v in VIEWS
    }
    assert tables == {"image", "image_label", "ingest_run"}
    assert thresholds(store)["label_id"].tolist() == [7, 16]


def test_a_label_that_is_named_twice_is_told(
    store: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = dataset(tmp_path, 3)
    write_table(root, {A: "0|0", B: "13|13", C: "0|16"})
    with caplog.at_level("INFO"):
        take(store, root)
    assert caplog.messages == ["2 rows name a label twice, which counts once"]
    write_table(root, {A: "0", B: "13", C: "16|0"})
    assert take(store, root) == Summary(unchanged=3)


def test_an_image_relabelled_and_touched_is_relabelled_without_decoding(
    store: Store, tmp_path: Path
) -> None:
    root = dataset(tmp_path, 3)
    take(store, root)
    touch(channel(root, A))
    write_table(root, {**ALL, A: "5"})
    todo = plan(store, root)
    assert ([s.name for s in todo.relabelled], todo.work) == ([A], 1)
    assert take(store, root) == Summary(relabelled=1, unchanged=2)
    assert plan(store, root).work == 0
