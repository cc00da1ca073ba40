from __future__ import annotations

import gzip
import logging
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from sqlalchemy import update

from hpastore.clean import overrides as module
from hpastore.clean.create import create_clean_set, refresh_clean_set
from hpastore.clean.overrides import (
    Override,
    list_overrides,
    override_cells,
    parse_cell,
    read_overrides,
    undo_overrides,
)
from hpastore.clean.rules import CleanRecipe, Rule
from hpastore.errors import ExportError, InputError, NotFoundError, UsageError
from hpastore.export.overrides import export_overrides
from hpastore.kernels.image import measure
from hpastore.model import Measured
from hpastore.schema.tables import CellOverride
from hpastore.store import write
from hpastore.store.engine import Store
from hpastore.synthetic.fields import draw_field
from tests.world import decoded, measured, put, rows

Mask = npt.NDArray[Any]

WIDE = CleanRecipe((Rule(lower=0, upper=1),), 0, "all")


def drawn(mask: Mask, name: str = "a", labels: tuple[int, ...] = (0,)) -> Measured:
    """An image with this mask."""
    height, width = mask.shape
    made = measured(name, labels, measure(decoded(0, mask), 0.99))
    return Measured(made.source, made.files, width, height, 8, made.cells)


def attached(store: Store) -> dict[str, bool]:
    return dict(list_overrides(store)[["cell", "attached"]].itertuples(index=False, name=None))


def reasons(store: Store, name: str) -> dict[tuple[str, int], str | None]:
    found = rows(
        store,
        "SELECT mask_id, label_id, reason FROM clean_cell WHERE image_name = 'a' AND clean_set = :name "
        "AND version = (SELECT max(version) FROM clean_set WHERE name = :name)",
        name=name,
    )
    return {(f"a:{row['mask_id']}", row["label_id"]): row["reason"] for row in found}


def test_an_override_beats_every_rule_and_one_for_a_label_beats_one_for_all(store: Store) -> None:
    nan = float("nan")
    put(
        store,
        measured("a", (0, 16), green_fraction=[nan, 0.2, 0.3], green_intensity_max=[9, 9, 99]),
        measured("b", (0,)),
        measured("c", (16,), green_fraction=[0.1, 0.9]),
    )
    create_clean_set(store, "x", WIDE)
    override_cells(
        store,
        [
            Override("a:1", keep=True),
            Override("a:2", keep=False),
            Override("a:2", keep=True, label=16),
            Override("a:3", keep=False, label=0),
        ],
    )
    before = rows(store, "SELECT * FROM clean_set_cell ORDER BY cell_id, label_id")
    refresh_clean_set(store, "x")
    found = reasons(store, "x")
    assert found["a:1", 0] == found["a:1", 16] == found["a:2", 16] == "override_keep"
    assert found["a:2", 0] == found["a:3", 0] == "override_drop"
    assert found["a:3", 16] is None
    sql = "SELECT * FROM clean_set_cell WHERE clean_set_id = 1 ORDER BY cell_id, label_id"
    assert rows(store, sql) == before


def test_an_override_replaces_an_earlier_one(store: Store) -> None:
    put(store, measured("a", (0,)))
    override_cells(store, [Override("a:1", keep=True, score=0.9, author="x", comment="fine")])
    assert (
        override_cells(store, [Override("a:1", keep=True), Override("a:1", keep=False, score=0.25)])
        == 1
    )
    [found] = list_overrides(store).to_dict("records")
    assert (found["cell"], found["keep"], found["score"], found["attached"]) == (
        "a:1",
        False,
        0.25,
        True,
    )
    assert found["author"] is None


def test_undo_deletes_overrides_of_a_label_or_all(store: Store) -> None:
    put(store, measured("a", (0, 16)))
    every = [Override("a:1", keep=True, label=label) for label in (None, 0, 16)]
    override_cells(store, every)
    assert undo_overrides(store, ["a:1"], label=16, every=False) == 1
    assert undo_overrides(store, ["a:1"], label=None, every=False) == 1
    assert list_overrides(store)["label_id"].tolist() == [0]
    override_cells(store, every)
    assert undo_overrides(store, ["a:1", "a:2"]) == 3
    assert list_overrides(store).empty


