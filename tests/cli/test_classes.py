"""Commands give a new store its classes; a store with images keeps those that it has."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import Run
from tests.world import dataset, name_of

LIST = "SELECT id, name, negative FROM label ORDER BY id"
ROWS = [
    {"id": 3, "name": "Vacuole", "negative": 0},
    {"id": 2018, "name": "Nothing", "negative": 1},
]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return dataset(tmp_path / "data", 4, labels=("3", "2018", "3|2018"))


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "classes.csv"
    path.write_text("id,name,negative\n3,Vacuole,0\n2018,Nothing,1\n")
    return path


def rows(run: Run) -> list[dict[str, object]]:
    found = run("--json", "sql", LIST).json
    return [{**row, "negative": int(row["negative"])} for row in found]


def test_the_first_ingest_makes_a_store_with_the_classes(run: Run, root: Path, table: Path) -> None:
    assert run("plan", root, "--classes", table).code == 4
    assert run("ingest", root, "--classes", table, "--dry-run").code == 0
    assert run("--json", "ingest", root, "--classes", table, "-j", 1).json["new"] == 4
    assert rows(run) == ROWS
    for more in ([], ["--classes", table]):
        again = run("--json", "ingest", root, "--executor", "serial", *more)
        assert (again.code, again.json["unchanged"]) == (0, 4)
    assert run("clean", "create", "mine").code == 0
    shown = run("--json", "clean", "show", "mine").json
    assert {row["label"] for row in shown} == {"Vacuole", "Nothing"}
    assert run("doctor", "--deep").code == 0


def test_an_upgrade_makes_an_empty_store_with_the_classes(run: Run, table: Path) -> None:
    assert run("db", "upgrade", "--classes", table).code == 0
    assert rows(run) == ROWS
    assert run("db", "upgrade", "--classes", table).code == 0
    assert run("db", "upgrade").code == 0
    assert rows(run) == ROWS


def test_a_store_with_images_takes_no_other_classes(
    run: Run, root: Path, table: Path, tmp_path: Path
) -> None:
    assert run("ingest", root, "--classes", table, "--executor", "serial").code == 0
    other = tmp_path / "other.csv"
    other.write_text("id,name\n3,Vacuole\n2018,Nothing\n")
    for command in (
        ["ingest", root],
        ["plan", root],
        ["ingest", root, "--dry-run"],
        ["db", "upgrade"],
    ):
        done = run(*command, "--classes", other)
        assert (done.code, done.out) == (2, "")
        assert done.err == (
            "hpastore: the store has images, and other classes than those given; leave out the "
            "classes, or make another store for them\n"
        )
    assert rows(run) == ROWS


def test_a_wrong_table_makes_no_store(run: Run, root: Path, tmp_path: Path) -> None:
    table = tmp_path / "classes.csv"
    table.write_text("id,name\n1,a\n1,b\n")
    for command in (["ingest", root], ["plan", root], ["db", "upgrade"]):
        done = run(*command, "--classes", table)
        assert (done.code, done.out) == (1, "")
        assert done.err == f"hpastore: {table}: line 3: the id 1 is given twice\n"
    assert run("status").code == 1


def test_a_recipe_for_another_class_is_refused_in_one_line(
    run: Run, root: Path, table: Path, tmp_path: Path
) -> None:
    assert run("ingest", root, "--classes", table, "--executor", "serial").code == 0
    path = tmp_path / "mine.toml"
    path.write_text('[label.Negative]\noff = ["fraction"]\n', encoding="utf-8")
    done = run("clean", "create", "mine", "--recipe", path)
    assert (done.code, done.out) == (2, "")
    assert done.err == (
        "hpastore: [label.Negative] of the recipe: no label 'Negative'; ids are 3 and 2018; list "
        "all labels with: hpastore sql 'SELECT id, name FROM label', or rename or delete this "
        "section in a copy of the recipe\n"
    )
    assert run("clean", "create", "mine", "--recipe", "hpa").code == 0


def test_a_wrong_label_of_the_table_is_reported_with_those_of_the_store(
    run: Run, root: Path, table: Path
) -> None:
    (root / "train.csv").write_text(f"ID,Label\n{name_of(0)},16\n{name_of(1)},3\n")
    assert run("ingest", root, "--classes", table, "--executor", "serial").code == 3
    (failure,) = run("--json", "failures").json
    message = "the label '16' is not allowed; use 3 and 2018, several joined by '|'"
    assert failure["message"].endswith(message)


def test_decisions_are_read_with_the_classes_of_the_store(
    run: Run, root: Path, table: Path, tmp_path: Path
) -> None:
    assert run("ingest", root, "--classes", table, "--executor", "serial").code == 0
    decided = tmp_path / "decided.csv"
    decided.write_text(
        f"cell,keep,label_id\n{name_of(0)}:1,drop,vacuole\n{name_of(1)}:1,keep,2018\n"
    )
    assert run("clean", "override-import", decided).code == 0
    found = run("--json", "clean", "overrides").json
    assert [row["label_id"] for row in found] == [3, 2018]
    decided.write_text(f"cell,keep,label_id\n{name_of(0)}:1,drop,16\n")
    done = run("clean", "override-import", decided)
    assert "line 2: no label 16; ids are 3 and 2018; list all labels" in done.err
