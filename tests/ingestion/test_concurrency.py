"""Several processes at once on one store: each image once, and readers see whole images."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from sqlalchemy import text

import hpastore
from hpastore.runtime import failpoints
from hpastore.store.engine import connect
from tests.conftest import Figure, MakeStore, Trials
from tests.ingestion import shuffled
from tests.waiting import PATIENCE_S, wait_until
from tests.world import dataset, is_a_file, name_of, rows, scalar, write_table

pytestmark = pytest.mark.has_schema

LABELS = ("0", "16", "0|16", "18", "7")


def start(url: str, *arguments: object, seed: int | None = None) -> subprocess.Popen[str]:
    program = ["-m", "hpastore"] if seed is None else [str(shuffled.__file__), str(seed)]
    command = [sys.executable, *program, "--db", url, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def outcomes(*processes: subprocess.Popen[str]) -> list[tuple[int, str]]:
    """Exit code and messages of each, but for the account of files and who waits for whom."""
    said = [
        (process.communicate(timeout=PATIENCE_S)[1], process.returncode) for process in processes
    ]
    return [
        (
            code,
            "".join(
                ln
                for ln in err.splitlines(True)
                if " files = " not in ln and "waiting for" not in ln
            ),
        )
        for err, code in said
    ]


def undisturbed(make_store: MakeStore, database: str, root: Path) -> list[str]:
    with make_store(database) as store:
        hpastore.ingest(store, root, executor="serial")
        return list(hpastore.dump(store))


@pytest.mark.soak
def test_ingesters_at_once_in_different_orders_store_each_image_once(
    database: str,
    empty_url: str,
    make_store: MakeStore,
    tmp_path: Path,
    figure: Figure,
    trials: Trials,
) -> None:
    n, rounds, images = 2 if database == "sqlite" else 4, trials(quick=1, full=1, soak=50), 40
    root = dataset(tmp_path / "data", images)
    expected = undisturbed(make_store, database, root)
    for trial in range(rounds):
        with hpastore.open_store(empty_url) as store, store.writing() as connection:
            for table in ("image", "failure", "ingest_run", "measurement_settings"):
                connection.execute(text(f"DELETE FROM {table}"))
        processes = [
            start(empty_url, "ingest", root, "-j", 1, seed=10 * trial + i) for i in range(n)
        ]
        assert outcomes(*processes) == [(0, "")] * n
        with hpastore.open_store(empty_url) as store:
            assert list(hpastore.dump(store)) == expected
            assert scalar(store, "SELECT sum(added) FROM ingest_run") == images
    figure(
        f"at once: {rounds} rounds of {n} ingesters on one {database}: each image once, dumps equal"
    )


@pytest.mark.soak
def test_first_ingests_at_once_make_one_schema(
    database: str, request: pytest.FixtureRequest, tmp_path: Path, figure: Figure, trials: Trials
) -> None:
    root, n, rounds = dataset(tmp_path / "data", 3), 4, trials(quick=1, full=2, soak=20)
    for trial in range(rounds):
        if database == "sqlite":
            race(f"sqlite:///{tmp_path / f'{trial}.db'}", root, n)
        else:
            with request.getfixturevalue("server").database() as url:
                race(url, root, n)
    figure(
        f"at once: {rounds} rounds of {n} first starts on {database}: one schema, each image once"
    )


def race(url: str, root: Path, n: int) -> None:
    processes = [start(url, "ingest", root, "-j", 1) for _ in range(n)]
    assert outcomes(*processes) == [(0, "")] * n
    with hpastore.open_store(url) as store:
        assert scalar(store, "SELECT count(*) FROM alembic_version") == 1
        assert scalar(store, "SELECT count(*) FROM image") == 3
        assert scalar(store, "SELECT sum(added) FROM ingest_run") == 3
        assert scalar(store, "SELECT count(*) FROM measurement_settings") == 1


@is_a_file
def test_who_waits_says_for_whom(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = dataset(tmp_path / "data", 1)
    monkeypatch.setenv("HPASTORE_FAILPOINT", "store.commit:1:hang")
    first = start(url, "ingest", root, "-j", 1)
    monkeypatch.delenv("HPASTORE_FAILPOINT")
    second = start(url, "ingest", root, "-j", 1)
    assert second.stderr is not None
    said = second.stderr.readline()
    assert f"waiting for process {first.pid} (" in said
    assert "which is writing" in said
    first.kill()
    first.communicate(timeout=PATIENCE_S)
    assert outcomes(second) == [(0, "")]
    with hpastore.open_store(url) as store:
        assert hpastore.status(store).images == 1


def test_the_later_of_two_recipes_at_once_is_that_of_all_numbers(
    empty_url: str, tmp_path: Path
) -> None:
    root = dataset(tmp_path / "data", 8)
    one = start(empty_url, "ingest", root, "-j", 1, "--background-percentile", 0.5)
    two = start(empty_url, "ingest", root, "-j", 1, "--background-percentile", 0.75)
    assert outcomes(one, two) == [(0, "")] * 2
    with hpastore.open_store(empty_url) as store:
        assert hpastore.ingest(store, root, executor="serial").new == 0
        assert hpastore.status(store).stale == 0
        assert len(rows(store, "SELECT DISTINCT settings_id FROM image")) == 1
        assert scalar(store, "SELECT count(*) FROM image") == 8


def test_clean_sets_made_at_once_get_versions_of_their_own(empty_url: str, tmp_path: Path) -> None:
    with hpastore.open_store(empty_url) as store:
        hpastore.ingest(store, dataset(tmp_path / "data", 4, labels=["0"]), executor="serial")
    rule = (
        "--lower",
        0,
        "--upper",
        1,
    )  # of which nothing is to be warned, as of others with so few cells
    processes = [start(empty_url, "clean", "create", "mine", *rule) for _ in range(3)]
    assert outcomes(*processes) == [(0, "")] * 3
    with hpastore.open_store(empty_url) as store:
        assert hpastore.clean_sets(store)["version"].tolist() == [1, 2, 3]


PARTIAL = """
SELECT count(*) FROM image i WHERE cell_count <> (SELECT count(*) FROM cell c WHERE c.image_id = i.id)
   OR 4 <> (SELECT count(*) FROM image_channel k WHERE k.image_id = i.id)
   OR 4 * cell_count <> (SELECT count(*) FROM cell_channel m JOIN cell c ON c.id = m.cell_id
                         WHERE c.image_id = i.id)
