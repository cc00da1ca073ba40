"""What lies in folders and is no image: it harms none of the images beside it, and is accounted for."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from hpastore.errors import InputError
from hpastore.ingestion.discover import discover
from hpastore.ingestion.layout import Layout
from hpastore.ingestion.run import ingest, plan
from hpastore.model import Orphan
from hpastore.reading import MAX_FILE_BYTES
from hpastore.store.engine import Store
from hpastore.vocabulary import CHANNELS, ROLES
from tests.world import dataset, name_of, rows, scalar, write_image, write_table

A, B, C = map(name_of, range(3))


def failures(store: Store) -> list[tuple[str, str, str]]:
    found = rows(store, "SELECT image_name, code, uri FROM failure ORDER BY image_name")
    return [(row["image_name"], row["code"], row["uri"]) for row in found]


def names(store: Store) -> list[str]:
    return [row["name"] for row in rows(store, "SELECT name FROM image ORDER BY name")]


def bind(path: Path) -> None:
    """Make a socket; from its folder, since its path has at most about 100 bytes."""
    before = Path.cwd()
    os.chdir(path.parent)
    try:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(path.name)
    finally:
        os.chdir(before)


def loop(path: Path) -> None:
    path.symlink_to(path.with_suffix(".b"))
    path.with_suffix(".b").symlink_to(path)


def grow(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(MAX_FILE_BYTES + 1)


ODD: dict[str, tuple[Callable[[Path], None], str]] = {
    "a FIFO": (os.mkfifo, "io"),
    "a socket": (bind, "io"),
    "a folder": (Path.mkdir, "io"),
    "a link to a folder": (lambda path: path.symlink_to(path.parent), "io"),
    "a link to a device": (lambda path: path.symlink_to("/dev/zero"), "io"),
    "a loop of links": (loop, "io"),
    "a link to nothing": (lambda path: path.symlink_to("nowhere"), "missing_file"),
    "a file that is too large": (grow, "too_large"),
    "an empty file": (Path.touch, ""),
}


@pytest.mark.parametrize("kind", ODD)
@pytest.mark.parametrize(
    "uri", [f"train/{B}_blue.png", f"hpa_cell_mask/{B}.npz"], ids=["channel", "mask"]
)
def test_an_image_whose_file_is_no_file_is_rejected_and_the_others_are_stored(
    store: Store, tmp_path: Path, kind: str, uri: str
) -> None:
    root = dataset(tmp_path / "data", 3)
    make, code = ODD[kind]
    (root / uri).unlink()
    make(root / uri)
    assert ingest(store, root, executor="serial").rejected == 1
    assert names(store) == [A, C]
    assert failures(store) == [(B, code or ("not_png" if uri.endswith("png") else "not_mask"), uri)]


def test_links_are_followed_wherever_they_lead(store: Store, tmp_path: Path) -> None:
    """A link to a file, to a link, and to a folder on another disk."""
    root = dataset(tmp_path / "data", 2)
    elsewhere = tmp_path / "disk"
    shutil.move(root / "hpa_cell_mask", elsewhere)
    (root / "hpa_cell_mask").symlink_to(elsewhere)
    red = root / "train" / f"{A}_red.png"
    red.rename(elsewhere / "red.png")
    (elsewhere / "link").symlink_to("red.png")
    red.symlink_to(elsewhere / "link")
    assert ingest(store, root, executor="serial").new == 2
    uri = scalar(store, "SELECT uri FROM image_file WHERE role = 'red' ORDER BY uri LIMIT 1")
    assert uri == f"train/{A}_red.png"
    assert ingest(store, root, executor="serial").unchanged == 2


def test_a_fifth_channel_is_no_part_of_an_image(store: Store, tmp_path: Path) -> None:
    root = dataset(tmp_path / "data", 1)
    shutil.copy(root / "train" / f"{A}_red.png", root / "train" / f"{A}_purple.png")
    assert ingest(store, root, executor="serial").new == 1
    assert scalar(store, "SELECT count(*) FROM image_file") == 5


def test_a_second_mask_of_an_image_is_told_and_not_taken(store: Store, tmp_path: Path) -> None:
    root = dataset(tmp_path / "data", 1)
    np.save(root / "hpa_cell_mask" / f"{A}.npy", np.ones((24, 32), np.uint16))
    assert plan(store, root).orphans == (Orphan("spare_file", A, 1),)
    assert ingest(store, root, executor="serial").cells == 3
    assert (
        scalar(store, "SELECT uri FROM image_file WHERE role = 'cell_mask'")
        == f"hpa_cell_mask/{A}.npz"
    )


def test_files_without_their_counterpart_are_told(store: Store, tmp_path: Path) -> None:
    root = dataset(tmp_path / "data", 3)
    (root / "hpa_cell_mask" / "lonely.npz").touch()
    write_table(root, {A: "0", B: "1", "unseen": "2"})
    assert set(plan(store, root).orphans) == {
        Orphan("image_without_label", C, 5),
        Orphan("mask_without_image", "lonely", 1),
        Orphan("label_without_image", "unseen", 0),
    }
    summary = ingest(store, root, executor="serial")
    assert (summary.new, summary.rejected) == (2, 0)


NAMES = {
    "a line's end": b"a\nb",
    "a sequence that clears a terminal": b"a\x1b[2Jb",
    "a tab": b"a\tb",
    "bytes that are not UTF-8": b"a\xff\xfeb",
    "a letter and its accent apart": "e\u0301".encode(),
    "an accented letter": "\u00e9".encode(),
    "an emoji": "\U0001f9a0".encode(),
    "text that runs backwards": "a\u202eb".encode(),
    "a dash in front": b"-rf",
    "blanks": b" a b ",
    "a quote": b"a'b\"c",
    "as many bytes as a file may have": b"x" * (255 - len("_yellow.png")),
}


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES.keys())
def test_a_name_that_is_not_allowed_is_refused_in_words_that_can_be_printed(
    store: Store, tmp_path: Path, name: bytes
) -> None:
    root = dataset(tmp_path / "data", 1)
    for channel in CHANNELS:
        ending = f"_{channel}.png"
        odd = root / "train" / (os.fsdecode(name) + ending)
        try:
            shutil.copy(root / "train" / (A + ending), odd)
        except OSError as error:  # macOS refuses names that are not UTF-8
            pytest.skip(f"this file system has no such names: {error.strerror}")
    layout = Layout(root, labels="none")
    assert ingest(store, layout, executor="serial").rejected == 1
    assert names(store) == [A]
    (failure,) = rows(store, "SELECT image_name, code, uri, message FROM failure")
    assert failure["code"] == "name"
    assert all(text.isprintable() for text in failure.values())
    assert plan(store, layout).work == 0
    (orphan,) = plan(store, root).orphans
    assert (orphan.kind, orphan.files) == ("image_without_label", 4)
    assert orphan.name.isprintable()


def test_a_folder_without_images_is_no_error_and_says_so(store: Store, tmp_path: Path) -> None:
    root = dataset(tmp_path / "data", 0)
    (root / "train").mkdir()
    (root / "hpa_cell_mask").mkdir()
    with pytest.raises(InputError, match="has a header but no rows"):
        ingest(store, root, executor="serial")
    summary = ingest(store, Layout(root, labels="none"), executor="serial")
    assert (summary.new, summary.rejected) == (0, 0)


def test_a_folder_with_one_file_gives_an_image_that_misses_the_others(
    store: Store, tmp_path: Path
) -> None:
    root = tmp_path / "data"
    write_image(root, A)
    for path in [*(root / "train").glob("*_[rgy]*.png"), *(root / "hpa_cell_mask").iterdir()]:
        path.unlink()
    assert ingest(store, Layout(root, labels="none"), executor="serial").rejected == 1
    ((_, code, uri),) = failures(store)
    assert (code, uri) == ("missing_file", f"train/{A}_red.png")


def test_files_that_are_no_images_are_listed_and_left_alone(tmp_path: Path) -> None:
    root = dataset(tmp_path / "data", 2)
    for n in range(300):
        (root / "train" / f"notes-{n}.txt").touch()
    found = discover(Layout(root))
    assert [source.name for source in found.sources] == [A, B]
    assert [len(source.files) for source in found.sources] == [len(ROLES) - 1] * 2
    assert found.orphans == ()
