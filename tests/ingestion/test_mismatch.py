"""Inputs that have nothing in common, and files that are no image's."""

from __future__ import annotations

from pathlib import Path

import pytest

from hpastore.errors import InputError
from hpastore.ingestion.discover import discover
from hpastore.ingestion.layout import Layout
from hpastore.ingestion.mismatch import explain_mismatch
from hpastore.model import ForeignFiles
from tests.world import dataset, name_of, write_image, write_table

A, B, C = map(name_of, range(3))
FOLDER = Path("/data/train")


@pytest.mark.parametrize(
    ("row", "file", "cause"),
    [
        ("a.png", "a_red.png", "remove the ending .png from the IDs"),
        ("a.TIF", "a_red.png", "remove the ending .TIF from the IDs"),
        ("train/a", "a_red.png", "remove the folder from the IDs"),
        ("C:\\hpa\\a", "a_red.png", "remove the folder from the IDs"),
        (
            "train/a.png",
            "a_red.png",
            "remove the folder from the IDs and remove the ending .png from the IDs",
        ),
        ("a_red", "a_red.png", "remove the channel _red from the IDs"),
        ("A", "a_red.png", "the case differs: write the IDs as the files are named"),
        (
            "1",
            "001_red.png",
            "the numbers are written differently: write the IDs as the files are named, as text",
        ),
        (
            "1.0",
            "1_red.png",
            "the numbers are written differently: write the IDs as the files are named, as text",
        ),
        ("a-1", "a_1_red.png", "the separators differ: write the IDs as the files are named"),
        (
            "a",
            "a_red.jpg",
            "a_red.jpg is not read: channels are grey PNG files named ID_red.png and so on",
        ),
        (
            "a",
            "a_red.tif.gz",
            "a_red.tif.gz is not read: channels are grey PNG files named ID_red.png and",
        ),
        ("a", "a.png", "a.png is not read: channels are grey PNG files named ID_red.png and so on"),
        ("a", "b_red.png", "compare the two, or name another folder with --images"),
    ],
)
def test_an_unmatched_name_of_each_side_is_shown_with_the_likely_cause(
    row: str, file: str, cause: str
) -> None:
    message = explain_mismatch([row], [file], FOLDER)
    assert f"the table has {row!r}, the folder {file!r}; {cause}" in message


def test_the_names_that_are_shown_are_those_that_are_nearly_equal() -> None:
    rows, files = ["a", "b", "z.png"], ["c_red.png", "z_blue.png", "z_red.png"]
    assert "the table has 'z.png', the folder 'z_blue.png'" in explain_mismatch(rows, files, FOLDER)


def test_control_characters_are_not_shown_as_they_are() -> None:
    message = explain_mismatch(["a\x1b[2J"], ["b\x07.png"], FOLDER)
    assert message.isprintable()


def renamed(root: Path, old: str, new: str) -> None:
    for path in sorted((root / "train").iterdir()):
        path.rename(path.with_name(path.name.replace(old, new)))


def ids(root: Path, pattern: str) -> None:
    write_table(root, {pattern.format(name_of(i)): "0" for i in range(3)})


@pytest.mark.parametrize("pattern", ["{}.png", "train/{}", "X{}"])
def test_a_table_and_folders_without_a_common_image_are_refused(
    tmp_path: Path, pattern: str
) -> None:
    root = dataset(tmp_path, 3)
    ids(root, pattern)
    with pytest.raises(
        InputError, match=r"train\.csv: no row matches an image in \S+/train: the table has"
    ):
        discover(Layout(root))


def test_a_folder_of_other_pictures_is_refused(tmp_path: Path) -> None:
    root = dataset(tmp_path, 3)
    renamed(root, ".png", ".jpg")
    for path in (root / "hpa_cell_mask").iterdir():
        path.unlink()
    with pytest.raises(InputError, match=r"'image-00_blue\.jpg'; image-00_blue\.jpg is not read"):
        discover(Layout(root))
    with pytest.raises(
        InputError,
        match=r"train: no files match the expected names .* 12 files, such as image-00_blue\.jpg",
    ):
        discover(Layout(root, "none"))


