"""Values that another program computed become a measure like any other."""

from __future__ import annotations

import math
import re
import sys
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import hpastore
from hpastore.clean.bound import Bound
from hpastore.clean.rules import CleanRecipe, Rule
from hpastore.errors import InputError, MeasureError, UsageError
from hpastore.ingestion import imported
from hpastore.reading import scores
from hpastore.store import migrate, write
from hpastore.store.backup import backup
from hpastore.store.engine import Store
from hpastore.store.integrity.doctor import doctor
from hpastore.vocabulary import CHANNELS
from tests.world import NOW, SHIFT, dump, install, measured, put, rows, scalar

VALUES = """
    SELECT image.name || ':' || mask_id AS cell, channel, value
    FROM cell_measure JOIN measure ON measure.id = measure_id
    JOIN cell ON cell.id = cell_id JOIN image ON image.id = image_id
    WHERE measure.name = 'prob' ORDER BY image.name, mask_id, channel
"""


@pytest.fixture
def filled(store: Store) -> Store:
    """Images a and b, with the cells 1 to 3 or as the world draws them."""
    put(store, measured("a"), measured("b"))
    return store


def cells(store: Store) -> list[str]:
    found = rows(
        store,
        "SELECT image.name || ':' || mask_id AS cell FROM cell JOIN image ON image.id = image_id "
        "ORDER BY image.name, mask_id",
    )
    return [row["cell"] for row in found]


def take(store: Store, folder: Path, text: str, version: int = 1, **options: Any) -> int:
    path = folder / "scores.csv"
    path.write_text(text)
    return imported.import_measure(store, path, "prob", version, **options)


def table(values: dict[str, object]) -> str:
    return "cell,value\n" + "".join(f"{cell},{value}\n" for cell, value in values.items())


def stored(store: Store) -> dict[str, Any]:
    return {row["cell"]: row["value"] for row in rows(store, VALUES)}


def lacking(store: Store) -> int:
    listed = hpastore.measures(store)
    (count,) = listed[listed["name"] == "prob"]["cells_lacking"]
    return int(count)


def test_values_come_back_as_they_were_to_the_last_bit(filled: Store, tmp_path: Path) -> None:
    exact = [0.1 + 0.2, 1e300, -5e-324, 1 / 3, 0.0, None]
    given = dict(zip(cells(filled), exact, strict=True))
    text = table({c: "" if value is None else repr(value) for c, value in given.items()})
    assert take(filled, tmp_path, text, unit="share") == 6
    assert stored(filled) == given
    assert doctor(filled, deep=True) == []

    out = tmp_path / "out.csv"
    assert hpastore.export_measure(filled, "prob", out) == 6
    before = dump(filled)
    assert imported.import_measure(filled, out, "prob", 1, unit="share") == 6
    assert dump(filled) == before
    again = tmp_path / "again.csv"
    hpastore.export_measure(filled, "prob", again)
    assert again.read_bytes() == out.read_bytes()


def test_values_of_channels_are_values_of_channels(filled: Store, tmp_path: Path) -> None:
    text = "image,mask_id,channel,value\na,1,green,0.5\na,1,red,0.25\n"
    assert take(filled, tmp_path, text) == 2
    found = {(row["cell"], row["channel"]): row["value"] for row in rows(filled, VALUES)}
    assert found == {("a:1", "green"): 0.5, ("a:1", "red"): 0.25}
    out = tmp_path / "out.csv"
    hpastore.export_measure(filled, "prob", out)
    assert out.read_text() == text


def test_a_rule_and_its_explanation_take_an_imported_measure(filled: Store, tmp_path: Path) -> None:
    values = {cell: n / 10 for n, cell in enumerate(cells(filled))}
    take(filled, tmp_path, table(dict(values)))
    rule = Rule("prob", None, Bound(value=0.25), None, name="unlikely")
    hpastore.create_clean_set(filled, "likely", CleanRecipe(rules=(rule,), min_green=0))
    verdicts = rows(filled, "SELECT image_name, mask_id, clean, reason, value FROM clean_cell")
    found = {f"{row['image_name']}:{row['mask_id']}": row for row in verdicts}
    assert {cell: row["value"] for cell, row in found.items()} == values
    dropped = {cell for cell, row in found.items() if row["reason"] == "unlikely"}
    assert dropped == {cell for cell, value in values.items() if value < 0.25}
    (explanation,) = hpastore.explain(filled, cells(filled)[0])
    assert (explanation.measure, explanation.reason) == ("prob", "unlikely")
    assert len(hpastore.thresholds(filled, Rule("prob", None))) == 1


