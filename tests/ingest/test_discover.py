from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from hpastore.errors import InputError, UsageError
from hpastore.ingest.discover import Layout, discover
from hpastore.model import CELL_MASK, CHANNELS, FileStamp, Found
from tests.world import dataset, draw_mask, name_of, write_image, write_table


def roles(found: Found, i: int = 0) -> dict[str, str]:
    return {file.role: file.uri for file in found.sources[i].files}


def moved(root: Path, folder: str, to: Path) -> Path:
    to.parent.mkdir(parents=True, exist_ok=True)
    return (root / folder).rename(to)


def test_the_usual_layout(tmp_path: Path) -> None:
    root = dataset(tmp_path, 3, labels=["16|0", "13|13", "5"])
    found = discover(Layout(root))
    assert found.root == root
    assert found.failures == ()
    assert [(s.name, s.labels) for s in found.sources] == [
        (name_of(0), (0, 16)),
        (name_of(1), (13,)),
        (name_of(2), (5,)),
    ]
    name = name_of(0)
    expected = {channel: f"train/{name}_{channel}.png" for channel in CHANNELS}
    assert roles(found) == {**expected, CELL_MASK: f"hpa_cell_mask/{name}.npz"}
    assert list(roles(found)) == [*CHANNELS, CELL_MASK]


def test_stamps_are_what_the_folder_shows(tmp_path: Path) -> None:
    file = discover(Layout(dataset(tmp_path))).sources[0].files[0]
    stat = (tmp_path / file.uri).stat()
    assert file == FileStamp("red", file.uri, stat.st_size, stat.st_mtime_ns)


def test_nuclei_are_found_where_they_are(tmp_path: Path) -> None:
    root = dataset(tmp_path, nuclei=True)
    found = roles(discover(Layout(root)))
    assert found["nucleus_mask"] == f"hpa_nuclei_mask/{name_of(0)}.npz"
    assert list(found)[-1] == "nucleus_mask"
    elsewhere = moved(root, "hpa_nuclei_mask", root / "nuclei")
    assert "nucleus_mask" not in roles(discover(Layout(root)))
    assert roles(discover(Layout(root, nuclei=elsewhere)))["nucleus_mask"] == f"nuclei/{name_of(0)}.npz"


def test_masks_may_be_arrays_or_pictures(tmp_path: Path) -> None:
    root = dataset(tmp_path, 3)
    masks = root / "hpa_cell_mask"
    for i, ending in enumerate((".npy", "_cellmask.png")):
        (masks / f"{name_of(i)}.npz").unlink()
        if ending == ".npy":
            np.save(masks / f"{name_of(i)}.npy", draw_mask())
        else:
            cv2.imwrite(str(masks / f"{name_of(i)}_cellmask.png"), draw_mask())
    found = discover(Layout(root))
    endings = [roles(found, i)[CELL_MASK].removeprefix(f"hpa_cell_mask/{name_of(i)}") for i in range(3)]
    assert endings == [".npy", "_cellmask.png", ".npz"]
    np.save(masks / f"{name_of(2)}.npy", draw_mask())
    assert roles(discover(Layout(root)), 2)[CELL_MASK].endswith(".npz")


def test_images_without_labels(tmp_path: Path) -> None:
    root = dataset(tmp_path, 2)
    write_image(root, "another")
    (root / "train.csv").unlink()
    for file in ("note.txt", "no channel.png", "x_purple.png", "_red.png", "a b_red.png"):
        (root / "train" / file).touch()
    (root / "train" / "lonely_yellow.png").touch()
    found = discover(Layout(root, labels="none"))
    assert [(s.name, s.labels) for s in found.sources] == [
        (name, ()) for name in ("another", name_of(0), name_of(1), "lonely")
    ]


def test_a_table_and_columns_of_another_name(tmp_path: Path) -> None:
    root = dataset(tmp_path / "data", 1)
    (root / "train.csv").unlink()
    table = tmp_path / "labels.tsv"
    table.write_text(f"Label\timage\n3|1\t{name_of(0)}\n")
    found = discover(Layout(root, labels=table, id_column="image"))
    assert found.sources[0].labels == (1, 3)
    assert len(found.sources[0].files) == 5


