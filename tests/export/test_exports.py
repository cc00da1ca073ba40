"""What all exports share: whole files, the same bytes, a manifest that can be verified."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import hpastore
from hpastore.errors import DamagedError, ExportError, NotFoundError, UsageError
from hpastore.export.output import whole_file, whole_folder
from hpastore.export.selection import ExportOptions
from hpastore.kernels.definitions import VERSIONS
from hpastore.store.engine import Store
from tests.conftest import DATABASES, MakeStore
from tests.world import dataset

Export = Callable[..., Any]

FILES = {
    "mine.json": hpastore.export_coco,
    "mine.pkl": hpastore.export_mmdet,
    "mine.csv": hpastore.export_csv,
}
every_file = pytest.mark.parametrize(("name", "export"), FILES.items(), ids=FILES)


def ours(folder: Path) -> set[str]:
    return {"old"}


def nobodys(folder: Path) -> None:
    return None


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return dataset(tmp_path / "data", 6)


@pytest.fixture
def filled(store: Store, root: Path) -> Store:
    fill(store, root)
    return store


def fill(store: Store, root: Path) -> None:
    hpastore.ingest(store, root, executor="serial")
    hpastore.create_clean_set(
        store, "mine", hpastore.CleanRecipe((hpastore.Rule(lower=0.1, upper=0.9),))
    )
    hpastore.create_clean_set(store, "all", hpastore.CleanRecipe(min_green=0, scope="all"))


@every_file
@pytest.mark.parametrize("clean", [None, "mine", "all"])
def test_the_same_choice_gives_the_same_bytes_on_both_databases_and_again(
    make_store: MakeStore, root: Path, tmp_path: Path, name: str, export: Export, clean: str | None
) -> None:
    written = []
    for database in DATABASES:
        store = make_store(database)
        fill(store, root)
        for turn in ("first", "second"):
            out = tmp_path / database / turn / name
            export(store, out, ExportOptions(clean=clean))
            written.append((out.read_bytes(), (out.parent / f"{name}.manifest.json").read_bytes()))
    assert len(set(written)) == 1
    assert len(written) == 4


def test_a_cell_without_a_mask_is_not_left_out_silently(filled: Store, tmp_path: Path) -> None:
    with filled.engine.begin() as connection:
        connection.exec_driver_sql("DELETE FROM cell_mask WHERE cell_id = 1")
    with pytest.raises(DamagedError, match=r"cell .*: its mask does not have the size"):
        hpastore.export_coco(filled, tmp_path / "mine.json")


@every_file
def test_an_existing_file_is_replaced_only_by_force(
    filled: Store, tmp_path: Path, name: str, export: Export
) -> None:
    out = tmp_path / name
    out.write_text("precious")
    with pytest.raises(ExportError, match=r"exists.*--force"):
        export(filled, out)
    assert out.read_text() == "precious"
    export(filled, out, force=True)
    assert hpastore.verify(out) == 1


@every_file
def test_an_export_without_a_cell_is_refused_unless_allowed(
    filled: Store, tmp_path: Path, name: str, export: Export
) -> None:
    out = tmp_path / name
    with pytest.raises(ExportError, match=r"no cell that matches the options; .* --allow-empty"):
        export(filled, out, ExportOptions(labels=(11,)))
    assert list(tmp_path.glob("*mine*")) == []
    assert list(tmp_path.glob(".*")) == []
    assert export(filled, out, ExportOptions(labels=(11,), allow_empty=True)).annotations == 0


@every_file
def test_a_clean_set_that_is_not_there_is_named(
    filled: Store, tmp_path: Path, name: str, export: Export
) -> None:
    with pytest.raises(NotFoundError, match="no clean set other; 'hpastore clean list'"):
        export(filled, tmp_path / name, ExportOptions(clean="other"))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (ExportOptions(labels=(19,)), "no label 19"),
        (ExportOptions(multilabel="some"), "invalid multilabel 'some'"),  # type: ignore[arg-type]
        (ExportOptions(clean="mine@x"), "invalid version in 'mine@x'; use a number"),
    ],
)
def test_a_choice_that_makes_no_sense_is_refused(
    filled: Store, tmp_path: Path, options: ExportOptions, said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        hpastore.export_coco(filled, tmp_path / "mine.json", options)


def test_the_manifest_names_the_set_the_recipe_the_counts_and_the_hash(
    filled: Store, tmp_path: Path
) -> None:
    out = tmp_path / "mine.json"
    written = hpastore.export_coco(filled, out, ExportOptions(clean="mine", labels=(16, 0)))
    manifest = json.loads(written.manifest.read_text())
    assert manifest["hpastore"] == hpastore.__version__
    assert manifest["format"] == "coco"
    assert manifest["clean_set"] == "mine@1"
    assert list(manifest["classes"].items())[:2] == [
        ("0", "Nucleoplasm"),
        ("1", "Nuclear membrane"),
    ]
    assert manifest["measurement_settings"] == {
        "background_percentile": 0.99,
        "measures": VERSIONS,
        "levels": "257",
    }
    assert manifest["options"]["labels"] == [0, 16]
    document = json.loads(out.read_text())
    assert manifest["counts"] == {
        "images": len(document["images"]),
        "cells": len({a["attributes"]["cell_id"] for a in document["annotations"]}),
        "annotations": len(document["annotations"]),
    }
    digest = hashlib.sha256(out.read_bytes()).hexdigest()
    assert manifest["files"] == {"mine.json": {"sha256": digest, "size": out.stat().st_size}}


def test_verify_finds_a_flipped_byte_a_lost_file_and_a_stranger(
    filled: Store, tmp_path: Path
) -> None:
    folder = tmp_path / "pictures"
    hpastore.export_images(filled, folder, jobs=1)
    assert hpastore.verify(folder) == 6
    picture = sorted(folder.glob("*.png"))[0]
    good = picture.read_bytes()
    picture.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    with pytest.raises(ExportError, match=f"{picture.name}: has changed since it was exported"):
        hpastore.verify(folder)
    picture.unlink()
    with pytest.raises(ExportError, match=f"{picture.name}: is in the manifest, but missing"):
        hpastore.verify(folder)
    picture.write_bytes(good)
    (folder / "more.png").write_bytes(good)
    with pytest.raises(ExportError, match=r"more\.png: is not in the manifest"):
        hpastore.verify(folder)


NO_MANIFESTS = [
    *(None, b"{}", b"\xff", b"[]", b"3"),
    *(
        b'{"files": %s}' % files
        for files in (b"[]", b"{}", b"3", b"null", b'"ab"', b'{"mine.json": 3}')
    ),
]


@pytest.mark.parametrize("content", NO_MANIFESTS)
def test_verify_needs_a_manifest(tmp_path: Path, content: bytes | None) -> None:
    out = tmp_path / "mine.json"
    out.write_text("{}")
    if content is not None:
        (tmp_path / "mine.json.manifest.json").write_bytes(content)
    with pytest.raises(ExportError, match=r"mine\.json\.manifest\.json: "):
        hpastore.verify(out)


def test_verify_refuses_a_renamed_pair(filled: Store, tmp_path: Path) -> None:
    out, other = tmp_path / "mine.json", tmp_path / "other.json"
    written = hpastore.export_coco(filled, out)
    written.manifest.rename(tmp_path / "other.json.manifest.json")
    out.rename(other)
    with pytest.raises(ExportError, match=r"is the manifest of mine\.json; rename the file back"):
        hpastore.verify(other)


def test_verify_of_nothing_says_so(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="no such export"):
        hpastore.verify(tmp_path / "none")


def test_a_failing_writer_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    out = tmp_path / "mine.json"
    out.write_text("old")
    with (
        pytest.raises(RuntimeError, match="halfway"),
        whole_file(out, force=True, store=None) as temporary,
    ):
        temporary.write_text("half")
        raise RuntimeError("halfway")
    assert out.read_text() == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["mine.json"]


def test_a_failing_writer_leaves_the_old_folder_and_no_other(tmp_path: Path) -> None:
    out = tmp_path / "pictures"
    out.mkdir()
    (out / "old").touch()
    with (
        pytest.raises(RuntimeError, match="halfway"),
        whole_folder(out, force=True, listed=ours, store=None) as temporary,
    ):
        (temporary / "new").touch()
        raise RuntimeError("halfway")
    assert [file.relative_to(tmp_path).as_posix() for file in tmp_path.rglob("*")] == [
        "pictures",
        "pictures/old",
    ]


def test_a_folder_is_replaced_whole(tmp_path: Path) -> None:
    out = tmp_path / "pictures"
    out.mkdir()
    (out / "old").touch()
    with whole_folder(out, force=True, listed=ours, store=None) as temporary:
        (temporary / "new").touch()
    assert [file.relative_to(tmp_path).as_posix() for file in tmp_path.rglob("*")] == [
        "pictures",
        "pictures/new",
    ]


def test_a_folder_that_is_not_ours_is_left_alone_even_by_force(tmp_path: Path) -> None:
    out = tmp_path / "pictures"
    out.mkdir()
    with whole_folder(out, force=True, listed=nobodys, store=None):
        pass  # an empty one is nobody's
    (out / "precious").touch()
    (tmp_path / "file").touch()
    for force in (False, True):
        with (
            pytest.raises(ExportError, match="holds other files"),
            whole_folder(out, force=force, listed=nobodys, store=None),
        ):
            pass
        with (
            pytest.raises(ExportError, match="is not a folder"),
            whole_folder(tmp_path / "file", force=force, listed=ours, store=None),
        ):
            pass
    assert sorted(file.name for file in tmp_path.rglob("*")) == ["file", "pictures", "precious"]


def test_of_a_link_the_folder_it_leads_to_is_replaced(tmp_path: Path) -> None:
    out, link = tmp_path / "there" / "pictures", tmp_path / "link"
    out.mkdir(parents=True)
    (out / "old").touch()
    link.symlink_to(out)
    with whole_folder(link, force=True, listed=ours, store=None) as temporary:
        (temporary / "new").touch()
    assert link.is_symlink()
    assert [file.name for file in link.iterdir()] == ["new"]
    assert sorted(file.name for file in tmp_path.rglob("*")) == ["link", "new", "pictures", "there"]


def test_a_link_to_itself_is_refused(tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(link)
    with (
        pytest.raises(ExportError, match="cannot be written"),
        whole_folder(link, force=True, listed=nobodys, store=None),
    ):
        pass
    assert list(tmp_path.iterdir()) == [link]


@pytest.mark.parametrize("name", [".", "..", "../here", "/"])
def test_the_working_folder_is_never_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    with (
        pytest.raises(ExportError, match="contains the current working folder"),
        whole_folder(Path(name), force=True, listed=ours, store=None),
    ):
        pass
    assert [file.name for file in tmp_path.rglob("*")] == ["here"]


@every_file
def test_a_file_whose_manifest_cannot_be_written_is_not_written_either(
    filled: Store, tmp_path: Path, name: str, export: Export
) -> None:
    out = tmp_path / "out" / name
    manifest = tmp_path / "out" / f"{name}.manifest.json"
    manifest.mkdir(parents=True)
    with pytest.raises(ExportError, match=r"manifest\.json: is a folder"):
        export(filled, out)
    assert list(out.parent.rglob("*")) == [manifest]


@every_file
def test_a_folder_is_no_name_for_a_file(
    filled: Store, tmp_path: Path, name: str, export: Export
) -> None:
    (tmp_path / name).mkdir()
    with pytest.raises(ExportError, match=f"{name}: is a folder"):
        export(filled, tmp_path / name, force=True)
    assert list((tmp_path / name).iterdir()) == []


def test_a_target_that_cannot_be_written_is_named(filled: Store, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ExportError, match="cannot be written"):
        hpastore.export_coco(filled, tmp_path / "file" / "mine.json")
