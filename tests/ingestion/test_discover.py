from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from hpastore.errors import InputError, UsageError
from hpastore.ingestion.discover import discover
from hpastore.ingestion.layout import Layout
from hpastore.model import FileStamp, Inputs, Orphan
from hpastore.vocabulary import CELL_MASK, CHANNELS
from tests.world import dataset, draw_mask, name_of, write_image, write_table


def roles(found: Inputs, i: int = 0) -> dict[str, str]:
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
    assert (
        roles(discover(Layout(root, nuclei=elsewhere)))["nucleus_mask"]
        == f"nuclei/{name_of(0)}.npz"
    )


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
    endings = [
        roles(found, i)[CELL_MASK].removeprefix(f"hpa_cell_mask/{name_of(i)}") for i in range(3)
    ]
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
    assert [(f.image_name, f.code, f.uri) for f in found.failures] == [
        ("", "name", "train/_red.png"),
        ("a b", "name", "train/a b_red.png"),
    ]
    assert found.failures[1].message == (
        "a b: the name is not allowed; use 1 to 128 letters, digits, '.', '_' and '-', "
        "a letter or digit first; rename the image's files"
    )
    assert found.refused == {"": 1, "a b": 1}


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
        (
            "",
            {},
            r"data: no such folder; give the folder that holds train\.csv, train/ and hpa_cell_mask/",
        ),
        ("train", {}, "train: no such folder; name it with --images"),
        ("hpa_cell_mask", {}, "hpa_cell_mask: no such folder; name it with --masks"),
        (
            "train.csv",
            {},
            r"train\.csv: no such table; name it with --labels FILE, or give --labels none",
        ),
        (
            "train.csv",
            {"nuclei": Path("/nowhere")},
            "nowhere: no such folder; name it with --nuclei",
        ),
        ("train.csv", {"labels": Path("/nowhere.csv")}, r"nowhere\.csv: no such table"),
        (
            "train.csv",
            {"images": Path(__file__)},
            r"cannot be listed \(Not a directory\); name a folder with --images",
        ),
    ],
)
def test_what_is_missing_is_named(
    tmp_path: Path, gone: str, layout: dict[str, Path], message: str
) -> None:
    root = dataset(tmp_path / "data", 1)
    (root / gone).rename(tmp_path / "away")
    with pytest.raises(InputError, match=message):
        discover(Layout(root, **layout))  # type: ignore[arg-type]  # they are paths


# One folder for several things


def test_masks_and_images_may_share_a_folder(tmp_path: Path) -> None:
    root = dataset(tmp_path, 2, nuclei=True)
    for folder in ("hpa_cell_mask", "train"):
        for file in (root / folder).iterdir():
            file.rename(root / file.name)
    found = discover(Layout(root, images=root, masks=root))
    assert roles(found)[CELL_MASK] == f"{name_of(0)}.npz"
    assert (found.seen, found.orphans) == (12, ())


def test_an_array_in_one_folder_for_cells_and_nuclei_is_the_mask_of_cells(tmp_path: Path) -> None:
    root = dataset(tmp_path, 2)
    masks = root / "hpa_cell_mask"
    cv2.imwrite(str(masks / f"{name_of(1)}_nucleimask.png"), draw_mask())
    np.save(masks / f"{name_of(1)}.npy", draw_mask())
    found = discover(Layout(root, nuclei=masks))
    assert list(roles(found, 0)) == [*CHANNELS, CELL_MASK]
    assert roles(found, 1)["nucleus_mask"] == f"hpa_cell_mask/{name_of(1)}_nucleimask.png"
    assert (found.seen, found.orphans) == (12, (Orphan("spare_file", name_of(1), 1),))


# What belongs to no image


def test_orphans_are_told_by_what_they_lack(tmp_path: Path) -> None:
    root = dataset(tmp_path, 4, nuclei=True)
    write_table(root, {name_of(0): "0", name_of(1): "99"})
    for file in (root / "train").glob(f"{name_of(3)}_*"):
        file.unlink()
    (root / "train" / f"{name_of(0)}_pink.png").touch()
    found = discover(Layout(root))
    assert found.orphans == (
        Orphan("image_without_label", name_of(2), 6),
        Orphan("mask_without_image", name_of(3), 2),
    )
    assert (found.seen, found.refused) == (20, {name_of(1): 6})


def test_a_limit_tells_no_orphans_and_counts_what_it_took(tmp_path: Path) -> None:
    root = dataset(tmp_path, 4)
    write_table(root, {name_of(0): "0", name_of(1): "99", name_of(2): "0"})
    found = discover(Layout(root, limit=2))
    assert (found.complete, found.orphans, found.seen, found.refused) == (
        False,
        (),
        10,
        {name_of(1): 5},
    )


# Names