def test_cells_that_the_store_has_not_are_named_or_left_out(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    put(store, measured("a", (0,)))
    decided = [Override("a:1", keep=True), *(Override(f"a:{n}", keep=False) for n in range(20, 28))]
    some = "the store has no cell a:20, a:21, a:22, a:23, a:24 and 3 more; "
    with pytest.raises(NotFoundError, match=f"^{some}nothing was written$"):
        override_cells(store, decided)
    assert list_overrides(store).empty
    assert override_cells(store, decided, skip_unknown=True) == 1
    assert caplog.messages == [f"{some}decisions about them are left out"]


def test_a_decision_for_a_label_that_its_cell_lacks_is_stored_with_a_warning(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    put(store, measured("a", (0, 3)))
    decided = [Override("a:1", keep=True, label=label) for label in (0, 3, None)]
    assert override_cells(store, decided) == 3
    assert caplog.messages == []
    assert override_cells(store, [Override("a:2", keep=False, label=4)]) == 1
    assert caplog.messages == ["decided for a label that the cell does not have: a:2"]


@pytest.mark.parametrize(
    ("override", "error", "message"),
    [
        (Override("a:9", keep=True), NotFoundError, "no cell a:9"),
        (Override("b:1", keep=True), NotFoundError, "no cell b:1"),
        (Override("a", keep=True), UsageError, "invalid cell name 'a'; cells are named NAME:ID"),
        (Override("a:0", keep=True), UsageError, "NAME:ID"),
        (Override("a:1", keep=True, label=19), UsageError, "no label 19"),
        (
            Override("a:1", keep=True, score=1.5),
            UsageError,
            "invalid score 1.5; use a number from 0 to 1",
        ),
        (
            Override("a:1", keep=True, comment="a\0b"),
            UsageError,
            "the comment contains a NUL character",
        ),
        (Override("a:1", keep=True, author="\udcff"), UsageError, "the author is not valid UTF-8"),
    ],
)
def test_nothing_is_written_if_one_override_is_invalid(
    store: Store, override: Override, error: type[Exception], message: str
) -> None:
    put(store, measured("a", (0,)))
    with pytest.raises(error, match=message):
        override_cells(store, [Override("a:1", keep=True), override])
    assert list_overrides(store).empty


# A mask that is replaced


def fields() -> Mask:
    """The cell mask of a drawn field: cells beside each other, as a segmentation has them."""
    return draw_field(0, size=384, seed=3).cell_mask.astype(np.int64)


def resegmented(mask: Mask) -> tuple[Mask, dict[int, int], set[int]]:
    """The mask of another segmentation: other ids, some outlines a little else, two cells not the same.

    Returns
    -------
    mask, new id by old id of those that are the same, old ids of those that are not
    """
    ids = np.unique(mask[mask > 0]).tolist()
    new = {old: 3 * n + 7 for n, old in enumerate(reversed(ids))}
    made = np.zeros_like(mask)
    for n, old in enumerate(ids):
        region = (mask == old).astype(np.uint8)
        if n % 3 == 1:
            region = cv2.erode(region, np.ones((3, 3), np.uint8))
        if n % 3 == 2:
            region = cv2.dilate(region, np.ones((3, 3), np.uint8)) & (made == 0)
        made[region > 0] = new[old]
    lost = set(ids[:2])
    for old in lost:  # half of it
        row, column = np.nonzero(made == new[old])
        half = column < np.median(column)
        made[row[half], column[half]] = 0
    return made, {old: new[old] for old in ids if old not in lost}, lost


def replace_and_look(store: Store, mask: Mask, caplog: pytest.LogCaptureFixture) -> None:
    put(store, drawn(mask))
    ids = np.unique(mask[mask > 0]).tolist()
    override_cells(
        store, [Override(f"a:{old}", keep=bool(old % 2), comment=str(old)) for old in ids]
    )
    made, same, lost = resegmented(mask)
    with caplog.at_level(logging.WARNING, logger="hpastore"):
        put(store, drawn(made))
    found = {row["comment"]: row for row in list_overrides(store).to_dict("records")}
    assert {old: found[str(old)]["cell"] for old in same} == {
        old: f"a:{new}" for old, new in same.items()
    }
    assert {old for old in ids if not found[str(old)]["attached"]} == lost
    assert all(found[str(old)]["keep"] == bool(old % 2) for old in ids)
    n = len(lost)
    assert caplog.messages == [
        f"a: {n} overrides are no longer attached to a cell; see 'hpastore clean overrides --lost'"
    ]
    create_clean_set(store, "x", WIDE)
    verdict = {True: "override_keep", False: "override_drop"}
    assert all(
        reasons(store, "x")[f"a:{new}", 0] == verdict[bool(old % 2)] for old, new in same.items()
    )
    # And back: those that were lost find their cells again.
    put(store, drawn(mask))
    assert attached(store) == {f"a:{old}": True for old in ids}


def test_overrides_survive_a_replaced_mask(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    replace_and_look(store, fields(), caplog)


def test_overrides_survive_a_replaced_mask_of_a_real_image(
    store: Store, hpa_data: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = min((hpa_data / "hpa" / "hpa_cell_mask").glob("*.npz"))
    with np.load(path) as file:
        mask = file["arr_0"][::2, ::2].astype(np.int64)
    replace_and_look(store, mask, caplog)


def test_the_iou_of_seven_tenths_is_the_same_cell_and_less_is_not(store: Store) -> None:
    mask = np.zeros((10, 30), np.int64)
    mask[:, 2:12] = 1
    mask[:, 14:24] = 2
    put(store, drawn(mask))
    override_cells(store, [Override("a:1", keep=True), Override("a:2", keep=True)])
    other = np.zeros_like(mask)
    other[:, 2:9] = 5  # 70 of 100 pixels
    other[:, 14:21] = 6
    other[0, 20] = 0  # 69 of 100
    put(store, drawn(other))
    assert attached(store) == {"a:2": False, "a:5": True}


def test_overrides_of_another_size_or_a_pruned_image_wait_for_their_cells(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    mask = np.zeros((4, 6), np.int64)
    mask[1:3, 1:5] = 1
    put(store, drawn(mask))
    override_cells(store, [Override("a:1", keep=False)])
    put(store, drawn(np.pad(mask, 1)))
    assert attached(store) == {"a:1": False}
    put(store, drawn(mask))
    assert attached(store) == {"a:1": True}
    caplog.clear()
    with caplog.at_level(logging.WARNING, logger="hpastore"), store.writing() as connection:
        write.delete_images(connection, ["a"])
    assert caplog.messages == [
        "a: 1 override is no longer attached to a cell; see 'hpastore clean overrides --lost'"
    ]
    assert attached(store) == {"a:1": False}
    put(store, drawn(mask))
    assert attached(store) == {"a:1": True}


def test_of_two_that_fit_one_cell_the_newer_counts(store: Store) -> None:
    mask = np.zeros((4, 12), np.int64)
    mask[:, 1:11] = 1
    put(store, drawn(mask))
    override_cells(store, [Override("a:1", keep=False, comment="old")])
    put(store, drawn(np.zeros_like(mask)))
    put(store, drawn(np.where(np.arange(12) > 5, mask, 0)))
    override_cells(store, [Override("a:1", keep=True, comment="new")])
    with store.writing() as connection:  # the old one is of the same pixels
        connection.execute(
            update(CellOverride).values(rle=rows(store, "SELECT rle FROM cell_mask")[0]["rle"])
        )
    put(store, drawn(np.where(np.arange(12) > 5, mask, 0)))
    found = list_overrides(store)
    assert dict(zip(found["comment"], found["attached"], strict=True)) == {
        "old": False,
        "new": True,
    }


# Files


def test_what_is_exported_reads_back(store: Store, tmp_path: Path) -> None:
    put(store, measured("a", (0,)), measured("b-1_x", (16,)))
    decided = [
        Override(
            "a:1", keep=True, label=0, score=1 / 3, author="x, y", comment='two "lines"\nof it'
        ),
        Override("a:1", keep=False),
        Override("b-1_x:3", keep=False, comment="ä"),
    ]
    override_cells(store, decided)
    out = tmp_path / "decided.csv"
    assert export_overrides(store, out) == 3
    assert sorted(read_overrides(out), key=repr) == sorted(decided, key=repr)
    with pytest.raises(
        ExportError, match="exists; choose another name, or replace it with --force"
    ):
        export_overrides(store, str(out))
    assert export_overrides(store, out, force=True) == 3
    assert list(tmp_path.glob("*decided*")) == [out]


def test_any_comment_reads_back_with_its_lines_ended_alike(store: Store, tmp_path: Path) -> None:
    put(store, measured("a", (0,)))
    said = [
        "a\rb",
        "a\r\nb\n",
        ' "quoted", and more',
        "=1+1",
        " in front",
        "\t",
        "-",
        "\x1b[31m",
        "\N{GREEK SMALL LETTER MU}",
    ]
    for comment in said:
        override_cells(store, [Override("a:1", keep=True, comment=comment)])
        export_overrides(store, tmp_path / "o.csv", force=True)
        (back,) = read_overrides(str(tmp_path / "o.csv"))
        assert back.comment == comment.replace("\r\n", "\n").replace("\r", "\n")


def test_a_detached_override_is_not_applied_to_another_cell_of_the_same_name(
    store: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    mask = np.zeros((4, 12), np.int64)
    mask[:, 1:4], mask[:, 6:11] = 1, 2
    put(store, drawn(mask))
    override_cells(
        store,
        [
            Override("a:1", keep=False, comment="two cells"),
            Override("a:2", keep=True, comment="good"),
        ],
    )
    put(store, drawn((mask == 2).astype(np.int64)))
    before = list_overrides(store)
    assert sorted(zip(before["cell"], before["comment"], before["attached"], strict=True)) == [
        ("a:1", "good", True),
        ("a:1", "two cells", False),
    ]
    assert export_overrides(store, tmp_path / "o.csv") == 2
    caplog.clear()
    read = read_overrides(tmp_path / "o.csv")
    assert [o.comment for o in read] == ["good"]
    assert "skipped 1 detached override, whose cells were deleted" in caplog.text
    override_cells(store, read)
    assert list_overrides(store)["comment"].tolist() == ["two cells", "good"]
    assert undo_overrides(store, ["a:1"]) == 1
    assert list_overrides(store)["comment"].tolist() == ["two cells"]
    override_cells(store, read)
    assert undo_overrides(store, ["a:1"], detached=True) == 1
    assert list_overrides(store)["comment"].tolist() == ["good"]
    assert undo_overrides(store, ["a:1"], detached=True) == 0
    put(store, drawn(np.zeros_like(mask)))
    assert undo_overrides(store, ["a:1"]) == 1
    assert list_overrides(store).empty


def test_a_csv_of_another_program_is_read(tmp_path: Path) -> None:
    path = tmp_path / "o.csv"
    text = "created_at,cell,label_id,keep,comment\r\nnow,a:1,3.0,1,\r\n\r\n,a:2,Cytosol,False,x\r\n"
    path.write_bytes(("\ufeff" + text).encode())
    assert read_overrides(path) == [
        Override("a:1", keep=True, label=3),
        Override("a:2", keep=False, label=16, comment="x"),
    ]


def zipped(data: bytes) -> bytes:
    return gzip.compress(data, mtime=0)


@pytest.mark.parametrize(
    "content",
    [
        b"cell,label_id,keep,score,comment\na:1,3,1,0.25,big\n",
        b"cell;label_id;keep;score;comment\na:1;3;1;0,25;big\n",
        b"sep=;\r\ncell;label_id;keep;score;comment\r\na:1;3.0;1;0.25;big\r\n",
        b"cell\tlabel_id\tkeep\tscore\tcomment\na:1\t3\t1\t0.25\tbig\n",
        b"cell, label_id, keep, score, comment\na:1, 3, 1, 0.25, big\n",
        b",cell,label_id,keep,score,comment\n0,a:1,3,1,0.25,big\n",
        b"Unnamed: 0,cell,label_id,keep,score,comment\n0,a:1,3,1,0.25,big\n",
        zipped(b"cell,label_id,keep,score,comment\na:1,3,1,0.25,big\n"),
        "cell\tlabel_id\tkeep\tscore\tcomment\na:1\t3\t1\t0.25\tbig\n".encode("utf-16"),
    ],
)
def test_a_table_is_read_however_a_program_writes_it(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "o.csv"
    path.write_bytes(content)
    assert read_overrides(path) == [Override("a:1", keep=True, label=3, score=0.25, comment="big")]


def test_lines_of_scores_are_read_with_either_base(tmp_path: Path) -> None:
    path = tmp_path / "scores.txt"
    path.write_text("# mine\na_0 0.2\n\nb_x-1_12\t0.5\n", encoding="utf-8")
    assert read_overrides(path, first_id=0) == [
        Override("a:1", keep=False, score=0.2),
        Override("b_x-1:13", keep=True, score=0.5),
    ]
    for first in ("# each cell and its score\n", "\n", "cell-x_9 0.1\n"):
        path.write_text(f"{first}cell_1 0.9\n", encoding="utf-8")
        assert read_overrides(path)[-1] == Override("cell:1", keep=True, score=0.9)
    path.write_text("a_1 0.79\na_2 0.8\n", encoding="utf-8")
    assert [o.keep for o in read_overrides(path, keep_from=0.8)] == [False, True]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a_1\n", r"line 1, 'a_1': not of the form IMAGE_CELL SCORE"),
        ("a_1 0.5\na_0 0.5\n", r"line 2, 'a_0 0.5': invalid cell name 'a:0'"),
        ("a_1 nan\n", "line 1, 'a_1 nan': invalid score nan; use a number from 0 to 1"),
        ("a_1 x\n", "could not convert"),
        ("cell,kept\na:1,1\n", "unknown column 'kept'; its columns may be cell, label_id, keep"),
        ("cell,score\na:1,1\n", "missing column 'keep'"),
        ("cell,keep,keep\na:1,1,0\n", "repeated column 'keep'"),
        ("Cell,Keep\na:1,1\n", "unknown column 'Cell'"),
        ("cell;kept\na:1;1\n", "unknown column 'kept'"),
        ("cell;keep;score\na:1;1;1,5\n", "line 2: invalid score 1.5; use a number from 0 to 1"),
        ('cell,keep,score\na:1,1,"0,5"\n', "line 2: could not convert string to float: '0,5'"),
        (
            "cell keep\na:1 1\n",
            "line 1 is 'cell keep'; its columns must be cell,label_id,keep,score,author",
        ),
        (
            'cell,keep,comment\na:1,keep,"two\na:2,drop,b\n',
            "line 3: unexpected end of data; correct the",
        ),
        ('cell,keep,comment\na:1,keep,"a"b\n', "line 2: .*; correct the quotes of the row"),
        (
            "cell,keep,comment\na:1,keep,two cells, merged\n",
            "line 2: has 4 fields, the header 3; .* comma",
        ),
        ("cell,keep,comment\na:1,keep\n", "line 2: has 2 fields, the header 3"),
        (f"cell,keep,comment\na:1,keep,{'x' * 140_000}\n", "line 2: field larger than"),
        ("cell,keep,comment\na:1,keep,a\0b\n", "line 2: holds a NUL byte"),
        ("PK\3\4", "is an Excel workbook"),
        ("keep,,cell\n1,2,a:1\n", "unknown column ''"),
        (
            "cell,keep\na:1,perhaps\n",
            r"line 2: invalid keep 'perhaps' \(choose from keep, drop, true, false, 1, 0\)",
        ),
        ("cell,keep,label_id\na:1,keep,20\n", "line 2: no label 20; ids go from 0 to 18"),
        ("cell,keep,score\na:1,keep,2\n", "line 2: invalid score 2; use a number from 0 to 1"),
        ("cell,keep,label_id\na:1,keep,x\n", "line 2: no label 'x'; ids go from 0 to 18"),
        ("cell,keep,label_id\na:1,keep,3.5\n", "line 2: no label '3.5'"),
    ],
)
def test_an_error_names_the_bad_line_of_a_file(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "file"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=message):
        read_overrides(path)
    with pytest.raises(InputError, match="cannot be read: No such file"):
        read_overrides(tmp_path / "none")


def test_a_file_without_an_end_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_TABLE_BYTES", 2**16)
    with pytest.raises(InputError, match="has more than 65,536 bytes"):
        read_overrides("/dev/zero")


def test_a_cells_name_is_split() -> None:
    assert parse_cell("a.b-c_1:4294967295") == ("a.b-c_1", 4294967295)
    for text in ("a:4294967296", "a:-1", "a:", ":1", "a:b:1", "a:1.0"):
        with pytest.raises(UsageError, match="invalid cell name"):
            parse_cell(text)
