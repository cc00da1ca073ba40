from __future__ import annotations

from pathlib import Path

import pytest

import hpastore
from hpastore.store import write
from hpastore.store.engine import Store
from tests.cli.conftest import Run
from tests.store.integrity.test_checksums import everything
from tests.store.integrity.test_doctor import change

pytestmark = pytest.mark.has_schema


def fill(store: Store, root: Path) -> None:
    """Fill every table, with all images in a folder that exists."""
    everything(store)
    with store.writing() as connection:
        for before in ("/data", "/other"):
            write.move_root(connection, before, str(root), 1)


def test_doctor_says_each_finding_in_a_line_and_exits_with_4(
    run: Run, empty_url: str, tmp_path: Path
) -> None:
    with hpastore.open_store(empty_url) as store:
        fill(store, tmp_path)
        done = run("doctor", "--deep")
        assert (done.code, done.out, done.err) == (0, "nothing is wrong\n", "")
        assert run("doctor", "--json").json == []
        change(store, "UPDATE cell SET red_saturated = 0.5 WHERE id = 5")
        change(store, "UPDATE clean_set_cell SET clean = (1 = 1)")
    assert run("doctor").code == 0
    done = run("doctor", "--deep")
    assert done.code == 4
    first, second, third, fourth = done.out.splitlines()
    assert first.startswith(
        "clean set mine@1: its stored values do not match its checksum (clean_set, "
    )
    assert "clean_set_cell" in first
    assert first.endswith("; create it again, or restore a backup")
    assert third.startswith("clean set rules@1: ")
    assert fourth.startswith(
        "image a: its stored values do not match its checksum (image, image_file, "
    )
    assert "cell_channel" in fourth
    done = run("doctor", "--deep", "--json")
    assert done.code == 4
    assert [sorted(finding) for finding in done.json] == [["hint", "what", "where"]] * 4
    assert done.json[1]["where"] == "clean set mine@2" == second.partition(":")[0]


def test_doctor_warns_of_a_root_that_does_not_exist_and_finds_nothing_wrong(
    run: Run, empty_url: str, tmp_path: Path
) -> None:
    with hpastore.open_store(empty_url) as store:
        fill(store, tmp_path / "away")
    done = run("doctor")
    more = "--deep also compares all values with their checksums"
    assert (done.code, done.out) == (0, f"nothing is wrong; {more}\n")
    assert done.err.startswith(
        f"hpastore: warning: the root {tmp_path / 'away'}, with 8 images, does not exist"
    )
    assert f"hpastore forget {tmp_path / 'away'}" in done.err
    assert run("doctor", "--json").json == []


@pytest.mark.has_schema(False)
def test_doctor_of_no_store_is_one_line(run: Run) -> None:
    done = run("doctor")
    assert (done.code, done.out) == (1, "")
    assert "'hpastore ingest ROOT' makes" in done.err