def test_uris_are_relative_inside_the_root_and_absolute_outside(tmp_path: Path) -> None:
    root = dataset(tmp_path / "data", 1)
    name = name_of(0)
    images = moved(root, "train", root / "deep" / "er" / "train")
    masks = moved(root, "hpa_cell_mask", tmp_path / "masks")
    found = roles(discover(Layout(root, images=images, masks=masks)))
    assert found["red"] == f"deep/er/train/{name}_red.png"
    assert found[CELL_MASK] == f"{masks.as_posix()}/{name}.npz"


def test_images_may_lie_in_the_root_itself(tmp_path: Path) -> None:
    root = dataset(tmp_path, 1)
    found = roles(discover(Layout(root, images=root / "train", masks=root / "hpa_cell_mask")))
    assert roles(
        discover(Layout(root / "train", root / "train.csv", root / "train", root / "hpa_cell_mask"))
    ) == {
        **{channel: f"{name_of(0)}_{channel}.png" for channel in CHANNELS},
        CELL_MASK: f"{root.as_posix()}/{found[CELL_MASK]}",
    }


def test_a_relative_root_is_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset(tmp_path / "data", 1)
    monkeypatch.chdir(tmp_path)
    found = discover(Layout(Path("data"), images=Path("data/train")))
    assert found == discover(Layout(tmp_path / "data"))


@pytest.mark.parametrize(("limit", "taken"), [(0, 0), (1, 1), (2, 2), (9, 4), (None, 4)])
def test_a_limit_takes_the_first_by_name(tmp_path: Path, limit: int | None, taken: int) -> None:
    root = dataset(tmp_path, 4)
    names = [name_of(i) for i in (3, 1, 0, 2)]
    write_table(root, dict.fromkeys(names, "0"))
    found = discover(Layout(root, limit=limit))
    assert [source.name for source in found.sources] == sorted(names)[:taken]


def test_a_limit_counts_rows_that_cannot_be_taken(tmp_path: Path) -> None:
    root = dataset(tmp_path, 3)
    write_table(root, {name_of(0): "99", name_of(1): "1", name_of(2): "nonsense"})
    found = discover(Layout(root, limit=2))
    assert [source.name for source in found.sources] == [name_of(1)]
    assert [failure.image_name for failure in found.failures] == [name_of(0)]
    assert len(discover(Layout(root)).failures) == 2


def test_a_limit_below_zero_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="limit takes a number of images, 0 or more"):
        discover(Layout(dataset(tmp_path), limit=-1))


def test_files_that_are_not_there_are_left_out(tmp_path: Path) -> None:
    root = dataset(tmp_path, 2)
    (root / "train" / f"{name_of(0)}_red.png").unlink()
    blue = root / "train" / f"{name_of(0)}_blue.png"
    blue.unlink()
    blue.symlink_to(root / "gone.png")
    write_table(root, {name_of(0): "0", "stranger": "1"})
    found = discover(Layout(root))
    assert list(roles(found, 0)) == ["green", "yellow", CELL_MASK]
    assert (found.sources[1].name, found.sources[1].files) == ("stranger", ())


def test_a_link_is_as_good_as_its_file(tmp_path: Path) -> None:
    root = dataset(tmp_path / "data", 1)
    red = root / "train" / f"{name_of(0)}_red.png"
    red.rename(tmp_path / "red.png")
    red.symlink_to(tmp_path / "red.png")
    assert roles(discover(Layout(root)))["red"] == f"train/{name_of(0)}_red.png"


@pytest.mark.parametrize(
    ("gone", "layout", "message"),
    [
        ("", {}, r"data: no such folder; give the folder that holds train\.csv, train/ and hpa_cell_mask/"),
        ("train", {}, "train: no such folder; name it with --images"),
        ("hpa_cell_mask", {}, "hpa_cell_mask: no such folder; name it with --masks"),
        ("train.csv", {}, r"train\.csv: no such table; name it with --labels CSV, or say --labels none"),
        ("train.csv", {"nuclei": Path("/nowhere")}, "nowhere: no such folder; name it with --nuclei"),
        ("train.csv", {"labels": Path("/nowhere.csv")}, r"nowhere\.csv: no such table"),
        (
            "train.csv",
            {"images": Path(__file__)},
            r"cannot be listed \(Not a directory\); name a folder with --images",
        ),
    ],
)
def test_what_is_missing_is_named(tmp_path: Path, gone: str, layout: dict[str, Path], message: str) -> None:
    root = dataset(tmp_path / "data", 1)
    (root / gone).rename(tmp_path / "away")
    with pytest.raises(InputError, match=message):
        discover(Layout(root, **layout))  # type: ignore[arg-type]  # they are paths
