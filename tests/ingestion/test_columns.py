"""Columns of the label table that users keep."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hpastore.errors import UsageError
from hpastore.ingestion.discover import discover
from hpastore.ingestion.layout import Layout
from hpastore.ingestion.run import plan
from hpastore.ingestion.summary import Summary
from hpastore.model import Plan
from hpastore.store.engine import Store
from hpastore.store.integrity.doctor import doctor
from tests.ingestion.changes import A, B, C, channel, failures, poison, take, touch
from tests.world import SHIFT, dataset, dump, install, rows, scalar, write_image

Row = tuple[str, str, str]

ROWS: dict[str, Row] = {
    A: ("0", "P1", "U2OS"),
    B: ("16", "P1", ""),
    C: ("0|16", "P2", "HeLa"),
}
"""Labels, plate and cell line of a data set of three images."""

OF_PLATES = {A: {"plate": "P1"}, B: {"plate": "P1"}, C: {"plate": "P2"}}
OF_LINES = {A: {"cell line": "U2OS"}, C: {"cell line": "HeLa"}}


def write_rows(root: Path, table: Mapping[str, Row]) -> None:
    lines = [",".join((name, *row)) for name, row in table.items()]
    (root / "train.csv").write_text("\n".join(["ID,Label,plate,cell line", *lines, ""]))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    made = dataset(tmp_path / "data", 3)
    write_rows(made, ROWS)
    return made


def keep(root: Path, *names: str, **options: Any) -> Layout:
    return Layout(root, keep_columns=names, **options)


def kept(store: Store) -> dict[str, dict[str, str]]:
    """Columns by image, of the stored rows, which must fit their checksums."""
    assert doctor(store, deep=True) == []
    sql = (
        "SELECT i.name AS image, c.name, value FROM image_column c JOIN image i ON i.id = image_id"
    )
    found: dict[str, dict[str, str]] = {}
    for row in rows(store, sql):
        found.setdefault(row["image"], {})[row["name"]] = row["value"]
    return found


def relabelled(todo: Plan) -> list[str]:
    return [source.name for source in todo.relabelled]


# What a run keeps


def test_a_run_keeps_the_columns_that_it_names_and_an_empty_value_is_no_row(
    store: Store, root: Path
) -> None:
    assert take(store, keep(root, "cell line")).new == 3
    assert kept(store) == OF_LINES


def test_a_run_that_names_none_keeps_none(store: Store, root: Path) -> None:
    take(store, root)
    assert kept(store) == {}


def test_columns_of_stored_images_are_written_without_reading_a_pixel(
    store: Store, root: Path, decoded: list[str]
) -> None:
    take(store, root)
    before = dump(store, views=False, without=["checksum"])
    decoded.clear()
    poison(root)
    layout = keep(root, "cell line")
    todo = plan(store, layout)
    assert (relabelled(todo), todo.work) == ([A, C], 2)
    assert take(store, layout) == Summary(relabelled=2, unchanged=1)
    assert decoded == []
    assert kept(store) == OF_LINES
    after = dump(store, views=False, without=["checksum"])
    differing = {table for table in after if after[table] != before[table]}
    assert differing == {"image_column", "ingest_run"}
    assert scalar(store, "SELECT count(*) FROM image WHERE relabelled_at IS NOT NULL") == 0
    assert take(store, layout) == Summary(unchanged=3)


def test_a_run_without_the_option_changes_nothing(store: Store, root: Path) -> None:
    take(store, keep(root, "plate", "cell line"))
    before = dump(store)
    write_rows(root, {**ROWS, A: ("0", "P9", "")})
    assert plan(store, root) == Plan(unchanged=3, unchanged_files=15)
    assert take(store, root) == Summary(unchanged=3)
    assert dump(store) == before


def test_a_run_changes_only_the_columns_that_it_keeps(store: Store, root: Path) -> None:
    take(store, keep(root, "plate", "cell line"))
    write_rows(root, {A: ("0", "P9", "HEK"), B: ("16", "", "HEK"), C: ROWS[C]})
    layout = keep(root, "plate")
    assert relabelled(plan(store, layout)) == [A, B]
    assert take(store, layout) == Summary(relabelled=2, unchanged=1)
    assert kept(store) == {
        A: {"plate": "P9", "cell line": "U2OS"},
        C: {"plate": "P2", "cell line": "HeLa"},
    }


def test_labels_and_columns_may_change_at_once(store: Store, root: Path) -> None:
    take(store, keep(root, "plate"))
    write_rows(root, {**ROWS, A: ("5", "P9", "")})
    assert take(store, keep(root, "plate")) == Summary(relabelled=1, unchanged=2)
    assert kept(store)[A] == {"plate": "P9"}
    (row,) = rows(store, "SELECT name, labels FROM image WHERE relabelled_at IS NOT NULL")
    assert row == {"name": A, "labels": "5"}


def test_a_dropped_column_leaves_the_images_of_the_run(
    store: Store, root: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    other = dataset(tmp_path / "other", 0)
    write_image(other, "z")
    write_rows(other, {"z": ("0", "P7", "")})
    take(store, keep(other, "plate"))
    take(store, keep(root, "plate", "cell line"))
    layout = Layout(root, drop_columns=["cell line"])
    assert relabelled(plan(store, layout)) == [A, C]
    assert take(store, layout) == Summary(relabelled=2, unchanged=1)
    assert kept(store) == {**OF_PLATES, "z": {"plate": "P7"}}
    assert caplog.messages == []
    assert plan(store, layout).work == 0
    assert take(store, layout) == Summary(unchanged=3)
    warning = "no image has a column 'cell line'; --drop-column drops nothing"
    assert caplog.messages == [warning, warning]


def test_images_without_labels_can_lose_a_column(store: Store, root: Path) -> None:
    take(store, keep(root, "plate"))
    take(store, Layout(root, labels="none", drop_columns=["plate"]))
    assert kept(store) == {}


def test_one_column_may_be_kept_while_another_is_dropped(store: Store, root: Path) -> None:
    take(store, keep(root, "plate"))
    layout = keep(root, "cell line", drop_columns=["plate"])
    assert take(store, layout) == Summary(relabelled=3)
    assert kept(store) == OF_LINES


# What becomes of an image


@pytest.mark.parametrize("columns", [("plate",), ()])
def test_an_image_of_other_pixels_keeps_the_columns_that_the_run_does_not_name(
    store: Store, root: Path, columns: tuple[str, ...]
) -> None:
    take(store, keep(root, "plate", "cell line"))
    write_image(root, A, seed=9)
    write_rows(root, {**ROWS, A: ("5", "P9", "HEK")})
    assert take(store, keep(root, *columns)).changed == 1
    assert kept(store)[A] == {"plate": "P9" if columns else "P1", "cell line": "U2OS"}


def test_a_touched_image_gets_its_columns_without_decoding(
    store: Store, root: Path, decoded: list[str]
) -> None:
    take(store, root)
    decoded.clear()
    touch(channel(root, A))
    touch(channel(root, B))
    layout = keep(root, "cell line")
    assert relabelled(plan(store, layout)) == [A, C]
    assert take(store, layout) == Summary(relabelled=2, unchanged=1)
    assert (kept(store), decoded) == (OF_LINES, [])


def test_an_image_that_lacks_a_measure_gets_its_columns_too(
    store: Store, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    take(store, root)
    install(monkeypatch, SHIFT)
    done = take(store, keep(root, "cell line"))
    assert (done.relabelled, done.unchanged, done.images_decoded) == (2, 1, 3)
    assert kept(store) == OF_LINES


def test_an_image_that_is_gone_keeps_its_columns_and_gets_others_when_it_is_back(
    store: Store, root: Path
) -> None:
    layout = keep(root, "plate")
    take(store, layout)
    write_rows(root, {A: ROWS[A], C: ROWS[C]})
    take(store, layout)
    take(store, Layout(root, drop_columns=["plate"]))
    assert kept(store) == {B: {"plate": "P1"}}
    write_rows(root, {**ROWS, B: ("16", "P9", "")})
    assert take(store, root) == Summary(unchanged=3, returned=1)
    assert kept(store) == {B: {"plate": "P1"}}
    assert take(store, layout) == Summary(relabelled=3)
    assert kept(store) == {**OF_PLATES, B: {"plate": "P9"}}


def test_images_that_move_with_their_root_keep_their_columns(store: Store, root: Path) -> None:
    take(store, keep(root, "plate"))
    moved = root.rename(root.with_name("moved"))
    assert take(store, moved) == Summary(unchanged=3)
    assert kept(store) == OF_PLATES
    assert scalar(store, "SELECT DISTINCT root FROM image") == str(moved)


def test_an_image_that_stays_in_another_root_keeps_its_columns(store: Store, root: Path) -> None:
    take(store, keep(root, "plate"))
    copy = shutil.copytree(root, root.with_name("copy"))
    write_rows(copy, {**ROWS, A: ("0", "P9", "")})
    assert take(store, keep(copy, "plate")) == Summary(unchanged=3)
    assert kept(store) == OF_PLATES


def test_a_rejected_image_keeps_its_columns(store: Store, root: Path) -> None:
    take(store, keep(root, "plate"))
    write_rows(root, {**ROWS, A: ("0", "x" * 1001, ""), B: ("99", "P9", "")})
    done = take(store, keep(root, "plate"))
    assert (done.rejected, failures(store)) == (2, [(A, "column"), (B, "label")])
    assert kept(store) == OF_PLATES


def test_two_rows_that_differ_in_a_kept_column_reject_their_image(store: Store, root: Path) -> None:
    with (root / "train.csv").open("a") as table:
        table.write(f"{A},0,P2,U2OS\n")
    assert take(store, root).new == 3
    assert failures(store) == []
    done = take(store, keep(root, "plate"))
    assert (done.rejected, done.relabelled) == (1, 2)
    (row,) = rows(store, "SELECT image_name, code, message FROM failure")
    message = "line 5: its plate is 'P2', but 'P1' on line 2; keep one of the rows"
    assert row == {"image_name": A, "code": "duplicate", "message": message}


def test_a_column_that_the_table_lacks_is_refused_before_anything_is_changed(
    store: Store, root: Path
) -> None:
    take(store, keep(root, "plate"))
    before = dump(store)
    reason = r"invalid --keep-column 'well': .*train.csv has no such column \(choose from plate, c"
    for act in (plan, take):
        with pytest.raises(UsageError, match=reason):
            act(store, keep(root, "plate", "well"))
    assert dump(store) == before


# Any table


def test_an_input_without_kept_columns_is_as_it_was(root: Path) -> None:
    assert all(source.columns == () for source in discover(Layout(root)).sources)
    sources = discover(keep(root, "plate", drop_columns=["well"])).sources
    assert [source.columns for source in sources] == [
        (("plate", plate), ("well", "")) for _, plate, _ in ROWS.values()
    ]


values = st.sampled_from(["", "P1", "P 2", "é"])
tables = st.fixed_dictionaries(
    {name: st.tuples(st.sampled_from(["0", "16"]), values, values) for name in (A, B, C)}
)
columns = st.sets(st.sampled_from(["plate", "cell line"])).map(sorted)
steps = st.lists(st.tuples(tables, columns, columns), min_size=1, max_size=3)


@settings(max_examples=3, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=steps)
def test_any_runs_leave_what_each_column_was_last_said_to_be(
    store: Store, root: Path, steps: list[tuple[dict[str, Row], list[str], list[str]]]
) -> None:
    """Each run, done twice, equals once; then a run that keeps nothing changes nothing."""
    expected = kept(store)
    for table, named, dropped in steps:
        write_rows(root, table)
        layout = keep(root, *named, drop_columns=[name for name in dropped if name not in named])
        todo = plan(store, layout)
        done = take(store, layout)
        assert len(todo.relabelled) == done.relabelled
        for name, (_, plate, line) in table.items():
            values_by_column = {"plate": plate, "cell line": line}
            values_by_column = {column: values_by_column[column] for column in named}
            values_by_column |= dict.fromkeys(layout.drop_columns, "")
            after = {**expected.get(name, {}), **values_by_column}
            expected[name] = {column: value for column, value in after.items() if value}
        assert kept(store) == {
            name: kept_columns for name, kept_columns in expected.items() if kept_columns
        }
        before = dump(store, views=False)
        assert take(store, layout) == take(store, root) == Summary(unchanged=3)
        assert dump(store, views=False) == before
