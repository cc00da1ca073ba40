"""The benchmark's table, its check, and the rival that it builds; nothing here is timed."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest

from hpastore.ingestion.worker import Task, measure_source
from hpastore.model import Measured
from hpastore.synthetic.fields import FAULTS
from hpastore.vocabulary import CHANNELS
from scripts.benchmark import (
    cleaning,
    command,
    drawing,
    filling,
    manual,
    notebook,
    pictures,
    planted,
    planting,
    queries,
    real,
    show,
)
from scripts.benchmark.figure import Figure, Guard, Row, Skip
from scripts.benchmark.table import ROWS
from scripts.benchmark.verdicts import RECIPES
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
    truth = pd.read_csv(tmp_path / "sample" / "truth.csv")
    assert cells == len(truth.groupby(["name", "cell"])) < len(truth)
    assert all(0.5 <= (report.kinds[kind].auc or 0) <= 1 for kind in FAULTS)
    assert cleaning.table(report).count("\n") == len(report.kinds) + 3
    good = cleaning.Kind(10, {"hpa": 0.06, "notebook": 0.0})
    bad = cleaning.Kind(10, {"hpa": 0.79, "notebook": 0.0}, "area", 0.98)
    told = replace(report, kinds={"good": good, "faults": bad, "segmentation": bad})
    assert told.missed == ["faults", "segmentation", "faults", "segmentation", "good"]


@pytest.mark.full  # draws and cleans a large sample
def test_hpa_cleans_a_sample_whose_faults_no_single_measure_gives_away(tmp_path: Path) -> None:
    report = cleaning.measure(tmp_path, size=384)
    assert report.missed == []
    assert report.kinds["faults"].dropped["notebook"] < 0.5


# Errors planted in masks


def squares(*, gap: int = 10, at: tuple[int, int] = (30, 40)) -> tuple[Any, Any]:
    """Draw a mask of three squares of 60 pixels in a row, and blue with a nucleus in each."""
    mask = np.zeros((120, 400), np.int32)
    blue = np.full(mask.shape, 10, np.uint8)
    row, column = at
    for cell in (1, 2, 3):
        mask[row : row + 60, column : column + 60] = cell
        cv2.circle(blue, (column + 30, row + 30), 15, 200, -1)
        column += 60 + (gap if cell == 1 else 2 * planting.MAX_GAP)
    return mask, blue


@pytest.mark.parametrize(("gap", "found"), [(0, [(1, 2)]), (24, [(1, 2)]), (25, [])])
def test_neighbours_lie_within_the_largest_gap(gap: int, found: list[tuple[int, int]]) -> None:
    mask, _ = squares(gap=gap)
    assert planting.neighbours(mask, {1, 2, 3}) == found
    assert planting.neighbours(mask, {1, 3}) == []


def test_a_merge_joins_two_cells_closes_their_gap_and_leaves_the_others_alone() -> None:
    mask, _ = squares(gap=20)
    merged = mask.copy()
    planting.merge(merged, 1, 2)
    assert set(np.unique(merged)) == {0, 1, 3}
    np.testing.assert_array_equal(merged == 3, mask == 3)
    assert (merged[(mask == 1) | (mask == 2)] == 1).all()
    assert (merged[40:80, 100:120] == 1).all()
    assert cv2.connectedComponents((merged == 1).astype(np.uint8))[0] == 2
    added = (merged == 1) & (mask == 0)
    added[30:90, 100:120] = False
    assert not added.any()


@pytest.mark.parametrize("corner", [0, 10])
def test_a_merge_at_the_edge_of_the_image_fills_nothing_but_the_gap(corner: int) -> None:
    mask, _ = squares(gap=20, at=(corner, corner))
    planting.merge(mask, 1, 2)
    inner = mask[corner : corner + 60, corner : corner + 140]
    assert (inner[10:50] == 1).all()
    assert (mask == 1).sum() == (inner == 1).sum()


def test_a_merge_never_takes_pixels_of_a_third_cell() -> None:
    mask, _ = squares(gap=20)
    mask[40:50, 105:115] = 4
    planting.merge(mask, 1, 2)
    assert (mask == 4).sum() == 100


@pytest.mark.parametrize("gap", [0.0, 6.0])
def test_halves_of_a_cut_have_30_to_70_percent_and_the_gap_between_them(gap: float) -> None:
    for seed in range(40):
        mask, _ = squares()
        planting.cut(mask, 2, 9, gap, np.random.default_rng(seed))
        halves = [int((mask == cell).sum()) for cell in (2, 9)]
        lost = 3600 - sum(halves)
        assert (0 < lost <= 6 * 60 * 2**0.5 + 60) if gap else lost == 0
        assert min(halves) >= 0.29 * 3600 - lost
        assert max(halves) <= 0.71 * 3600
        touching = cv2.dilate((mask == 2).astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
        assert bool((mask[touching] == 9).any()) == (gap == 0)
        assert [(mask == cell).sum() for cell in (1, 3)] == [3600, 3600]


def test_planting_harms_each_candidate_once_and_changes_only_its_copy() -> None:
    mask, _ = squares()
    before = mask.copy()
    planted = planting.plant(mask, {1, 2, 3}, np.random.default_rng(1))
    np.testing.assert_array_equal(mask, before)
    assert planted.merged == (1,)
    assert planted.cuts == (planting.Cut((3, 4), has_gap=False),)
    assert planted.touched == {1, 3, 4}
    assert set(np.unique(planted.mask)) == {0, 1, 3, 4}
    again = planting.plant(mask, {1, 2, 3}, np.random.default_rng(1))
    np.testing.assert_array_equal(again.mask, planted.mask)
    assert planting.plant(mask, set(), np.random.default_rng(1)).touched == set()


def test_a_cell_shows_one_nucleus_if_it_has_one_large_bright_piece() -> None:
    mask, blue = squares()
    assert planting.with_one_nucleus(mask, blue) == {1, 2, 3}
    two = blue.copy()
    cv2.circle(two, (90, 40), 10, 200, -1)
    cv2.circle(two, (50, 80), 12, 200, -1)
    assert planting.with_one_nucleus(mask, two) == {2, 3}
    without = np.where(mask == 2, 10, blue).astype(np.uint8)
    assert planting.with_one_nucleus(mask, without) == {1, 3}
    assert planting.with_one_nucleus(mask, np.where(blue > 10, 14, 10).astype(np.uint8)) == set()
    assert planting.with_one_nucleus(np.zeros_like(mask), blue) == set()


def verdicts(reasons: dict[int, str], border: Sequence[int] = (), **columns: Any) -> pd.DataFrame:
    """Verdicts of an image; cells without a reason are clean."""
    found = {
        "image": "a",
        "mask_id": list(reasons),
        "label": 7,
        "touches_border": [cell in border for cell in reasons],
        "clean": [not reason for reason in reasons.values()],
        "reason": list(reasons.values()),
    }
    return pd.DataFrame(found | columns)


def test_a_cut_is_found_by_either_half_and_untouched_cells_count_by_their_place() -> None:
    cuts = (planting.Cut((2, 8), has_gap=False), planting.Cut((3, 9), has_gap=True))
    image = planting.Planted(np.zeros((1, 1)), merged=(1,), cuts=cuts)
    reasons = {1: "two", 2: "", 3: "cut", 4: "", 5: "dark", 6: "dark", 7: "", 8: "cut", 9: "cut"}
    before = verdicts({cell: "dark" if cell == 5 else "" for cell in range(1, 8)})
    found = planted.count(image, verdicts(reasons, border=[6, 7]), before)
    shares = {kind: (tally.n, tally.dropped) for kind, tally in found.items()}
    assert shares == {
        "merged": (1, 1),
        "cut": (2, 2),
        "cut without a gap": (1, 1),
        "cut, both halves": (2, 1),
        "untouched, kept before": (3, 1),
        "untouched, inner": (2, 1),
        "untouched, border": (2, 1),
    }
    assert found["cut"].reasons == {"cut": 3}
    as_found = planted.count_as_found(verdicts({1: "", 2: "dark", 3: "two"}, border=[3]))
    assert [(tally.n, tally.dropped) for tally in as_found.values()] == [(2, 1), (1, 1)]


def planted_report(dropped: Mapping[str, int]) -> planted.Report:
    """One image with ten of each kind."""
    kinds = (*planted.KINDS, *planted.AS_FOUND)
    tallies = {kind: planted.Tally(10, dropped.get(kind, 0)) for kind in kinds}
    return planted.Report([1], {"a": 3}, {"a": {"hpa": tallies, "notebook": tallies}})


def test_what_is_missed_of_planted_errors_is_said() -> None:
    found = planted_report({"merged": 9, "cut": 8, "untouched, inner": 2})
    assert found.missed == ["cut", "untouched, inner"]
    assert planted_report({"merged": 9, "cut": 9, "untouched, inner": 1}).missed == []
    text = planted.table(found)
    assert "| cut " in text
    assert "80.0 %" in text
    assert "seeds 1:" in text


def test_planted_errors_are_counted_in_stores_made_by_the_library(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawing.draw(tmp_path / "hpa", 2, size=256, cells=8)
    monkeypatch.setenv("HPASTORE_DATA", str(tmp_path))
    report = planted.measure(tmp_path / "stores", seeds=[1])
    assert list(report.images) == ["drawn-000", "drawn-001"]
    cells = sum(len(np.unique(image.mask())) - 1 for image in real.images())
    as_found = sum(report.total("hpa", kind).n for kind in planted.AS_FOUND)
    assert as_found == cells
    cuts = report.total("hpa", "cut").n
    merged = report.total("hpa", "merged").n
    untouched = sum(report.total("hpa", kind).n for kind in planted.KINDS[-2:])
    assert cuts > 0
    assert untouched == cells - cuts - 2 * merged
    json.dumps(planted.document(report))


# Hand-labelled cells


def test_cells_are_confirmed_that_show_the_label_they_are_judged_by() -> None:
    rows = [
        ("a", 1, "7", "7", "U-2 OS"),
        ("a", 2, "7", "18", "U-2 OS"),
        ("a", 3, "7", "16", "U-2 OS"),
        ("a", 4, "7", "7|16", "HeLa"),
        ("b", 1, "7|17", "17", "HeLa"),
    ]
    names = ["ID", "mask_id", "image_labels", "cell_labels", "cell_line"]
    labelled = pd.DataFrame(rows, columns=names)
    single = verdicts({1: "", 2: "fragment", 3: "fragment", 4: "border_cut"}, border=[4])
    several = verdicts({1: ""}, image="b")
    every = [single, several.assign(clean=False), several.assign(label=17)]
    judged = [dict.fromkeys(RECIPES, found) for found in (single, pd.concat(every))]
    report = manual.count(labelled, *judged)
    counts = {name: (group.n, group.kept["hpa"]) for name, group in report.groups.items()}
    assert counts == {
        "confirmed": (2, 1),
        "confirmed, inner": (1, 1),
        "confirmed, border": (1, 0),
        "called Negative": (1, 0),
        "called Negative, inner": (1, 0),
        "called Negative, border": (0, 0),
        "confirmed, HeLa": (1, 0),
        "confirmed, U-2 OS": (1, 1),
        "several labels: confirmed": (1, 1),
        "several labels: confirmed, inner": (1, 1),
        "several labels: confirmed, border": (0, 0),
        "several labels: called Negative": (0, 0),
        "several labels: called Negative, inner": (0, 0),
        "several labels: called Negative, border": (0, 0),
    }
    assert (report.images, report.single, report.reasons) == (2, 1, {"border_cut": 1})
    assert report.missed == ["confirmed"]
    assert "| confirmed, border " in manual.table(report)


def test_hand_labelled_masks_are_ingested_with_flat_channels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "manual" / "hpa_cell_mask"
    folder.mkdir(parents=True)
    mask, _ = squares()
    cv2.imwrite(str(folder / "a_cellmask.png"), mask.astype(np.uint8))
    (tmp_path / "manual" / "train.csv").write_text("ID,Label\na,7\n")
    head = "ID,mask_id,image_labels,cell_labels,cell_line\n"
    cells = "a,1,7,7,HeLa\na,2,7,7,HeLa\na,3,7,18,HeLa\n"
    (tmp_path / "manual" / "manual_cells.csv").write_text(head + cells)
    monkeypatch.setenv("HPASTORE_DATA", str(tmp_path))
    report = manual.measure(tmp_path / "store")
    assert report.groups["confirmed"] == manual.Group(2, {"notebook": 2, "hpa": 2})
    assert report.groups["called Negative"] == manual.Group(1, {"notebook": 1, "hpa": 1})
    json.dumps(manual.document(report))


# The command


def test_cleaning_prints_all_parts_and_skips_what_has_no_data_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HPASTORE_DATA", str(tmp_path / "none"))
    small = partial(cleaning.measure, images=12, size=96, scope="all")
    monkeypatch.setattr(cleaning, "measure", small)
    assert command.main(["--cleaning"]) == 0
    drawn, *others = capsys.readouterr().out.split("\n\n")[-3:]
    assert drawn.startswith("| kind ")
    assert [text.split(",")[0] for text in others] == ["manual: skipped", "planted: skipped"]
    assert command.main(["--cleaning", "--json", "--check"]) in (0, 1)
    found = json.loads(capsys.readouterr().out)
    assert list(found) == ["drawn", "manual", "planted"]
    assert list(found["manual"]) == ["skipped"]
    assert command.main(["--gallery", str(tmp_path / "out")]) == 1


def test_the_gallery_shows_dropped_and_kept_cells_of_each_root_and_each_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawing.draw(tmp_path / "hpa", 1, size=256, cells=8)
    monkeypatch.setenv("HPASTORE_DATA", str(tmp_path))
    written = pictures.write(tmp_path / "out")
    assert [path.name for path in written] == ["hpa_dropped.png", "hpa_kept.png", "drawn-000.png"]
    assert all(cv2.imread(str(path)) is not None for path in written)
    assert pictures.write(tmp_path / "out") == written
