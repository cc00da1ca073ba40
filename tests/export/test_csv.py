from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from sqlalchemy.schema import CreateView

import hpastore
from hpastore.errors import UsageError
from hpastore.export.selection import ExportOptions
from hpastore.schema.views import CLEAN_CELL, CLEAN_CELL_LIVE
from hpastore.store.engine import Store
from hpastore.vocabulary import CsvLayout
from tests.world import measured, put, rows


@pytest.fixture
def filled(store: Store) -> Store:
    bright = [200.0, 200.0, 10.0]
    put(
        store,
        measured("b", (0,), green_fraction=[0.1, 1 / 3, 0.9], green_intensity_max=bright),
        measured("a", (0,), green_fraction=[0.2, float("nan"), 0.4], green_intensity_max=bright),
        measured("c", (0, 3), green_fraction=[0.2, 0.3, 0.4], green_intensity_max=bright),
    )
    hpastore.create_clean_set(store, "mine")
    hpastore.create_clean_set(store, "all", hpastore.CleanRecipe(scope="all"))
    return store


def table(
    store: Store, out: Path, options: ExportOptions | None = None, layout: CsvLayout = "clean_cell"
) -> pd.DataFrame:
    hpastore.export_csv(store, out, options, layout=layout)
    return pd.read_csv(out, keep_default_na=False, dtype=str)


views = pytest.mark.parametrize(
    ("layout", "view"), [("clean_cell", CLEAN_CELL), ("clean_cell_live", CLEAN_CELL_LIVE)]
)


@views
def test_its_columns_are_those_of_the_view_without_keys_and_the_box(
    filled: Store, tmp_path: Path, layout: CsvLayout, view: CreateView
) -> None:
    found = table(filled, tmp_path / "out.csv", ExportOptions(clean="mine"), layout)
    natural = [c.name for c in view.table.c if c.name not in ("clean_set_id", "cell_id")]
    assert list(found.columns) == [*natural, "x", "y", "width", "height"]


@views
def test_its_rows_are_the_views_clean_or_not_with_every_bit(
    filled: Store, tmp_path: Path, layout: CsvLayout, view: CreateView
) -> None:
    found = table(filled, tmp_path / "out.csv", ExportOptions(clean="all"), layout)
    expected = rows(
        filled,
        f"SELECT v.*, c.x, c.y, c.width, c.height FROM {view.table.name} v JOIN cell c ON c.id = v.cell_id "
        "WHERE v.clean_set = 'all' ORDER BY v.image_name, v.mask_id, v.label_id",
    )
    assert len(found) == len(expected) == 12
    for line, row in zip(found.to_dict("records"), expected, strict=True):
        for name in ("value", "lower", "upper"):
            assert line[name] == ("" if row[name] is None else repr(row[name]))
        assert line["clean"] == str(bool(row["clean"]))
        assert line["reason"] == (row["reason"] or "")
        for name in (
            "image_name",
            "mask_id",
            "label_id",
            "label",
            *(["rank"] if layout == "clean_cell_live" else []),
            "x",
            "y",
            "width",
            "height",
        ):
            assert line[name] == ("" if row[name] is None else str(row[name]))


def test_without_a_clean_set_all_cells_come_without_a_verdict(
    filled: Store, tmp_path: Path
) -> None:
    put(filled, measured("d", (), green_fraction=[0.5]))
    found = table(filled, tmp_path / "out.csv")
    assert found["image_name"].tolist() == ["a"] * 3 + ["b"] * 3 + ["c"] * 6 + ["d"]
    assert set(found["clean"]) == {""}
    assert found["value"].iloc[4] == repr(1 / 3)
    assert found["label_id"].iloc[-1] == ""


def test_skip_and_labels_narrow_the_rows(filled: Store, tmp_path: Path) -> None:
    assert (
        len(table(filled, tmp_path / "1.csv", ExportOptions(clean="all", multilabel="skip"))) == 6
    )
    assert len(table(filled, tmp_path / "2.csv", ExportOptions(clean="all", labels=(3,)))) == 3


def test_the_notebooks_layout_has_its_columns_and_its_fraction(
    filled: Store, tmp_path: Path
) -> None:
    found = table(filled, tmp_path / "out.csv", ExportOptions(clean="mine"), "notebook")
    assert list(found.columns) == ["cell_ID", "bbox", "fraction", "Label", "clean"]
    assert found["cell_ID"].tolist() == [f"{name}:{k}" for name in "ab" for k in (1, 2, 3)]
    first = rows(
        filled,
        "SELECT c.x, c.y, c.width, c.height, k.fraction_notebook FROM cell c "
        "JOIN cell_channel k ON k.cell_id = c.id AND k.channel = 'green' JOIN image i ON i.id = c.image_id "
        "WHERE i.name = 'a' AND c.mask_id = 1",
    )[0]
    x, y = first["x"], first["y"]
    assert found["bbox"].iloc[0] == str([x, y, x + first["width"], y + first["height"]])
    value = first["fraction_notebook"]
    assert found["fraction"].iloc[0] == ("" if value is None else repr(value))
    assert set(found["clean"]) == {"True", "False"}


def test_what_makes_no_sense_is_refused(filled: Store, tmp_path: Path) -> None:
    with pytest.raises(
        UsageError,
        match=r"invalid layout 'other' \(choose from clean_cell, clean_cell_live, notebook\)",
    ):
        hpastore.export_csv(filled, tmp_path / "out.csv", layout="other")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="a row for each cell and label"):
        hpastore.export_csv(filled, tmp_path / "out.csv", ExportOptions(multilabel="multihot"))
