from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from hpastore.errors import InputError
from hpastore.ingestion.folders import Folders, absolute_path, is_file, is_folder, open_folders
from hpastore.ingestion.layout import Layout
from hpastore.vocabulary import ROLES
from tests.world import dataset


@pytest.fixture
def opened() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def usual(root: Path, opened: ExitStack) -> Folders:
    return open_folders(Layout(root), root, opened)


def test_the_files_of_images_are_told_from_others_by_their_endings(
    tmp_path: Path, opened: ExitStack
) -> None:
    root = dataset(tmp_path, 1)
    (root / "train" / "notes.txt").touch()
    (root / "train" / ".hidden_red.png").touch()
    (root / "train" / "sub").mkdir()
    images = usual(root, opened).images
    assert {name for name, _ in images.image_files()} == {"image-00"}
    used = {f"train/image-00_{channel}.png" for channel in ("red", "green", "blue")}
    assert sorted(images.unused_files(used), key=lambda pair: pair[1]) == [
        ("image-00", "image-00_yellow.png"),
        (None, "notes.txt"),
        (None, "sub"),
    ]
    assert "notes.txt" in set(images.files_except(None))
    assert "sub" not in set(images.files_except(None))
    assert "notes.txt" not in set(images.files_except(root / "train" / "notes.txt"))


def test_a_file_is_stamped_with_its_uri_and_size(tmp_path: Path, opened: ExitStack) -> None:
    root = dataset(tmp_path, 1)
    (root / "train" / "broken_red.png").symlink_to(root / "nowhere")
    images = usual(root, opened).images
    stamp = images.stamp("red", "image-00_red.png")
    assert stamp is not None
    status = (root / "train" / "image-00_red.png").stat()
    assert stamp == ("red", "train/image-00_red.png", status.st_size, status.st_mtime_ns)
    assert images.stamp("red", "other_red.png") is None
    assert images.stamp("red", "broken_red.png") is None


def test_patterns_are_in_the_order_of_the_roles(tmp_path: Path, opened: ExitStack) -> None:
    folders = usual(dataset(tmp_path, 1, nuclei=True), opened)
    assert tuple(pattern.role for pattern in folders.file_patterns()) == ROLES


def test_a_folder_for_both_masks_is_one_with_all_endings(tmp_path: Path, opened: ExitStack) -> None:
    root = dataset(tmp_path, 1)
    masks = root / "hpa_cell_mask"
    folders = open_folders(Layout(root, masks=masks, nuclei=masks), root, opened)
    assert folders.nuclei.endings == ("_nucleimask.png",)
    assert [folder.path.name for folder in folders.distinct()] == ["train", "hpa_cell_mask"]
    assert folders.distinct()[1].endings == (".npz", ".npy", "_cellmask.png", "_nucleimask.png")
    assert len(folders.required()) == 2


def test_an_empty_folder_is_a_remark(tmp_path: Path, opened: ExitStack) -> None:
    root = dataset(tmp_path, 1)
    assert list(usual(root, opened).images.remarks()) == []
    (root / "empty").mkdir()
    empty = open_folders(Layout(root, images=root / "empty"), root, opened).images
    assert list(empty.remarks()) == [f"{root}/empty is empty"]


def test_a_folder_outside_of_the_root_has_its_path_in_the_uris(
    tmp_path: Path, opened: ExitStack
) -> None:
    root, other = dataset(tmp_path / "data", 1), tmp_path / "other"
    other.mkdir()
    folders = open_folders(Layout(root, images=other), root, opened)
    assert (folders.images.prefix, folders.masks.prefix) == (f"{other}/", "hpa_cell_mask/")


def test_a_missing_folder_names_the_option(tmp_path: Path, opened: ExitStack) -> None:
    root = dataset(tmp_path, 1)
    with pytest.raises(InputError, match=r"away: no such folder; name it with --masks"):
        open_folders(Layout(root, masks=root / "away"), root, opened)


def test_kinds_of_paths(tmp_path: Path) -> None:
    root = dataset(tmp_path, 1)
    table = root / "train.csv"
    assert (is_folder(root), is_folder(table), is_folder(root / "none")) == (True, False, False)
    assert (is_file(root), is_file(table), is_file(table / "below")) == (False, True, False)
    with pytest.raises(
        InputError, match=r"cannot be accessed .*; check the path and its permissions"
    ):
        is_file(root / ("x" * 1_000))


def test_a_path_is_absolute_without_following_links(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "target")
    monkeypatch.chdir(tmp_path)
    assert absolute_path("a/../link") == tmp_path / "link"
