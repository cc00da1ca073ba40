from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import hpastore
from hpastore.errors import ExportError, UsageError
from hpastore.store.engine import Store
from hpastore.synthetic.fields import draw_field
from tests.world import rows


def contents(folder: Path) -> dict[str, bytes]:
    return {
        file.relative_to(folder).as_posix(): file.read_bytes()
        for file in folder.rglob("*")
        if file.is_file()
    }


def test_it_is_what_ingest_reads_and_truth_has_a_row_per_cell(store: Store, tmp_path: Path) -> None:
    root = hpastore.make_sample(tmp_path / "data", n=4, size=96, jobs=1)
    summary = hpastore.ingest(store, root, executor="serial")
    assert (summary.new, summary.rejected) == (4, 0)
    with (root / "truth.csv").open() as file:
        truth = {(row["name"], int(row["mask_id"])): row["fault"] for row in csv.DictReader(file)}
    cells = rows(store, "SELECT image_name, mask_id, touches_border FROM cell_stats")
    assert {(cell["image_name"], cell["mask_id"]) for cell in cells} == set(truth)
    for cell in cells:
        fault = truth[cell["image_name"], cell["mask_id"]]
        if fault == "border_cut":
            assert cell["touches_border"]


def test_its_label_table_names_the_cell_line_of_each_image(store: Store, tmp_path: Path) -> None:
    root = hpastore.make_sample(tmp_path / "data", n=4, size=64, jobs=1)
    layout = hpastore.Layout(root, keep_columns=["cell_line"])
    hpastore.ingest(store, layout, executor="serial")
    found = rows(store, "SELECT DISTINCT image_name, columns FROM cell_stats")
    lines = {row["image_name"]: json.loads(str(row["columns"]))["cell_line"] for row in found}
    drawn = [draw_field(index, size=64).cell_line for index in range(4)]
    assert lines == {f"sample-{index:04d}": line for index, line in enumerate(drawn)}
    assert len(set(drawn)) > 1


def test_the_same_seed_draws_the_same_bytes_whatever_the_processes(tmp_path: Path) -> None:
    hpastore.make_sample(tmp_path / "one", n=3, size=64, jobs=1)
    hpastore.make_sample(tmp_path / "two", n=3, size=64, jobs=2)
    hpastore.make_sample(tmp_path / "other", n=3, size=64, seed=1, jobs=1)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    assert contents(tmp_path / "one") != contents(tmp_path / "other")


def test_masks_are_read_by_numpy_as_saved_by_it(tmp_path: Path) -> None:
    root = hpastore.make_sample(tmp_path / "data", n=1, size=64, jobs=1)
    with np.load(next((root / "hpa_cell_mask").iterdir())) as archive:
        assert archive.files == ["arr_0"]
        assert (archive["arr_0"].dtype, archive["arr_0"].shape) == (np.uint16, (64, 64))


def test_an_existing_folder_is_replaced_only_by_force(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    with pytest.raises(ExportError, match=r"exists.*--force"):
        hpastore.make_sample(tmp_path / "data", n=1, size=64, jobs=1)
    hpastore.make_sample(tmp_path / "data", n=1, size=64, jobs=1, force=True)
    assert (tmp_path / "data" / "truth.csv").is_file()


def test_force_replaces_a_sample_but_no_other_data_set(tmp_path: Path) -> None:
    root = hpastore.make_sample(tmp_path / "data", n=2, size=64, jobs=1)
    hpastore.make_sample(root, n=1, size=64, jobs=1, force=True)
    assert len(list((root / "hpa_cell_mask").iterdir())) == 1
    (root / "truth.csv").unlink()
    before = contents(root)
    with pytest.raises(ExportError, match="data: holds other files"):
        hpastore.make_sample(root, n=2, size=64, jobs=1, force=True)
    assert contents(root) == before


@pytest.mark.parametrize(
    "wrong", [{"n": 0}, {"size": 63}, {"size": 4097}, {"bits": 12}, {"seed": -1}]
)
def test_numbers_that_make_no_sense_are_refused(tmp_path: Path, wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="a sample has"):
        hpastore.make_sample(tmp_path / "data", **wrong)
    assert not (tmp_path / "data").exists()


def test_two_samples_of_other_prefixes_share_a_store(store: Store, tmp_path: Path) -> None:
    one = hpastore.make_sample(tmp_path / "one", n=2, size=64, jobs=1)
    two = hpastore.make_sample(tmp_path / "two", n=2, size=64, seed=1, prefix="other.set", jobs=1)
    for root in (one, two):
        assert hpastore.ingest(store, root, executor="serial").new == 2
    names = [row["name"] for row in rows(store, "SELECT name FROM image ORDER BY name")]
    assert names == ["other.set-0000", "other.set-0001", "sample-0000", "sample-0001"]
    again = hpastore.make_sample(
        tmp_path / "two", n=1, size=64, prefix="other.set", jobs=1, force=True
    )
    assert len(list((again / "train").iterdir())) == 4


def test_images_of_a_prefix_are_the_same_but_for_their_names(tmp_path: Path) -> None:
    one = contents(hpastore.make_sample(tmp_path / "one", n=1, size=64, jobs=1))
    two = contents(hpastore.make_sample(tmp_path / "two", n=1, size=64, prefix="x", jobs=1))
    assert {
        path.replace("sample", "x"): data.replace(b"sample", b"x") for path, data in one.items()
    } == two


@pytest.mark.parametrize("prefix", ["", "../x", "a b", "-x", "x" * 124, "\x1b"])
def test_a_prefix_that_can_begin_no_name_is_refused(tmp_path: Path, prefix: str) -> None:
    with pytest.raises(UsageError, match=r"invalid prefix .* of image names"):
        hpastore.make_sample(tmp_path / "data", n=1, size=64, prefix=prefix)
    assert not (tmp_path / "data").exists()


def test_a_collected_data_set_with_the_files_of_a_sample_is_none(tmp_path: Path) -> None:
    root = hpastore.make_sample(tmp_path / "data", n=2, size=64, jobs=1)
    table = (root / "train.csv").read_text().replace("sample-0001", "sample-0007")
    (root / "train.csv").write_text(table)
    with pytest.raises(ExportError):
        hpastore.make_sample(root, n=1, size=64, jobs=1, force=True)