def test_one_image_in_common_is_enough(tmp_path: Path) -> None:
    root = dataset(tmp_path, 3)
    write_table(root, {A: "0", "x.png": "0", "y.png": "0"})
    found = discover(Layout(root))
    assert [len(source.files) for source in found.sources] == [5, 0, 0]
    assert {orphan.kind for orphan in found.orphans} == {"image_without_label"}


def test_an_image_whose_row_is_bad_is_in_common(tmp_path: Path) -> None:
    root = dataset(tmp_path, 1)
    write_table(root, {A: "99"})
    assert [failure.code for failure in discover(Layout(root)).failures] == ["label"]


def test_a_limit_may_leave_out_all_that_is_in_common(tmp_path: Path) -> None:
    root = dataset(tmp_path, 1)
    write_table(root, {"aaa": "0", A: "0"})
    assert [source.files for source in discover(Layout(root, limit=1)).sources] == [()]
    assert discover(Layout(root, limit=0)).sources == ()


def test_rows_without_any_file_yet_are_no_error(tmp_path: Path) -> None:
    root = dataset(tmp_path, 0)
    for folder in ("train", "hpa_cell_mask"):
        (root / folder).mkdir()
    write_table(root, {A: "0"})
    found = discover(Layout(root))
    assert (found.seen, found.remarks) == (
        0,
        (f"{root}/train is empty", f"{root}/hpa_cell_mask is empty"),
    )


# Hidden and foreign files


def test_hidden_files_are_ignored(tmp_path: Path) -> None:
    root = dataset(tmp_path, 2, nuclei=True)
    before = {labels: discover(Layout(root, labels)) for labels in (None, "none")}
    for path in [path for path in root.rglob("*") if path.is_file()]:
        path.with_name(f"._{path.name}").write_bytes(b"\0\5\x16\7")
    (root / "train" / ".DS_Store").write_bytes(b"x")
    (root / "train" / ".ipynb_checkpoints").mkdir()
    for labels, found in before.items():
        assert discover(Layout(root, labels)) == found


def test_files_of_other_kinds_are_counted(tmp_path: Path) -> None:
    root = dataset(tmp_path, 2)
    assert discover(Layout(root)).foreign == ForeignFiles()
    for name in (f"{A}_mask.png", "notes.txt", "Thumbs.db"):
        (root / "train" / name).write_bytes(b"x")
    (root / "hpa_cell_mask" / f"{B}.tif").write_bytes(b"x")
    (root / "train" / "folder").mkdir()
    found = discover(Layout(root)).foreign
    assert found == ForeignFiles(4, "Thumbs.db")
    assert str(found) == "4 files of other kinds, such as Thumbs.db"


def test_the_table_and_folders_in_one_place_are_no_foreign_files(tmp_path: Path) -> None:
    write_image(tmp_path, A)
    for folder in ("train", "hpa_cell_mask"):
        for path in (tmp_path / folder).iterdir():
            path.rename(tmp_path / path.name)
    write_table(tmp_path, {A: "0"})
    found = discover(Layout(tmp_path, images=tmp_path, masks=tmp_path))
    assert (found.seen, found.foreign) == (5, ForeignFiles())


def test_rows_that_nearly_name_an_image_are_said_though_others_meet(tmp_path: Path) -> None:
    root = dataset(tmp_path, 3)
    assert discover(Layout(root)).near is None
    write_table(root, {A: "0", f"{B}.png": "0", f"{C}.png": "0", "unseen": "0"})
    assert discover(Layout(root)).near == (
        f"2 rows nearly name an existing image, such as '{B}.png' for '{B}_red.png'; "
        "remove the ending .png from the IDs"
    )