"""


def test_readers_see_whole_images_while_others_come_and_change(
    url: str, tmp_path: Path, figure: Figure, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = dataset(tmp_path / "data", 20)
    over, seen = threading.Event(), set()

    def ask() -> None:
        with connect(url) as store:
            while not over.is_set():
                assert hpastore.query(store, PARTIAL).rows == [(0,)]
                out = hpastore.export_coco(
                    store, tmp_path / "out.json", hpastore.ExportOptions(), force=True
                )
                assert hpastore.verify(out.path) == 1
                document = json.loads(out.path.read_text())
                cells = {image["id"]: 0 for image in document["images"]}
                for annotation in document["annotations"]:
                    cells[annotation["image_id"]] += 1
                assert 0 not in cells.values()
                seen.add(len(cells))

    failures: list[BaseException] = []

    def watch() -> None:
        try:
            ask()
        except BaseException as error:
            failures.append(error)

    with hpastore.open_store(url) as store:
        hpastore.ingest(store, hpastore.Layout(root, limit=1), executor="serial")
        reader = threading.Thread(target=watch)
        reader.start()
        wait_until(lambda: seen or failures)
        with monkeypatch.context() as patch:
            patch.setenv(failpoints.VARIABLE, "image.result:10:stop")
            adding = start(url, "ingest", root, "-j", 1)
        os.waitpid(adding.pid, os.WUNTRACED)  # until it stops itself
        wait_until(lambda: seen - {1} or failures)
        adding.send_signal(signal.SIGCONT)
        assert outcomes(adding) == [(0, "")]
        dataset(root, 20, nuclei=True)
        assert outcomes(start(url, "ingest", root, "-j", 1)) == [(0, "")]
        wait_until(lambda: 20 in seen or failures)
        over.set()
        reader.join()
    assert failures == []
    assert len(seen) > 2
    figure(
        f"at once: a reader saw {len(seen)} states of a store while images came, each of whole images"
    )


@pytest.mark.parametrize(
    ("seed", "jobs"),
    [
        pytest.param(seed, jobs, marks=[pytest.mark.full] if (seed, jobs) != (0, 2) else [])
        for seed in range(5)
        for jobs in (1, 2)
    ],
)
def test_the_order_of_inputs_and_workers_does_not_matter(
    url: str, make_store: MakeStore, database: str, tmp_path: Path, seed: int, jobs: int
) -> None:
    table = {name_of(i): LABELS[i % len(LABELS)] for i in range(8)}
    root = dataset(tmp_path / "data", 8, nuclei=True)
    expected = undisturbed(make_store, "sqlite", root)
    names = list(table)
    random.Random(seed).shuffle(names)
    write_table(root, {name: table[name] for name in names})
    assert outcomes(start(url, "ingest", root, "-j", jobs, seed=seed)) == [(0, "")]
    with hpastore.open_store(url) as store:
        assert list(hpastore.dump(store)) == expected
