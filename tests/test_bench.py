"""The benchmark's table, its check, and the rival that it builds; nothing here is timed."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from hpastore.ingestion.worker import Task, measure_source
from hpastore.model import Measured
from hpastore.synthetic.fields import FAULTS
from hpastore.vocabulary import CHANNELS
from scripts.benchmark import cleaning, command, drawing, filling, notebook, queries, show
from scripts.benchmark.figure import Figure, Guard, Row, Skip
from scripts.benchmark.table import ROWS
from scripts.benchmark.world import World
from scripts.documentation.queries import worked_queries
from tests.conftest import MakeStore

RUN = show.Run("2024-05-06", 2, quick=True)

PROMISED = {
    "ingest": (1.6, 1.3),
    "notebook": (10, 15),
    "workers": (1.7, 1.8),
    "reingest": (4, 2),
    "remeasure": (60, 20),
    "thresholds": (2, 1.3),
    "thresholds-2m": (2, 1.3),
    "coco": (2, 1.3),
    "mmdet": (2, 1.3),
    "export-memory": (500, 300),
    "size": (1.5, 1),
    "worker-memory": (400, 250),
    "write": (1.3, 1.05),
    "bytes": (2300, 1800),
    "import": (60, 20),
    "queries": (2, 1),
    "create-sqlite": (6, 4),
    "create-postgresql": (10, 6),
    "csv-sqlite": (15, 8),
    "csv-postgresql": (20, 12),
    "bounds-sqlite": (3, 1.5),
    "bounds-postgresql": (4, 2),
    "reasons-sqlite": (1, 0.5),
    "reasons-postgresql": (2, 1),
    "one-image": (0.05, 0.02),
    "three-channels": (0.4, 0.2),
    "help": (0.3, 0.3),
    "status": (0.8, 0.8),
}


def row(unit: str = "ratio", must: float | None = 2, aim: float | None = 1.5, **others: Any) -> Row:
    return Row("some", "a ÷ b", unit, must, aim, lambda _: Figure(1.0, "3 images"), **others)


def test_the_table_holds_each_promise_with_must_and_aim() -> None:
    table = {each.name: (each.must, each.aim) for each in ROWS}
    assert len(table) == len(ROWS)
    assert {name: table[name] for name in PROMISED} == PROMISED


def test_a_check_looks_at_ratios_and_never_at_seconds_or_memory() -> None:
    checked = [each for each in ROWS if each.is_checked]
    absolute = {each.name for each in checked if each.unit in ("s", "MB", "bytes")}
    assert absolute == {each.name for each in ROWS if each.guard is not None}
    assert {"ingest", "notebook", "workers", "reingest", "thresholds", "coco", "size", "write"} <= {
        each.name for each in checked
    }


def test_a_check_looks_at_the_ratio_of_a_row_in_seconds_and_not_at_its_seconds() -> None:
    guarded = row("s", guard=Guard("one SELECT", 3))
    assert guarded.is_checked
    slow = Figure(9.0, "", ratio=3.9)
    assert guarded.verdict(slow) == "not met"
    assert not guarded.fails(slow)
    assert guarded.fails(replace(slow, value=1.0, ratio=4.1))
    assert not guarded.fails(Figure(None, "no PostgreSQL"))
    assert guarded.fails(Figure(None, "", broken=True))


def test_the_ratio_of_a_row_in_seconds_stands_below_it_with_its_limit() -> None:
    guarded = row("s", guard=Guard("one SELECT", 3))
    results = [(guarded, Figure(0.5, "9 cells", ratio=1.25))]
    lines = [
        [cell.strip() for cell in line.split("|")] for line in show.table(RUN, results).splitlines()
    ]
    assert ["", "- ÷ one SELECT", "1.25", "3", "", "", "", ""] in lines
    (found,) = show.document(RUN, results)["rows"]
    assert (found["ratio"], found["ratio_must"]) == (1.25, 3)


@pytest.mark.parametrize("name", ["sqlite", "postgresql"])
def test_each_worked_query_finds_rows_in_a_store_of_the_benchmark(
    name: str, make_store: MakeStore, tmp_path: Path
) -> None:
    root = drawing.draw(tmp_path / "data", 2, size=128, cells=20)
    store = make_store(name)
    filling.fill(store, filling.vary(filling.templates(root), count()), 400)
    queries.make_sets(store)
    queries.decide(store)
    empty = {q.name for q in worked_queries() if not queries.fetch(store, queries.adapted(q.sql))}
    assert empty <= {"Newer than a clean set", "Unusual sizes", "Three channels"}


@pytest.mark.parametrize(
    ("unit", "value", "verdict", "fails"),
    [
        ("ratio", 1.5, "aim met", False),
        ("ratio", 2.0, "met", False),
        ("ratio", 2.66, "not met", False),
        ("ratio", 2.67, "not met", True),
        ("times", 2.0, "aim met", False),
        ("times", 1.9, "met", False),
        ("times", 1.36, "not met", False),
        ("times", 1.34, "not met", True),
    ],
)
def test_a_check_fails_where_a_ratio_is_worse_than_must_by_more_than_a_third(
    unit: str, value: float, verdict: str, fails: bool
) -> None:
    promised = row(unit, 2, 1.5) if unit == "ratio" else row(unit, 1.8, 2.0)
    figure = Figure(value, "")
    assert promised.verdict(figure) == verdict
    assert promised.fails(figure) == fails
    assert not row(unit, 2, 1.5, checked=False).fails(figure)
    assert not row(unit, None, None).fails(figure)


def test_what_cannot_be_measured_is_skipped_visibly(tmp_path: Path) -> None:
    def refuse(_: World) -> Figure:
        raise Skip("no real images")

    refused = Row("other", "a ÷ b", "ratio", 2, 1.5, refuse)
    results = command.measure([refused, row()], World(tmp_path))
    lines = [
        [cell.strip() for cell in line.split("|")] for line in show.table(RUN, results).splitlines()
    ]
    assert ["", "a ÷ b", "", "2", "1.5", "skipped", "no real images", ""] in lines
    assert ["", "a ÷ b", "1.00", "2", "1.5", "aim met", "3 images", ""] in lines
    assert not refused.fails(results[0][1])


@pytest.mark.parametrize(("values", "code"), [([9.0, 1.0], 0), ([9.0, 9.0], 1), ([1.0], 0)])
def test_a_check_measures_a_row_that_fails_once_more(
    values: list[float], code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = iter(values)
    once = replace(row(), measure=lambda _: Figure(next(left), "3 images"))
    monkeypatch.setattr(command, "ROWS", [once])
    assert command.main(["--check"]) == code
    assert list(left) == []


def test_an_error_of_one_row_does_not_lose_the_others_and_fails_the_check(tmp_path: Path) -> None:
    def fail(_: World) -> Figure:
        raise ZeroDivisionError

    broken = Row("other", "a ÷ b", "s", None, None, fail, checked=False)
    (_, failed), (_, measured) = command.measure([broken, row()], World(tmp_path))
    assert (broken.verdict(failed), broken.fails(failed)) == ("failed", True)
    assert measured.value == 1


def test_rows_are_measured_by_the_cells_that_they_need_and_shown_in_their_own_order(
    tmp_path: Path,
) -> None:
    order = []

    def measured(name: str, cells: int) -> Row:
        def note(_: World) -> Figure:
            order.append(name)
            return Figure(1, "")

        return Row(name, name, "ratio", None, None, note, cells)

    rows = [measured("many", 9), measured("none", 0), measured("few", 5)]
    results = command.measure(rows, World(tmp_path))
    assert order == ["none", "few", "many"]
    assert [each.name for each, _ in results] == ["many", "none", "few"]


def test_the_document_holds_what_the_table_shows() -> None:
    found = json.loads(
        json.dumps(show.document(RUN, [(row(), Figure(1.25, "3 images", {"a case": "7 s"}))]))
    )
    assert (found["date"], found["cores"], found["quick"]) == ("2024-05-06", 2, True)
    assert found["rows"] == [
        {
            "name": "some",
            "what": "a ÷ b",
            "unit": "ratio",
            "measured": 1.25,
            "must": 2,
            "aim": 1.5,
            "ratio": None,
            "ratio_must": None,
            "verdict": "aim met",
            "on": "3 images",
            "cases": {"a case": "7 s"},
        }
    ]


def test_the_table_takes_the_place_of_the_one_in_its_page() -> None:
    text = f"before\n{show.BEGIN}\nold\n{show.END}\nafter\n"
    once = show.placed(text, "| new |")
    assert once == f"before\n{show.BEGIN}\n\n| new |\n\n{show.END}\nafter\n"
    assert show.placed(once, "| new |") == once


def test_the_page_of_the_benchmark_is_written_again_with_its_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = tmp_path / "benchmarks.md"
    page.write_text(command.PAGE.read_text(encoding="utf-8"), encoding="utf-8")
    monkeypatch.setattr(command, "PAGE", page)
    monkeypatch.setattr(command, "ROWS", [row()])
    assert command.main(["--write-docs"]) == 0
    text = page.read_text(encoding="utf-8")
    assert text.startswith("# Benchmarks\n")
    assert text.count("| a ÷ b | 1.00 ") == 1
    assert "the notebook's way ÷ ours, one core each" not in text


def test_the_notebooks_way_gives_the_fractions_that_we_store_for_comparison(tmp_path: Path) -> None:
    root = drawing.draw(tmp_path / "data", 2, size=128, cells=60)
    mask_file = next((root / "hpa_cell_mask").iterdir())
    mask = np.load(mask_file)["arr_0"]
    mask[60:64, 0] = 500  # one column: the shortened box is empty
    np.savez_compressed(mask_file, mask)
    for measured in filling.templates(root):
        theirs = notebook.run(root, tmp_path, measured.source.name)
        for channel in CHANNELS:
            ours = measured.cells.channels[channel].measures["fraction_notebook"].tolist()
            expected = dict(zip(measured.cells.mask_ids.tolist(), ours, strict=True))
            assert theirs[channel].keys() == expected.keys()
            np.testing.assert_array_equal(list(theirs[channel].values()), list(expected.values()))
        picture = cv2.imread(str(tmp_path / f"{measured.source.name}.jpg"))
        assert picture is not None
        assert picture.shape == (128, 128, 3)


def test_the_notebooks_run_lengths_are_those_of_our_masks(tmp_path: Path) -> None:
    from pycocotools import mask as coco

    root = drawing.draw(tmp_path / "data", 1, size=128, cells=20)
    (measured,) = filling.templates(root)
    annotations = notebook.annotate(root, measured.source.name, tmp_path)
    size = [measured.height, measured.width]
    packed = [
        coco.frPyObjects({"size": size, "counts": each.counts}, *size)["counts"].decode()
        for each in annotations
    ]
    assert packed == list(measured.cells.rles)


def test_drawn_images_have_the_cells_that_were_asked_for(tmp_path: Path) -> None:
    root = drawing.draw(tmp_path / "data", 1, size=1024, cells=60, nuclei=True)
    (name,) = drawing.names(root)
    decoded = drawing.decode(file.read_bytes() for file in drawing.files(root, name))
    assert [image.shape for image in decoded] == 6 * [(1024, 1024)]
    assert len(np.unique(decoded[4])) == 61
    assert set(np.unique(decoded[5])) <= set(np.unique(decoded[4]))


def test_images_under_other_names_are_ingested_as_images_of_their_own(tmp_path: Path) -> None:
    root = drawing.draw(tmp_path / "data", 2, size=64, cells=20)
    many = drawing.repeat(root, tmp_path / "many", 3)
    measured = filling.templates(many)
    assert [each.source.name for each in measured] == drawing.names(many)
    assert len(measured) == 6
    source = measured[0].source
    assert isinstance(measure_source(Task(source, {}), many, 0.99), Measured)


# Whether it cleans


def test_an_area_under_the_curve_is_the_share_of_pairs_in_the_right_order() -> None:
    rng = np.random.default_rng(1)
    for _ in range(20):
        some, others = (rng.integers(0, 9, n).astype(float) for n in (7, 11))
        pairs = np.mean([(a > b) + (a == b) / 2 for a in some for b in others])
        assert cleaning.auc([*some, np.nan], [np.nan, *others]) == pytest.approx(
            max(pairs, 1 - pairs)
        )
    assert cleaning.auc([], [1.0]) == 0.5


def test_what_recipes_find_is_counted_by_kind_and_what_is_missed_is_said(tmp_path: Path) -> None:
    report = cleaning.measure(tmp_path, images=12, size=96, scope="all")
    assert list(report.kinds) == ["good", *FAULTS, "faults", "segmentation"]
    cells = sum(report.kinds[kind].n for kind in ("good", *FAULTS))
    assert cells == len((tmp_path / "sample" / "truth.csv").read_text().splitlines()) - 1
    assert all(0.5 <= (report.kinds[kind].auc or 0) <= 1 for kind in FAULTS)
    assert cleaning.table(report).count("\n") == len(report.kinds) + 3
    good = cleaning.Kind(10, {"hpa": 0.06, "notebook": 0.0})
    bad = cleaning.Kind(10, {"hpa": 0.89, "notebook": 0.0}, "area", 0.98)
    told = replace(report, kinds={"good": good, "faults": bad, "segmentation": bad})
    assert told.missed == ["faults", "segmentation", "faults", "good"]


@pytest.mark.full  # draws and cleans a large sample
def test_hpa_cleans_a_sample_whose_faults_no_single_measure_gives_away(tmp_path: Path) -> None:
    report = cleaning.measure(tmp_path, size=384)
    assert report.missed == []
    assert report.kinds["faults"].dropped["notebook"] < 0.5
