"""No output replaces the store, its inputs or a special file, by whatever path it is named."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import hpastore
from hpastore.errors import ExportError
from hpastore.export.figure import save_figure
from hpastore.ingestion.layout import Layout
from hpastore.store.engine import Store
from tests.world import dataset, is_a_file, name_of, write_image

Write = Callable[[Store, Path], Any]


def _figure(store: Store, out: Path) -> Path:
    from matplotlib.figure import Figure

    return save_figure(Figure((1, 1)), out, force=True, store=store)


WRITES: dict[str, Write] = {
    "coco": lambda store, out: hpastore.export_coco(store, out, force=True),
    "mmdet": lambda store, out: hpastore.export_mmdet(store, out, force=True),
    "csv": lambda store, out: hpastore.export_csv(store, out, force=True),
    "overrides": lambda store, out: hpastore.export_overrides(store, out, force=True),
    "figure": _figure,
    "backup": lambda store, out: hpastore.backup(store, out, force=True),
}
ENDINGS = {"mmdet": ".pkl", "figure": ".png"}

every_file = pytest.mark.parametrize("kind", WRITES)


def _hard_link(path: Path, link: Path) -> Path:
    os.link(path, link)
    return link


def _link(path: Path, link: Path) -> Path:
    link.symlink_to(path)
    return link


def _linked_folder(path: Path, link: Path) -> Path:
    link.symlink_to(path.parent)
    return link / path.name


PATHS: dict[str, Callable[[Path, Path], Path]] = {
    "itself": lambda path, _: path,
    "dots": lambda path, _: path.parent / "x" / ".." / path.name,
    "hard link": _hard_link,
    "link": _link,
    "folder that is a link": _linked_folder,
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return dataset(tmp_path / "data", 2)


@pytest.fixture
def filled(store: Store, root: Path) -> Store:
    hpastore.ingest(store, root, executor="serial")
    return store


def refused(kind: str, store: Store, path: Path, kept: Path, said: str) -> None:
    """Write, and find the error, and the file as it was."""
    before = kept.read_bytes() if kept.exists() else None
    with pytest.raises(ExportError, match=said):
        WRITES[kind](store, path)
    assert (kept.read_bytes() if kept.exists() else None) == before


@is_a_file
@pytest.mark.parametrize("way", PATHS)
@pytest.mark.parametrize("kind", ["coco", "csv", "overrides", "backup"])
def test_the_store_is_not_replaced(filled: Store, kind: str, way: str, tmp_path: Path) -> None:
    itself = Path(str(filled.engine.url.database))
    (itself.parent / "x").mkdir()
    path = PATHS[way](itself, tmp_path / "link")
    refused(kind, filled, path, itself, "is the store itself")


@pytest.mark.parametrize("kind", ["mmdet", "figure"])
def test_a_store_named_as_the_output_must_be_is_not_replaced(
    make_store: Any, kind: str, tmp_path: Path, root: Path
) -> None:
    path = tmp_path / f"cells{ENDINGS[kind]}"
    Path(str(make_store("sqlite").engine.url.database)).rename(path)
    with hpastore.open_store(path) as store:
        hpastore.ingest(store, root, executor="serial")
        refused(kind, store, path, path, "is the store itself")


@is_a_file
@pytest.mark.parametrize("ending", ["-wal", "-shm", "-journal"])
def test_what_sqlite_keeps_beside_a_store_is_not_written_even_before_it_is_there(
    filled: Store, ending: str
) -> None:
    filled.close()
    beside = Path(f"{filled.engine.url.database}{ending}")
    assert not beside.exists()
    refused("coco", filled, beside, beside, "is the store itself, or a part of it")


def test_a_store_that_is_named_as_a_manifest_is_not_replaced_by_one(
    make_store: Any, tmp_path: Path, root: Path
) -> None:
    path = tmp_path / "cells.json.manifest.json"
    Path(str(make_store("sqlite").engine.url.database)).rename(path)
    with hpastore.open_store(path) as store:
        hpastore.ingest(store, root, executor="serial")
        refused("coco", store, tmp_path / "cells.json", path, "is the store itself")


@pytest.mark.parametrize("way", PATHS)
def test_an_input_is_not_replaced_by_whatever_path(
    filled: Store, root: Path, way: str, tmp_path: Path
) -> None:
    file = root / "train" / f"{name_of(0)}_red.png"
    (file.parent / "x").mkdir()
    path = PATHS[way](file, tmp_path / "link.png")
    refused("figure", filled, path, file, f"is an input of image {name_of(0)}")


@every_file
def test_no_command_replaces_an_input(filled: Store, root: Path, kind: str) -> None:
    file = root / "hpa_cell_mask" / f"{name_of(1)}.npz"
    path = _link(file, root / f"link{ENDINGS.get(kind, '')}")
    refused(kind, filled, path, file, f"is an input of image {name_of(1)}")


@pytest.mark.parametrize("kind", ["coco", "csv", "overrides", "backup"])
def test_the_label_table_is_not_replaced(filled: Store, root: Path, kind: str) -> None:
    refused(
        kind, filled, root / "train.csv", root / "train.csv", "is the label table of stored images"
    )


def test_a_label_table_is_not_replaced_wherever_it_is(filled: Store, root: Path) -> None:
    other = root.with_name("tables") / "labels.tab"
    other.parent.mkdir()
    (root / "train.csv").rename(other)
    write_image(root, "new")
    other.write_text(other.read_text() + "new,0\n")
    hpastore.ingest(filled, Layout(root, other), executor="serial")
    link = root.with_name("link.csv")
    link.symlink_to(other)
    for path in (other, link):
        refused("csv", filled, path, other, "is the label table of stored images")


def test_a_file_among_the_inputs_that_no_run_has_taken_is_not_replaced(
    filled: Store, root: Path
) -> None:
    new = root / "train" / "new_red.png"
    new.write_bytes(b"x")
    refused("figure", filled, new, new, "is among the inputs of stored images")


def test_the_inputs_of_rejected_images_are_spared_too(store: Store, root: Path) -> None:
    for file in (root / "train").iterdir():
        file.write_bytes(b"x")
    assert hpastore.ingest(store, root, executor="serial").rejected == 2
    refused(
        "overrides",
        store,
        root / "train.csv",
        root / "train.csv",
        "is the label table of stored images",
    )


@pytest.mark.parametrize("kind", ["figure", "coco"])
def test_no_file_of_a_rejected_image_is_replaced(store: Store, root: Path, kind: str) -> None:
    for file in (root / "train").iterdir():
        file.write_bytes(b"x")
    assert hpastore.ingest(store, root, executor="serial").rejected == 2
    file = root / "train" / f"{name_of(0)}_red.png"
    refused(kind, store, file, file, f"is an input of image {name_of(0)}")


def test_no_file_beside_those_of_rejected_images_is_replaced(store: Store, root: Path) -> None:
    for file in (root / "train").iterdir():
        file.write_bytes(b"x")
    assert hpastore.ingest(store, root, executor="serial").rejected == 2
    new = root / "train" / "new_red.png"
    new.write_bytes(b"x")
    refused("figure", store, new, new, "is among the inputs of stored images")


@every_file
def test_a_fifo_is_not_replaced(filled: Store, tmp_path: Path, kind: str) -> None:
    fifo = tmp_path / f"fifo{ENDINGS.get(kind, '')}"
    os.mkfifo(fifo)
    with pytest.raises(ExportError, match="is not a regular file; choose another name"):
        WRITES[kind](filled, fifo)
    assert fifo.is_fifo()


def test_a_link_to_a_device_is_not_replaced(filled: Store, tmp_path: Path) -> None:
    link = _link(Path(os.devnull), tmp_path / "link.csv")
    with pytest.raises(ExportError, match="is not a regular file"):
        WRITES["csv"](filled, link)
    assert link.is_symlink()


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="no /proc")
def test_a_link_to_an_open_file_is_not_replaced(filled: Store, tmp_path: Path) -> None:
    with (tmp_path / "out.csv").open("w") as file:
        link = _link(Path(f"/proc/self/fd/{file.fileno()}"), tmp_path / "stdout")
        with pytest.raises(ExportError, match="is a link to an open file"):
            WRITES["csv"](filled, link)
    assert link.is_symlink()


def test_a_manifest_that_is_no_regular_file_is_not_replaced(filled: Store, tmp_path: Path) -> None:
    fifo = tmp_path / "cells.json.manifest.json"
    os.mkfifo(fifo)
    with pytest.raises(ExportError, match=r"cells\.json\.manifest\.json: is not a regular file"):
        WRITES["coco"](filled, tmp_path / "cells.json")
    assert fifo.is_fifo()
    assert not (tmp_path / "cells.json").exists()


def test_an_export_in_the_root_is_replaced(filled: Store, root: Path) -> None:
    for out in (root / "mine.csv", root / "train" / "mine.csv"):
        hpastore.export_csv(filled, out)
        hpastore.export_csv(filled, out, force=True)
        assert hpastore.verify(out) == 1
    (root / "mine.csv").write_text("now these are my labels")
    refused("csv", filled, root / "mine.csv", root / "mine.csv", "may be the label table of")


def test_a_folder_that_holds_inputs_is_not_replaced_whatever_its_manifest_says(
    filled: Store, root: Path, tmp_path: Path
) -> None:
    hpastore.export_images(filled, tmp_path / "pictures", jobs=1)
    manifest = (tmp_path / "pictures" / "manifest.json").read_text()
    for folder in (root, root / "train"):
        files = ",".join(
            f'"{file.relative_to(folder)}": {{"sha256": "", "size": 0}}'
            for file in folder.rglob("*.*")
        )
        head = manifest.partition('"files"')[0]
        (folder / "manifest.json").write_text(f'{head}"files": {{{files}}}}}')
        before = {file: file.read_bytes() for file in root.rglob("*") if file.is_file()}
        with pytest.raises(ExportError, match="holds the inputs of stored images"):
            hpastore.export_images(filled, folder, jobs=1, force=True)
        assert {file: file.read_bytes() for file in root.rglob("*") if file.is_file()} == before


def test_a_sample_that_was_ingested_is_not_replaced(store: Store, tmp_path: Path) -> None:
    root = hpastore.make_sample(tmp_path / "data", n=1, size=64, jobs=1)
    hpastore.ingest(store, root, executor="serial")
    with pytest.raises(ExportError, match="holds the inputs of stored images"):
        hpastore.make_sample(root, n=1, size=64, jobs=1, force=True, store=store)
    hpastore.make_sample(tmp_path / "other", n=1, size=64, jobs=1)
    hpastore.make_sample(tmp_path / "other", n=1, size=64, jobs=1, force=True, store=store)


def test_a_sample_that_holds_the_store_is_not_replaced(make_store: Any, tmp_path: Path) -> None:
    root = hpastore.make_sample(tmp_path / "data", n=1, size=64, jobs=1)
    path = root / "cells.db"
    Path(str(make_store("sqlite").engine.url.database)).rename(path)
    with (
        hpastore.open_store(path) as store,
        pytest.raises(ExportError, match="holds the store itself"),
    ):
        hpastore.make_sample(root, n=1, size=64, jobs=1, force=True, store=store)