def test_names_that_are_equal_but_for_case_are_not_both_taken(tmp_path: Path) -> None:
    root = dataset(tmp_path, 1)
    for name in ("Cell", "cell", "CELL"):
        write_image(root, name)
    found = discover(Layout(root, labels="none"))
    assert [s.name for s in found.sources] == ["CELL", name_of(0)]
    assert [(f.image_name, f.code, f.message) for f in found.failures] == [
        (
            name,
            "duplicate",
            f"{name}: the name differs from CELL only in case; rename the image's files",
        )
        for name in ("Cell", "cell")
    ]
    write_table(root, {"cell": "0", "CELL": "0"})
    found = discover(Layout(root))
    assert [s.name for s in found.sources] == ["cell"]
    assert "line 3" in found.failures[0].message


@pytest.mark.parametrize(
    "name", ["nai\u0308ve", "na\xefve", "a\u212a", "\uff21", "a\x1b[31m", "a\nb", "\udcff"]
)
@pytest.mark.parametrize("labels", ["none", None])
def test_names_with_odd_characters_are_told_and_never_as_they_are(
    tmp_path: Path, name: str, labels: str | None
) -> None:
    root = dataset(tmp_path, 1)
    for channel in CHANNELS:
        (root / "train" / f"{name}_{channel}.png").touch()
    if labels is None and name.isprintable():
        write_table(root, {name_of(0): "0", name: "0"})
    found = discover(Layout(root, labels=labels))
    assert [s.name for s in found.sources] == [name_of(0)]
    said = [(f.image_name, found.refused[f.image_name]) for f in found.failures]
    said += [(orphan.name, orphan.files) for orphan in found.orphans]
    assert said == [(name if name.isprintable() else repr(name)[1:-1], 4)]
    assert all(
        text.isprintable() for f in found.failures for text in (f.image_name, f.uri, f.message)
    )


def test_a_name_that_is_cut_is_not_taken_for_another(tmp_path: Path) -> None:
    root, name = tmp_path, "n" * 128
    write_image(root, name)
    for longer in ("n" * 129, "n" * 130):
        (root / "train" / f"{longer}_red.png").touch()
    write_table(root, {name: "0", "n" * 129: "0", "n" * 130: "0"})
    for labels in (None, "none"):
        found = discover(Layout(root, labels=labels))
        assert [s.name for s in found.sources] == [name]
        assert {f.image_name for f in found.failures} == {"n" * 127 + "…"}
        assert found.refused == {"n" * 127 + "…": 2}
        assert found.seen == 7


# What cannot be looked at


@pytest.mark.parametrize("option", ["root", "labels", "images", "masks", "nuclei"])
def test_a_path_that_cannot_be_looked_at_is_named_with_the_reason(
    tmp_path: Path, option: str
) -> None:
    root = dataset(tmp_path / "data", 1)
    long, loop = tmp_path / ("x" * 300), tmp_path / "loop"
    loop.symlink_to(loop)
    for path, reason in ((long, "File name too long"), (loop, "Too many levels of symbolic links")):
        paths: dict[str, Any] = {"root": root, option: path}
        with pytest.raises(InputError, match=reason) as caught:
            discover(Layout(**paths))
        assert caught.value.path == path


@pytest.mark.skipif(os.geteuid() == 0, reason="root may look anywhere")
def test_a_folder_that_may_not_be_looked_into_is_named(tmp_path: Path) -> None:
    root = dataset(tmp_path / "data", 1)
    root.chmod(0)
    try:
        with pytest.raises(InputError, match="Permission denied"):
            discover(Layout(root))
    finally:
        root.chmod(0o700)


def test_a_table_whose_name_is_not_utf_8_is_refused(tmp_path: Path) -> None:
    root = dataset(tmp_path, 1)
    table = (root / "train.csv").rename(root / "\udcff.csv")
    with pytest.raises(InputError, match="is not UTF-8"):
        discover(Layout(root, labels=table))


def test_a_large_folder_is_listed_once_and_no_file_is_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = dataset(tmp_path, 1)
    for i in range(2000):
        (root / "train" / f"other-{i}_red.png").touch()
    listed: list[int] = []
    listdir = os.listdir

    def noted(folder: int) -> Any:
        listed.append(os.stat(folder).st_ino)
        return listdir(folder)

    monkeypatch.setattr(os, "listdir", noted)
    monkeypatch.setattr(Path, "open", None)
    found = discover(Layout(root))
    assert listed == [(root / name).stat().st_ino for name in ("train", "hpa_cell_mask")]
    assert (len(found.orphans), found.seen) == (2000, 2005)


def test_an_empty_folder_holds_nothing(tmp_path: Path) -> None:
    for folder in ("train", "hpa_cell_mask"):
        (tmp_path / folder).mkdir()
    found = discover(Layout(tmp_path, labels="none"))
    assert (found.sources, found.failures, found.orphans, found.seen) == ((), (), (), 0)
