from __future__ import annotations

import re
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

import hpastore
from hpastore.errors import ExportError, UsageError
from hpastore.export.selection import ExportOptions
from hpastore.kernels.definitions import CHANNEL_MEASURES
from hpastore.store.engine import Store
from tests.world import dataset, draw_channels, draw_mask, name_of, write_image


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return dataset(tmp_path / "data", 5)


@pytest.fixture
def filled(store: Store, root: Path) -> Store:
    hpastore.ingest(store, root, executor="serial")
    return store


def contents(folder: Path) -> dict[Path, bytes]:
    """What is in a folder, by the file's path in it."""
    return {
        file.relative_to(folder): file.read_bytes() for file in folder.rglob("*") if file.is_file()
    }


def picture(path: Path) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """As red, green, blue."""
    return np.asarray(cv2.imread(str(path)), np.uint8)[:, :, ::-1]


def test_red_green_and_blue_are_microtubules_protein_and_nucleus(
    filled: Store, tmp_path: Path
) -> None:
    hpastore.export_images(filled, tmp_path / "out", jobs=2)
    expected = draw_channels(1, draw_mask(1))
    found = picture(tmp_path / "out" / f"{name_of(1)}.png")
    for place, channel in enumerate(("red", "green", "blue")):
        assert np.array_equal(found[:, :, place], expected[channel])


def test_bgr_swaps_red_and_blue_as_the_notebook_did(filled: Store, tmp_path: Path) -> None:
    hpastore.export_images(filled, tmp_path / "rgb", jobs=1)
    hpastore.export_images(filled, tmp_path / "bgr", channel_order="bgr", jobs=1)
    ours, theirs = (picture(tmp_path / order / f"{name_of(0)}.png") for order in ("rgb", "bgr"))
    assert np.array_equal(ours, theirs[:, :, ::-1])
    assert not np.array_equal(ours, theirs)


def test_sixteen_bits_become_eight(store: Store, tmp_path: Path) -> None:
    root = dataset(tmp_path / "data", 1, bits=16)
    hpastore.ingest(store, root, executor="serial")
    hpastore.export_images(store, tmp_path / "out", jobs=1)
    deep = draw_channels(0, draw_mask(3), 16)["green"].astype(int)
    assert np.array_equal(
        picture(tmp_path / "out" / f"{name_of(0)}.png")[:, :, 1], (deep + 128) // 257
    )


def test_the_images_are_those_that_the_annotations_name(filled: Store, tmp_path: Path) -> None:
    import json

    hpastore.create_clean_set(filled, "mine")
    options = ExportOptions(clean="mine")
    hpastore.export_coco(filled, tmp_path / "mine.json", options, image_format="jpg")
    written = hpastore.export_images(filled, tmp_path / "out", options, image_format="jpg", jobs=1)
    named = {
        image["file_name"] for image in json.loads((tmp_path / "mine.json").read_text())["images"]
    }
    assert {file.name for file in (tmp_path / "out").glob("*.jpg")} == named
    assert written.files == written.images == len(named) == 4
    assert all((tmp_path / "out" / name).read_bytes()[:2] == b"\xff\xd8" for name in named)


def test_one_and_two_processes_write_the_same_bytes(filled: Store, tmp_path: Path) -> None:
    for jobs in (1, 2):
        hpastore.export_images(filled, tmp_path / str(jobs), jobs=jobs)
    one, two = (
        {file.name: file.read_bytes() for file in (tmp_path / str(jobs)).iterdir()}
        for jobs in (1, 2)
    )
    assert one == two
    assert len(one) == 6


def test_a_channel_that_changed_since_it_was_ingested_is_refused(
    filled: Store, root: Path, tmp_path: Path
) -> None:
    write_image(root, name_of(1), seed=99, mask=draw_mask(1))
    with pytest.raises(
        ExportError, match=f"{name_of(1)}_blue.png: has changed since it was ingested"
    ):
        hpastore.export_images(filled, tmp_path / "out", jobs=1)
    assert not (tmp_path / "out").exists()


