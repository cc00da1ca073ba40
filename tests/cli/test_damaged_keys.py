"""A stored id that leads nowhere is an error that names its row; no export holds it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from hpastore.store.engine import connect
from tests.cli.conftest import Run
from tests.world import dataset, name_of

pytestmark = pytest.mark.has_schema

Damage = Callable[[str], None]

NO_LABEL: Final = "is none of the ids 0 to 18; 'hpastore doctor --deep' lists what is damaged\n"


@pytest.fixture
def judged(run: Run, tmp_path: Path) -> Run:
    """Two images with labels 0 and 16, and a frozen clean set of them."""
    assert run("ingest", dataset(tmp_path / "data", 2), "--executor", "serial").code == 0
    assert run("clean", "create", "mine", "--frozen", "--min-green", "0").code == 0
    (tmp_path / "out").mkdir()
    return run


@pytest.fixture
def damage(database: str, empty_url: str) -> Damage:
    """Change rows as nothing but a hostile hand would, without the checks of the database."""

    def damage(sql: str) -> None:
        with connect(empty_url) as store, store.engine.connect() as connection:
            if database == "sqlite":
                driver = connection.connection.driver_connection
                assert driver is not None
                driver.execute("PRAGMA ignore_check_constraints = ON")
                driver.execute("PRAGMA foreign_keys = OFF")  # within a transaction it has no effect
            else:
                connection.exec_driver_sql("SET session_replication_role = replica")
            assert connection.exec_driver_sql(sql).rowcount > 0
            connection.commit()

    return damage


def said(run: Run, *arguments: str) -> str:
    """Run a command that must end with an error in one line, and return that."""
    done = run("--quiet", *arguments)
    assert done.code == 1
    assert done.err.startswith("hpastore: ")
    assert done.err.count("\n") == 1
    return done.err


CELL: Final = f"{name_of(0)}:1"


@pytest.mark.parametrize(
    "command",
    [
        *(["clean", "show", "mine"], ["clean", "refresh", "mine"], ["explain", CELL]),
        *(
            ["plot", "gallery", "--out", "out/g.png"],
            ["plot", "overlay", name_of(0), "--out", "out/o.png"],
        ),
        *(["export", kind, "out/a.pkl", "--clean", "mine"] for kind in ("coco", "mmdet", "csv")),
    ],
    ids=" ".join,
)
def test_a_verdict_of_no_label_is_an_error(
    judged: Run, damage: Damage, command: list[str], tmp_path: Path
) -> None:
    damage("UPDATE clean_set_cell SET label_id = 77")
    assert NO_LABEL in said(judged, *command)
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize("kind", ["coco", "mmdet", "csv"])
def test_an_image_of_no_label_is_not_exported(
    judged: Run, damage: Damage, kind: str, tmp_path: Path
) -> None:
    damage("UPDATE image_label SET label_id = label_id + 20")
    error = said(judged, "export", kind, "out/a.pkl")
    assert error == f"hpastore: image {name_of(0)}: its label 20 {NO_LABEL}"
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize("command", ["plan", "ingest"])
def test_an_image_without_its_settings_is_an_error(
    judged: Run, damage: Damage, command: str
) -> None:
    damage("UPDATE measurement_settings SET id = 7")
    assert f"image {name_of(0)}: its measurement settings 1 are missing" in said(
        judged, command, "data"
    )


@pytest.mark.parametrize("command", ["plan", "ingest"])
def test_an_image_without_files_is_an_error(judged: Run, damage: Damage, command: str) -> None:
    damage("DELETE FROM image_file WHERE image_id = 1")
    assert "none of its files is recorded" in said(judged, command, "data")


@pytest.mark.parametrize("command", [["clean", "refresh", "mine"], ["clean", "show", "mine"]])
def test_a_threshold_of_no_rule_is_an_error(
    judged: Run, damage: Damage, command: list[str]
) -> None:
    damage("UPDATE clean_set_threshold SET rule_id = 999999999999 WHERE label_id = 16")
    assert "clean set mine@1: its threshold of label 16 belongs to no rule of the set" in said(
        judged, *command
    )


@pytest.mark.parametrize("command", [["clean", "refresh", "mine"], ["explain", CELL]])
def test_a_threshold_that_is_missing_is_an_error(
    judged: Run, damage: Damage, command: list[str]
) -> None:
    damage("DELETE FROM clean_set_threshold WHERE label_id = 0")
    assert "threshold" in said(judged, *command)
