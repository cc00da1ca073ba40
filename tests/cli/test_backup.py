from __future__ import annotations

from pathlib import Path

import pytest

import hpastore
from tests.cli.conftest import Run
from tests.store.integrity.test_checksums import everything

pytestmark = pytest.mark.has_schema


def test_backup_says_what_it_made_and_how_to_look_at_it(
    run: Run, empty_url: str, tmp_path: Path
) -> None:
    with hpastore.open_store(empty_url) as store:
        everything(store)
    done = run("db", "backup", "copy.db")
    assert (done.code, done.err) == (0, "")
    size = (tmp_path / "copy.db").stat().st_size
    assert (
        done.out
        == f"copy.db: {size} bytes; 'hpastore --db copy.db doctor --deep' compares its checksums\n"
    )
    assert run("doctor", "--deep", db="copy.db").out == "nothing is wrong\n"
    done = run("db", "backup", "copy.db")
    assert (done.code, done.out) == (1, "")
    assert (
        done.err == "hpastore: copy.db: exists; choose another name, or replace it with --force\n"
    )
    assert run("db", "backup", "copy.db", "--force", "--json").json == {
        "backup": "copy.db",
        "bytes": size,
    }


@pytest.mark.has_schema(False)
def test_backup_of_no_store_makes_nothing(run: Run, tmp_path: Path) -> None:
    done = run("db", "backup", "copy.db")
    assert (done.code, done.out) == (1, "")
    assert not (tmp_path / "copy.db").exists()