def test_a_channel_that_is_gone_is_named(filled: Store, root: Path, tmp_path: Path) -> None:
    (root / "train" / f"{name_of(1)}_blue.png").unlink()
    with pytest.raises(
        ExportError,
        match=f"{name_of(1)}_blue.png: is not where it was .* run 'hpastore ingest NEW_PLACE'",
    ):
        hpastore.export_images(filled, tmp_path / "out", jobs=1)
    assert (
        sorted(path.name for path in tmp_path.iterdir() if path.name.startswith(("out", "."))) == []
    )


def forget_channels(store: Store, name: str, *channels: str) -> None:
    """Make of a stored image one that never had some of its channels."""
    image_id = f"(SELECT id FROM image WHERE name = '{name}')"
    with store.writing() as connection:
        for channel in channels:
            nulls = ", ".join(f"{channel}_{measure.name} = NULL" for measure in CHANNEL_MEASURES)
            for statement in (
                f"DELETE FROM image_file WHERE role = '{channel}' AND image_id = {image_id}",
                f"DELETE FROM image_channel WHERE channel = '{channel}' AND image_id = {image_id}",
                f"UPDATE cell SET {nulls} WHERE image_id = {image_id}",
            ):
                connection.exec_driver_sql(statement)


def test_a_channel_that_an_image_lacks_is_black(
    filled: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    forget_channels(filled, name_of(0), "yellow")
    forget_channels(filled, name_of(1), "red", "yellow")
    forget_channels(filled, name_of(3), "red", "green", "blue")
    assert hpastore.export_images(filled, tmp_path / "out", jobs=1).files == 5
    expected = draw_channels(1, draw_mask(1))
    found = picture(tmp_path / "out" / f"{name_of(1)}.png")
    assert not found[:, :, 0].any()
    assert np.array_equal(found[:, :, 1], expected["green"])
    assert np.array_equal(found[:, :, 2], expected["blue"])
    assert not picture(tmp_path / "out" / f"{name_of(3)}.png").any()
    (message,) = caplog.messages
    assert message == (
        f"2 images lack a channel, which is drawn black: {name_of(1)} (red), "
        f"{name_of(3)} (red, green, blue)"
    )


def test_yellow_does_not_matter(filled: Store, root: Path, tmp_path: Path) -> None:
    (root / "train" / f"{name_of(0)}_yellow.png").unlink()
    (root / "train" / f"{name_of(1)}_yellow.png").write_bytes(b"other")
    assert hpastore.export_images(filled, tmp_path / "out", jobs=1).files == 5


def test_force_replaces_an_export_but_no_other_folder(
    filled: Store, root: Path, tmp_path: Path
) -> None:
    shutil.copytree(root / "train", tmp_path / "copy")
    for folder, holds in (
        (root / "train", "the inputs of stored images"),
        (root, "the inputs of stored images"),
        (tmp_path / "copy", "other files"),
    ):
        before = contents(folder)
        with pytest.raises(
            ExportError, match=rf"^{re.escape(str(folder))}: holds {holds}.*; choose another name"
        ):
            hpastore.export_images(filled, folder, jobs=1, force=True)
        assert contents(folder) == before
    hpastore.export_images(filled, tmp_path / "out", jobs=1)
    with pytest.raises(ExportError, match="out: exists"):
        hpastore.export_images(filled, tmp_path / "out", jobs=1)
    hpastore.export_images(
        filled, tmp_path / "out", ExportOptions(labels=(18,)), jobs=1, force=True
    )
    assert hpastore.verify(tmp_path / "out") == 1


def test_progress_counts_up_to_all(filled: Store, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    hpastore.export_images(filled, tmp_path / "out", jobs=1, progress=lambda *now: seen.append(now))
    assert seen == [(i, 5) for i in range(1, 6)]


def test_what_makes_no_sense_is_refused(filled: Store, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"invalid channel_order 'gbr' \(choose from rgb, bgr\)"):
        hpastore.export_images(filled, tmp_path / "out", channel_order="gbr")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=r"invalid image_format 'gif' \(choose from png, jpg\)"):
        hpastore.export_images(filled, tmp_path / "out", image_format="gif")  # type: ignore[arg-type]
    with pytest.raises(ExportError, match="no image to export"):
        hpastore.export_images(filled, tmp_path / "out", ExportOptions(labels=(11,)))
