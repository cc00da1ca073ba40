"""A name that is longer than a file system allows is an error in one line, wherever it is given."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import hpastore
from hpastore.errors import ExportError
from tests.cli.conftest import Run
from tests.world import dataset

pytestmark = pytest.mark.has_schema

LONG = "a" * 300


@pytest.fixture
def filled(run: Run, tmp_path: Path) -> Run:
    assert run("ingest", dataset(tmp_path / "data", 2), "--executor", "serial").code == 0
    return run


@pytest.mark.parametrize(
    "arguments",
    [
        *(
            ["verify", LONG],
            ["export", "coco", LONG],
            ["export", "csv", LONG],
            ["export", "images", LONG],
        ),
        *(["export", "mmdet", f"{LONG}.pkl"], ["plot", "hist", "--out", f"{LONG}.png"]),
        *(
            ["db", "backup", LONG],
            ["clean", "override-export", LONG],
            ["sample", LONG],
            ["ingest", LONG],
        ),
        *(["clean", "override-import", LONG], ["clean", "create", "x", "--recipe", LONG]),
    ],
    ids=lambda arguments: " ".join(arguments[:-1]),
)
def test_a_name_that_is_too_long_is_one_line(filled: Run, arguments: list[str]) -> None:
    done = filled(*arguments)
    assert done.code in (1, 2)
    assert LONG in done.err
    assert done.err.count("\n") == 1


@pytest.mark.parametrize("command", [["status"], ["ingest", "data"], ["doctor"], ["db", "upgrade"]])
@pytest.mark.parametrize("form", ["{}", "sqlite:///{}"])
def test_a_store_whose_name_is_too_long_is_one_line(
    filled: Run, command: list[str], form: str
) -> None:
    done = filled(*command, db=form.format(LONG))
    assert done.code == 1
    assert done.err == (
        f"hpastore: {LONG}: cannot be accessed (File name too long); name another store with --db\n"
    )


def test_a_manifest_that_lists_a_name_that_is_too_long_is_one_line(
    filled: Run, tmp_path: Path
) -> None:
    assert filled("export", "images", "pictures").code == 0
    manifest = tmp_path / "pictures" / "manifest.json"
    content = json.loads(manifest.read_text())
    content["files"][LONG] = next(iter(content["files"].values()))
    manifest.write_text(json.dumps(content))

    done = filled("verify", "pictures")
    assert done.code == 1
    assert done.err == (
        f"hpastore: pictures/{LONG}: cannot be read (File name too long); "
        "check the name and the permissions\n"
    )
    with pytest.raises(ExportError, match="File name too long"):
        hpastore.verify(tmp_path / "pictures")
