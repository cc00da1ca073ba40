"""A folder or file is taken for an export only where its manifest says so; verify reads nothing elsewhere."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import hpastore
from hpastore.errors import ExportError
from hpastore.store.engine import Store
from tests.world import dataset


@pytest.fixture
def filled(store: Store, tmp_path: Path) -> Store:
    hpastore.ingest(store, dataset(tmp_path / "data", 2), executor="serial")
    return store


@pytest.fixture
def pictures(filled: Store, tmp_path: Path) -> Path:
    return hpastore.export_images(filled, tmp_path / "pictures", jobs=1).path


def change(manifest: Path, edit: Callable[[Any], object]) -> None:
    content = json.loads(manifest.read_text())
    edit(content)
    manifest.write_text(json.dumps(content))


def contents(folder: Path) -> dict[str, bytes]:
    return {str(file): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


@pytest.mark.parametrize("name", ["notes.txt", "sub/notes.txt"])
def test_force_does_not_delete_a_file_that_the_manifest_does_not_list(
    filled: Store, pictures: Path, name: str
) -> None:
    hpastore.export_images(filled, pictures, jobs=1, force=True)
    (pictures / name).parent.mkdir(exist_ok=True)
    (pictures / name).write_text("precious")
    before = contents(pictures)
    with pytest.raises(
        ExportError, match=f"holds other files, such as {name}; choose another name"
    ):
        hpastore.export_images(filled, pictures, jobs=1, force=True)
    assert contents(pictures) == before


def test_a_file_that_is_put_there_meanwhile_is_not_deleted(filled: Store, pictures: Path) -> None:
    def put(done: int, total: int) -> None:
        del done, total
        (pictures / "notes.txt").write_text("precious")

    with pytest.raises(ExportError, match=r"such as notes\.txt"):
        hpastore.export_images(filled, pictures, jobs=1, force=True, progress=put)
    assert hpastore.export_images(filled, pictures.parent / "other", jobs=1).files == 2
    assert (pictures / "notes.txt").read_text() == "precious"


@pytest.mark.parametrize("key", ["hpastore", "format", "counts", "files"])
def test_a_folder_whose_manifest_only_resembles_ours_is_left_alone(
    filled: Store, pictures: Path, key: str
) -> None:
    change(pictures / "manifest.json", lambda content: content.pop(key))
    before = contents(pictures)
    with pytest.raises(ExportError, match="holds other files"):
        hpastore.export_images(filled, pictures, jobs=1, force=True)
    assert contents(pictures) == before


def test_a_sample_with_a_file_of_somebodys_is_left_alone(tmp_path: Path) -> None:
    root = hpastore.make_sample(tmp_path / "sample", n=1, size=64, jobs=1)
    (root / "train" / "mine_red.png").write_bytes(b"precious")
    before = contents(root)
    with pytest.raises(ExportError, match=r"holds other files, such as train/mine_red\.png"):
        hpastore.make_sample(root, n=1, size=64, jobs=1, force=True)
    assert contents(root) == before


def test_a_file_that_is_named_as_a_manifest_and_is_none_is_replaced_only_by_force(
    filled: Store, tmp_path: Path
) -> None:
    out, beside = tmp_path / "mine.json", tmp_path / "mine.json.manifest.json"
    beside.write_text('{"files": {"a": {}}}')
    with pytest.raises(ExportError, match=r"mine\.json\.manifest\.json: exists"):
        hpastore.export_coco(filled, out)
    assert (beside.read_text(), out.exists()) == ('{"files": {"a": {}}}', False)
    hpastore.export_coco(filled, out, force=True)
    out.unlink()
    hpastore.export_coco(
        filled, out
    )  # a manifest of ours that nothing belongs to is in nobody's way


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "a/../../secret", ".", "", "a\0b"])
def test_a_manifest_that_leads_elsewhere_is_refused_and_nothing_there_is_read(
    pictures: Path, name: str
) -> None:
    (pictures.parent / "secret").write_text("secret")
    change(
        pictures / "manifest.json", lambda c: c["files"].update({name: {"sha256": "", "size": 6}})
    )
    with pytest.raises(ExportError, match="which is not inside its folder"):
        hpastore.verify(pictures)


@pytest.mark.parametrize("linked", ["file", "folder"])
def test_verify_follows_no_link_out_of_the_folder(pictures: Path, linked: str) -> None:
    secret = pictures.parent / "secret"
    secret.mkdir()
    (secret / "file").write_text("secret")
    link = pictures / "link"
    link.symlink_to(secret / "file" if linked == "file" else secret)
    name = "link" if linked == "file" else "link/file"
    change(
        pictures / "manifest.json", lambda c: c["files"].update({name: {"sha256": "", "size": 6}})
    )
    with pytest.raises(ExportError, match="is a link out of its folder"):
        hpastore.verify(pictures)


def test_an_export_under_a_link_can_be_verified(pictures: Path) -> None:
    link = pictures.parent / "link"
    link.symlink_to(pictures)
    assert hpastore.verify(link) == 2


@pytest.mark.parametrize("content", ["[]", "{}", '"x"', "[" * 100_000, '{"files": []}', "\0"])
def test_what_is_no_manifest_is_named(pictures: Path, content: str) -> None:
    (pictures / "manifest.json").write_text(content)
    with pytest.raises(ExportError, match=r"manifest\.json: is not a manifest of hpastore"):
        hpastore.verify(pictures)


def test_a_pipe_in_place_of_a_file_is_not_waited_for(pictures: Path) -> None:
    picture = next(pictures.glob("*.png"))
    for file, said in (
        (picture, "is in the manifest, but missing"),
        (pictures / "manifest.json", "regular"),
    ):
        file.unlink()
        os.mkfifo(file)
        with pytest.raises(ExportError, match=said):
            hpastore.verify(pictures)