def test_a_replaced_cell_loses_its_value_and_is_said_to_lack_it(
    filled: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    values = dict.fromkeys(cells(filled), 0.5)
    take(filled, tmp_path, table(dict(values)))
    assert lacking(filled) == 0
    put(filled, measured("a"))
    assert set(stored(filled)) == {cell for cell in values if cell.startswith("b:")}
    assert lacking(filled) == 3
    hpastore.thresholds(filled, Rule("prob", None))
    assert "3 cells have no prob; import values for them" in caplog.text
    assert hpastore.remeasure(filled).remeasured == 0
    assert doctor(filled, deep=True) == []

    take(filled, tmp_path, table({"a:1": 0.25}))
    assert stored(filled) == {"a:1": 0.25} | {c: 0.5 for c in values if c.startswith("b:")}
    assert lacking(filled) == 2
    assert doctor(filled, deep=True) == []


def test_other_values_of_a_version_are_refused_and_another_version_replaces_all(
    filled: Store, tmp_path: Path
) -> None:
    take(filled, tmp_path, table({"a:1": 0.5, "b:1": 0.5}))
    with pytest.raises(
        UsageError, match=r"1 cell has another value of version 1, such as a:1 \(0.5"
    ):
        take(filled, tmp_path, table({"a:1": 0.25, "a:2": 1}))
    assert stored(filled) == {"a:1": 0.5, "b:1": 0.5}
    take(filled, tmp_path, table({"a:1": 0.25}), force=True)
    assert stored(filled) == {"a:1": 0.25}
    take(filled, tmp_path, table({"b:2": 7}), version=2)
    assert stored(filled) == {"b:2": 7}
    assert scalar(filled, "SELECT version FROM image_measure") == 2
    assert doctor(filled, deep=True) == []


BAD = {
    "": "is empty; give a table",
    "cell,value\n": "has a header but no rows",
    "a:1,0.5\n": "line 1: has the columns a:1, 0.5; the columns must be",
    "cell,score\na:1,0.5\n": "line 1: has the columns cell, score; the columns must be",
    "image,value\na,0.5\n": "line 1: has the columns image, value; the columns must be",
    "cell,value,more\na:1,1,2\n": "has the columns cell, value, more",
    "cell,label,value\na:1,16,1\nb:1,0,1\n": "line 2: a:1 has no row of its own label (0); choose the rows of one label with --label",
    "cell,label,value\na:1,99,1\n": "line 2: the store has no label '99'; use an id or a full name",
    "cell,label,value\na:1,,1\n": "line 2: the store has no label ''",
    "cell,label,value\na:1,0,1\na:1,nucleoplasm,1\n": "line 3: a:1 is there twice, see 2",
    "image,mask_id,value\na,-1,1\n": "line 2: invalid mask id '-1'",
    "image,mask_id,value\na,0,1\n": "line 2: invalid mask id '0'",
    "image,mask_id,value\na,1.5,1\n": "line 2: invalid mask id '1.5'",
    "cell,mask_id,value\na:1,1,1\n": "names cells twice",
    "cell,value,value\na:1,1,1\n": "has the column 'value' twice",
    "cell,value\nz:1,1\n": "line 2: the store has no image 'z'; nothing was written",
    "cell,value\na:99,1\n": "line 2: the store has no cell a:99; nothing was written",
    "cell,value\na,1\n": "line 2: invalid cell name 'a'; cells are named NAME:ID",
    "image,mask_id,value\na,x,1\n": "line 2: invalid mask id 'x'",
    "cell,value\na:1,1\na:1,1\n": "line 3: a:1 is there twice, see 2",
    "cell,value\na:1,nan\n": "line 2: invalid value 'nan'",
    "cell,value\na:1,inf\n": "line 2: invalid value 'inf'",
    "cell,value\na:1,1e301\n": "line 2: invalid value '1e301'",
    "cell,value\na:1,much\n": "line 2: invalid value 'much'",
    "cell,value\na:1,1_0\n": "line 2: invalid value '1_0'",
    "cell,value\na:1,\u0661\n": "line 2: invalid value '\u0661'",
    "cell,value\na:1,0x10\n": "line 2: invalid value '0x10'",
    "cell,value\na:1,1,2\n": "line 2: has 3 fields, the header 2",
    'cell,value\n"a:1,1\n': "line 2: unexpected end of data",
    "cell,channel,value\na:1,pink,1\n": "line 2: invalid channel 'pink'",
    "cell,value\na:1,x\nz:1,1\na:2,y\nq,1\nq,2\n": "line 4: invalid value 'y'; use a number up to "
    "1e+300, or nothing where there is none; and 2 more such lines; nothing was written",
}


@pytest.mark.parametrize("text", BAD)
def test_a_bad_file_is_refused_whole(text: str, filled: Store, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=re.escape(BAD[text])) as caught:
        take(filled, tmp_path, text + "b:1,1\n" * text.startswith("cell,value\na:1,much"))
    assert "\n" not in str(caught.value)
    assert rows(filled, "SELECT * FROM cell_measure") == []
    assert hpastore.measures(filled)["kind"].eq("built-in").all()


def test_a_long_list_of_unknown_cells_is_counted_and_the_first_are_named(
    filled: Store, tmp_path: Path
) -> None:
    text = table(dict.fromkeys((f"a:{n}" for n in range(4, 5004)), 1))
    with pytest.raises(InputError) as caught:
        take(filled, tmp_path, text)
    assert caught.value.reason == (
        "line 2: the store has no cell a:4; line 3: the store has no cell a:5; line 4: the store "
        "has no cell a:6; and 4,997 more such lines; nothing was written"
    )


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_tables_of_other_encodings_are_read_if_they_say_so(
    filled: Store, tmp_path: Path, encoding: str
) -> None:
    path = tmp_path / "scores.csv"
    path.write_text('"cell","value"\r\n"a:1","0.5"\r\n', encoding)
    assert imported.import_measure(filled, path, "prob", 1) == 1
    assert stored(filled) == {"a:1": 0.5}
    path.write_bytes(b"cell,value\n\xe9:1,0.5\n")
    with pytest.raises(InputError, match="line 2: is not UTF-8; save the table as UTF-8"):
        imported.import_measure(filled, path, "prob", 1)


def test_tables_are_read_as_spreadsheets_write_them(filled: Store, tmp_path: Path) -> None:
    assert take(filled, tmp_path, "\ufeffcell;value\r\na:1;0,5\r\n") == 1
    assert take(filled, tmp_path, ",image,mask_id,value\n0,a,2.0,0.25\n") == 1
    assert stored(filled) == {"a:1": 0.5, "a:2": 0.25}


def test_what_is_no_file_is_refused(filled: Store, tmp_path: Path) -> None:
    for path in (tmp_path / "none.csv", tmp_path):
        with pytest.raises(InputError, match="cannot be read"):
            imported.import_measure(filled, path, "prob", 1)


def test_names_of_other_measures_are_refused(
    filled: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "scores.csv"
    path.write_text("cell,value\na:1,1\n")
    for name in ("area", "fraction", "dark", "Prob", ""):
        with pytest.raises(UsageError):
            imported.import_measure(filled, path, name, 1)
    with pytest.raises(UsageError, match="version"):
        imported.import_measure(filled, path, "prob", 0)
    monkeypatch.setattr(imported, "load_measures", lambda: (SHIFT,))
    with pytest.raises(UsageError, match="a package defines it"):
        imported.import_measure(filled, path, SHIFT.name, 1)
    monkeypatch.setattr(imported, "load_measures", tuple)
    imported.import_measure(filled, path, SHIFT.name, SHIFT.version)
    install(monkeypatch, SHIFT)
    with pytest.raises(MeasureError, match="the store has imported values of this name"):
        hpastore.remeasure(filled)


# The rest of the program


def test_an_imported_measure_is_drawn_with_its_unit(filled: Store, tmp_path: Path) -> None:
    take(filled, tmp_path, table({cell: n / 10 for n, cell in enumerate(cells(filled))}), unit="p")
    figure = hpastore.plot_hist(filled, measure="prob", label=0)
    assert figure.get_supxlabel() == "prob [p]"
    assert figure.axes[0].get_title("left").startswith("0 Nucleoplasm\nn = 6, ")


def test_a_backup_has_imported_measures(filled: Store, tmp_path: Path) -> None:
    take(filled, tmp_path, table({"a:1": 0.5, "b:2": ""}))
    with hpastore.open_store(backup(filled, tmp_path / "copy.db")) as copy:
        assert stored(copy) == {"a:1": 0.5, "b:2": None}
        assert dump(copy) == dump(filled)
        assert doctor(copy, deep=True) == []


def test_status_is_the_same_with_an_imported_measure(filled: Store, tmp_path: Path) -> None:
    before = hpastore.status(filled)
    take(filled, tmp_path, table({"a:1": 0.5}))
    assert hpastore.status(filled) == before


def test_the_doctor_finds_an_imported_value_that_was_changed(filled: Store, tmp_path: Path) -> None:
    take(filled, tmp_path, table({"a:1": 0.5, "b:1": 0.5}))
    with filled.writing() as connection:
        changed = "UPDATE cell_measure SET value = 0.25 WHERE cell_id = (SELECT min(id) FROM cell)"
        connection.exec_driver_sql(changed)
    assert [finding.where for finding in doctor(filled, deep=True)] == ["image a"]


# Labels


BY_LABEL = (
    "cell,label,value\na:1,0,0.75\na:1,Golgi apparatus,0.25\n"
    "a:2,Nucleoplasm,0.5\na:2,7,\nb:1,0.0,0.25\nb:1,7,0.125\n"
)


def test_a_file_with_labels_gives_each_cell_the_value_of_its_own(
    filled: Store, tmp_path: Path
) -> None:
    assert take(filled, tmp_path, BY_LABEL) == 3
    assert stored(filled) == {"a:1": 0.75, "a:2": 0.5, "b:1": 0.25}


def test_one_label_is_chosen_by_id_or_name(filled: Store, tmp_path: Path) -> None:
    for label in ("golgi APPARATUS", 7, "7"):
        assert take(filled, tmp_path, BY_LABEL, label=label, force=True) == 3
        assert stored(filled) == {"a:1": 0.25, "a:2": None, "b:1": 0.125}


def test_a_cell_of_several_labels_needs_one_that_is_chosen(store: Store, tmp_path: Path) -> None:
    put(store, measured("a", (0, 16)))
    text = "cell,label,value\na:1,16,0.5\na:1,0,0.25\na:2,16,1\n"
    message = r"line 2: a:1 has rows of several of its labels \(0, 16\); choose .* --label; nothing"
    with pytest.raises(InputError, match=message):
        take(store, tmp_path, text)
    assert take(store, tmp_path, text.replace("a:1,0", "a:1,7")) == 2
    assert stored(store) == {"a:1": 0.5, "a:2": 1.0}
    take(store, tmp_path, text, version=2, label=16)
    assert stored(store) == {"a:1": 0.5, "a:2": 1.0}


def test_a_cell_with_labels_of_its_own_takes_the_value_of_these(
    store: Store, tmp_path: Path
) -> None:
    put(store, measured("a", (0, 16)))
    with store.writing() as connection:
        write.label_cells(connection, "a", {1: (16,), 2: (0,), 3: ()}, NOW)
    text = "cell,label,value\na:1,16,0.5\na:1,0,0.25\na:2,16,0.125\na:2,0,1\n"
    take(store, tmp_path, text)
    assert stored(store) == {"a:1": 0.5, "a:2": 1.0}
    with pytest.raises(InputError, match=r"a:3 has no row of its own label \(it has none\)"):
        take(store, tmp_path, text + "a:3,0,1\n", version=2)


def test_a_label_that_is_not_there_is_refused(filled: Store, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has no column 'label'; leave out --label"):
        take(filled, tmp_path, "cell,value\na:1,1\n", label=0)
    with pytest.raises(InputError, match="has no row of the label 'Nuclear membrane'"):
        take(filled, tmp_path, BY_LABEL, label=1)
    with pytest.raises(UsageError, match="no label 99"):
        take(filled, tmp_path, BY_LABEL, label=99)
    assert rows(filled, "SELECT * FROM cell_measure") == []


# Parquet


def write_parquet(path: Path, table: dict[str, list[Any]], **options: Any) -> Path:
    pd.DataFrame(table).to_parquet(path, **options)
    return path


def test_parquet_is_read_as_csv_is(filled: Store, tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    exact = [0.1 + 0.2, None, -5e-324]
    write_parquet(path, {"image": ["a", "a", "b"], "mask_id": [1, 2, 3], "value": exact})
    assert imported.import_measure(filled, path, "prob", 1) == 3
    assert stored(filled) == dict(zip(("a:1", "a:2", "b:3"), exact, strict=True))

    cells_of_file = pd.Categorical(["a:1", "b:1"])
    table = {"cell": cells_of_file, "label": [0, 7], "channel": ["red", None], "value": [3, 2**53]}
    frame = pd.DataFrame(table)
    frame.set_index("cell").to_parquet(path)
    assert imported.import_measure(filled, path, "prob", 2, label="Nucleoplasm") == 1
    assert [row["value"] for row in rows(filled, VALUES)] == [3.0]

    frame = pd.DataFrame({"image": ["a", "a"], "mask_id": [1, None], "value": [1, 2]})
    frame[:1].set_index(pd.Index([7])).to_parquet(path)  # mask ids are 1.0 and NaN
    assert imported.import_measure(filled, path, "prob", 3) == 1
    assert stored(filled) == {"a:1": 1.0}


BAD_PARQUET: list[tuple[dict[str, list[Any]], str]] = [
    ({"cell": ["a:1", "z:1"], "value": [1.0, 2.0]}, "row 2: the store has no image 'z'"),
    ({"cell": ["a:1", None], "value": [1.0, 2.0]}, "row 2: invalid cell name ''"),
    ({"cell": ["a:1"], "value": [math.inf]}, "row 1: invalid value 'inf'"),
    ({"cell": ["a:1"], "value": [True]}, "row 1: invalid value 'True'"),
    ({"cell": ["a:1"], "value": [datetime(2024, 5, 6)]}, "row 1: invalid value '2024-05-06"),
    ({"cell": ["a:1"], "value": [[1.0]]}, "row 1: invalid value"),
    ({"image": ["a"], "mask_id": [-1], "value": [1.0]}, "row 1: invalid mask id '-1'"),
    ({"image": ["a"], "mask_id": [2**63 - 1], "value": [1.0]}, "row 1: invalid mask id"),
    ({"cell": ["a:1"], "score": [1.0]}, ": has the columns cell, score; the columns must be"),
    ({"cell": [], "value": []}, "has a header but no rows"),
    ({}, "is empty; give a table"),
]


@pytest.mark.parametrize(("table", "message"), BAD_PARQUET)
def test_a_bad_parquet_is_refused(
    table: dict[str, list[Any]], message: str, filled: Store, tmp_path: Path
) -> None:
    path = write_parquet(tmp_path / "a.parquet", table)
    with pytest.raises(InputError, match=re.escape(message)):
        imported.import_measure(filled, path, "prob", 1)
    assert rows(filled, "SELECT * FROM cell_measure") == []


def test_a_nan_in_a_parquet_is_refused_as_in_a_csv(filled: Store, tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"cell": ["a:1"], "value": [math.nan]}), path)
    with pytest.raises(InputError, match="row 1: invalid value 'nan'"):
        imported.import_measure(filled, path, "prob", 1)


def test_a_damaged_or_endless_parquet_is_refused(
    filled: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_parquet(tmp_path / "a.parquet", {"cell": ["a:1"] * 9, "value": [0.5] * 9})
    whole = path.read_bytes()
    for end in range(4, len(whole), 7):
        path.write_bytes(whole[:end])
        with pytest.raises(InputError, match="cannot be read as Parquet"):
            imported.import_measure(filled, path, "prob", 1)
    for place in range(4, len(whole), 11):
        path.write_bytes(whole[:place] + b"\xff" + whole[place + 1 :])
        with suppress(InputError):  # a byte may be one that nobody reads
            imported.import_measure(filled, path, "prob", 1)
    path.write_bytes(whole)
    monkeypatch.setattr(scores, "MAX_PARQUET_ROWS", 8)
    with pytest.raises(InputError, match="has more than 8 rows; give smaller files"):
        imported.import_measure(filled, path, "prob", 1)
    assert rows(filled, "SELECT * FROM cell_measure") == []


def test_a_parquet_without_its_library_names_the_extra(
    filled: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_parquet(tmp_path / "a.parquet", {"cell": ["a:1"], "value": [0.5]})
    for module in ("pyarrow", "pyarrow.lib", "pyarrow.parquet"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(UsageError, match=re.escape("pip install 'hpastore[parquet]'")):
        imported.import_measure(filled, path, "prob", 1)


def test_an_older_schema_has_no_imported_measures(filled: Store, tmp_path: Path) -> None:
    # What the older schema has no columns for is lost.
    without = ["checksum", "intensity_p99", "intensity_p999"]
    without += [f"{channel}_{name}" for channel in CHANNELS for name in without[1:]]
    without += ["border_share", "nucleus_size", "second_nucleus", "nucleus_cut"]
    before = dump(filled, without=without)
    take(filled, tmp_path, table({"a:1": 0.5}))
    migrate.downgrade(filled, "0007")
    migrate.upgrade(filled)
    assert dump(filled, without=without) == before
    assert not any("checksum" in finding.what for finding in doctor(filled, deep=True))
