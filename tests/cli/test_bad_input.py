"""What people get wrong: one line that names the file and what to do, and nothing half-stored."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from sqlalchemy import text
from sqlalchemy.engine import make_url

import hpastore
from hpastore.store.engine import connect
from tests.cli.conftest import Outcome, Run
from tests.world import dataset, name_of, rows, scalar, write_table
from tests.world import has_comments as has_users

pytestmark = pytest.mark.has_schema

BAD = name_of(1)

Break = Callable[[Path], object]


def one_line(outcome: Outcome) -> str:
    """The message, which is one line on stderr and no traceback."""
    assert outcome.out == ""
    assert outcome.err.startswith("hpastore: ")
    assert outcome.err.endswith("\n")
    assert outcome.err.count("\n") == 1
    return outcome.err


def channel(root: Path, name: str = "green") -> Path:
    return root / "train" / f"{BAD}_{name}.png"


def mask(root: Path) -> Path:
    return root / "hpa_cell_mask" / f"{BAD}.npz"


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def relabel(root: Path, labels: str) -> None:
    write_table(root, {name_of(0): "0", BAD: labels, name_of(2): "16"})


def as_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


UNUSABLE: dict[str, tuple[Break, str, str]] = {
    "no root": (lambda root: root.rename(root.parent / "away"), "data", "no such folder"),
    "no table": (lambda root: (root / "train.csv").unlink(), "train.csv", "--labels"),
    "no images": (lambda root: (root / "train").rename(root / "x"), "train", "--images"),
    "no masks": (
        lambda root: (root / "hpa_cell_mask").rename(root / "x"),
        "hpa_cell_mask",
        "--masks",
    ),
    "empty table": (lambda root: (root / "train.csv").write_text(""), "train.csv", "empty"),
    "other columns": (
        lambda root: (root / "train.csv").write_text("a,b\n1,2\n"),
        "train.csv",
        "--id-column",
    ),
}


@pytest.fixture
def no_store(database: str, tmp_path: Path, empty_url: str) -> Callable[[], bool]:
    """Whether nothing has been made: neither a file nor a table."""

    def no_store() -> bool:
        if database == "sqlite":
            return not (tmp_path / "empty.db").exists()
        with connect(empty_url) as store:
            return not scalar(store, "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'")

    return no_store


@pytest.mark.parametrize("case", UNUSABLE)
@pytest.mark.has_schema(False)
def test_an_input_that_cannot_be_used_is_named_and_no_store_is_made(
    run: Run, tmp_path: Path, case: str, no_store: Callable[[], bool]
) -> None:
    spoil, file, what_to_do = UNUSABLE[case]
    root = dataset(tmp_path / "data", 3)
    spoil(root)
    outcome = run("ingest", root)
    assert outcome.code == 1
    said = one_line(outcome)
    assert file in said
    assert what_to_do in said
    assert no_store()


@pytest.mark.parametrize(
    "options",
    [
        *(["--executor", "cloud"], ["--background-percentile", "99"], ["-j", "0"]),
        *(["--limit", "-1"], ["--keep-column", "plate"], ["--keep-column", ""]),
        *(["--drop-column", "a\nb"], ["--keep-column", "ID"], ["--keep-column", "\udcff"]),
        ["--labels", "none", "--keep-column", "plate"],
    ],
    ids=ascii,
)
@pytest.mark.has_schema(False)
def test_an_argument_that_makes_no_sense_makes_no_store(
    run: Run, tmp_path: Path, options: list[str], no_store: Callable[[], bool]
) -> None:
    refused = run("ingest", dataset(tmp_path / "data", 1), *options)
    assert refused.code == 2
    one_line(refused)
    assert no_store()


@pytest.mark.parametrize("made", [False, True])
@pytest.mark.has_schema(False)
def test_a_root_that_is_not_utf_8_is_refused_and_no_store_is_made(
    run: Run, tmp_path: Path, made: bool, no_store: Callable[[], bool]
) -> None:
    if made:
        run("db", "upgrade")
    root = dataset(tmp_path / "data", 1).rename(tmp_path / "data\udcff")
    for command in ("plan", "ingest"):
        refused = run(command, root)
        assert refused.code == 1
        assert "data\\udcff: is not UTF-8" in one_line(refused)
    assert no_store() is not made


REJECTED: dict[str, tuple[Break, str, str]] = {
    "no channel": (
        lambda root: channel(root).unlink(),
        "missing_file",
        f"train/{BAD}_green.png is missing",
    ),
    "no mask": (
        lambda root: mask(root).unlink(),
        "missing_file",
        f"hpa_cell_mask/{BAD}.npz is missing",
    ),
    "truncated PNG": (lambda root: cut(channel(root)), "png", f"{BAD}_green.png"),
    "no PNG": (lambda root: channel(root).write_bytes(b"hello"), "not_png", f"{BAD}_green.png"),
    "empty PNG": (lambda root: channel(root).write_bytes(b""), "not_png", f"{BAD}_green.png"),
    "unreadable PNG": (lambda root: as_directory(channel(root)), "io", f"{BAD}_green.png"),
    "mask of another shape": (
        lambda root: np.savez(mask(root), np.ones((5, 6), np.uint16)),
        "shape_mismatch",
        f"{BAD}.npz",
    ),
    "channel of another shape": (
        lambda root: cv2.imwrite(str(channel(root)), np.zeros((5, 6), np.uint8)),
        "shape_mismatch",
        f"{BAD}_green.png",
    ),
    "channel of another depth": (
        lambda root: cv2.imwrite(str(channel(root)), np.zeros((24, 32), np.uint16)),
        "depth_mismatch",
        f"{BAD}_green.png",
    ),
    "mask of floats": (lambda root: np.savez(mask(root), np.ones((24, 32))), "dtype", f"{BAD}.npz"),
    "negative mask id": (
        lambda root: np.savez(mask(root), np.full((24, 32), -1)),
        "label_range",
        f"{BAD}.npz",
    ),
    "truncated mask": (lambda root: cut(mask(root)), "not_mask", f"{BAD}.npz"),
    "label above 18": (lambda root: relabel(root, "19"), "label", "line 3"),
    "label below 0": (lambda root: relabel(root, "-1"), "label", "line 3"),
    "empty label": (lambda root: relabel(root, ""), "label", "line 3"),
    "label that is no number": (lambda root: relabel(root, "3.5"), "label", "line 3"),
}


@pytest.mark.parametrize("case", REJECTED)
def test_a_bad_image_is_a_failure_that_names_the_file_and_the_others_are_stored(
    run: Run, tmp_path: Path, case: str, empty_url: str
) -> None:
    spoil, code, said = REJECTED[case]
    root = dataset(tmp_path / "data", 3)
    spoil(root)
    assert run("--json", "ingest", root, "--executor", "serial").code == 3
    (failure,) = run("--json", "failures").json
    assert (failure["image_name"], failure["code"]) == (BAD, code)
    assert said in failure["message"]
    assert "\n" not in failure["message"]
    with connect(empty_url) as store:
        stored = rows(store, "SELECT name FROM image ORDER BY name")
        assert [row["name"] for row in stored] == [name_of(0), name_of(2)]
        for table in ("cell", "image_channel", "image_file"):
            orphans = f"SELECT count(*) FROM {table} WHERE image_id NOT IN (SELECT id FROM image)"
            assert scalar(store, orphans) == 0


@pytest.mark.parametrize("name", ["../escape", "/etc/passwd", "a/b", "..", ".hidden", "a b", ""])
def test_a_name_with_a_path_in_it_is_refused(run: Run, tmp_path: Path, name: str) -> None:
    root = dataset(tmp_path / "data", 3)
    write_table(root, {name_of(0): "0", name: "0"})
    assert run("--json", "ingest", root, "--executor", "serial").code == 3
    (failure,) = run("--json", "failures").json
    assert failure["code"] == "name"
    assert "line 3" in failure["message"]
    assert run("--json", "status").json["images"] == 1


A, B, C = (name_of(i) for i in range(3))

TABLES: dict[str, tuple[str, list[str], list[tuple[str, str, str]]]] = {
    # rows, images stored, failures with what they say
    "a row twice": (f"{A},0\n{A},0\n{B},1\n", [A, B], []),
    "a row twice with other labels": (
        f"{A},0\n{B},1\n{A},5\n",
        [B],
        [(A, "duplicate", "line 4: ")],
    ),
    "a label twice": (f"{A},13|13\n", [A], []),
    "labels of other kinds": (
        f"{A},3.5\n{B},3 5\n{C},0x3\n",
        [],
        [(A, "label", "line 2: "), (B, "label", "line 3: "), (C, "label", "line 4: ")],
    ),
    "names of two cases": (
        f"{A},0\n{A.upper()},0\n{B},1\n",
        [A, B],
        [(A.upper(), "duplicate", f"line 3: the name equals {A} of line 2 but for case")],
    ),
    "a formula": (
        f"=cmd|' /C calc'!A0,0\n{A},0\n",
        [A],
        [("=cmd|' /C calc'!A0", "name", "line 2: ")],
    ),
    "leading zeros": (f"{A},007\n", [A], []),
    "a row without files": (f"{A},0\nnobody,1\n", [A], []),
}


@pytest.mark.parametrize("case", TABLES)
def test_rows_that_cannot_be_taken_are_failures_with_their_line(
    run: Run, tmp_path: Path, case: str
) -> None:
    text, stored, failed = TABLES[case]
    root = dataset(tmp_path / "data", 3)
    (root / "train.csv").write_text("ID,Label\n" + text)
    done = run("--json", "ingest", root, "--executor", "serial")
    assert (done.code, done.json["rejected"]) == (3 if failed else 0, len(failed))
    found = run("--json", "failures").json
    assert [(f["image_name"], f["code"]) for f in found] == sorted(f[:2] for f in failed)
    by_name = {f["image_name"]: f for f in found}
    for name, _, said in failed:
        assert said in by_name[name]["message"]
        assert by_name[name]["uri"] == "train.csv"
    assert [
        row["name"] for row in run("--json", "sql", "SELECT name FROM image ORDER BY name").json
    ] == stored


NEEDS_A_STORE = [
    ["status"],
    ["failures"],
    ["retry"],
    ["remeasure"],
    ["thresholds"],
    ["clean", "create", "mine"],
    ["clean", "list"],
    ["clean", "show", "mine"],
    ["export", "coco", "out.json"],
    ["export", "mmdet", "out.pkl"],
    ["export", "csv", "out.csv"],
    ["export", "images", "out"],
    ["sql", "SELECT 1"],
    ["db", "check"],
    ["db", "backup", "copy.db"],
    ["dump", "--canonical"],
    ["doctor"],
]
WRITES = [["ingest", "data"], ["db", "upgrade"]]


@pytest.mark.parametrize("command", [*NEEDS_A_STORE, *WRITES, ["plan", "data"]], ids=" ".join)
def test_a_store_of_a_newer_version_is_refused_untouched(
    run: Run, tmp_path: Path, command: list[str], empty_url: str, database: str
) -> None:
    root = dataset(tmp_path / "data", 1)
    run("ingest", root, "--executor", "serial")
    with connect(empty_url) as store, store.writing() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = 'ffff'"))
    files = [path for path in tmp_path.glob("empty.db*") if path.suffix != ".db-shm"]
    before = [hashlib.sha256(path.read_bytes()).hexdigest() for path in files]
    refused = run(*command)
    assert refused.code == 1
    assert "newer hpastore (schema ffff); upgrade hpastore" in one_line(refused)
    assert [hashlib.sha256(path.read_bytes()).hexdigest() for path in files] == before
    assert len(before) == (1 if database == "sqlite" else 0)


@pytest.mark.parametrize("command", NEEDS_A_STORE, ids=" ".join)
@pytest.mark.has_schema(False)
def test_a_store_that_is_not_there_is_not_made(
    run: Run, tmp_path: Path, command: list[str], database: str
) -> None:
    refused = run(*command)
    assert refused.code == 1
    assert "'hpastore ingest ROOT' makes" in one_line(refused)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["thresholds", "--lower", "98"], "lower takes a share from 0 to 1, not 98; 98 % is 0.98"),
        (["thresholds", "--lower", "0.9", "--upper", "0.1"], "lower 0.9 is above upper 0.1"),
        (["thresholds", "--measure", "size"], "no measure 'size'; there are"),
        (
            ["thresholds", "--channel", "pink"],
            "invalid --channel 'pink' (choose from red, green, blue, yellow)",
        ),
        (["thresholds", "--label", "19"], "no label 19; ids go from 0 to 18"),
        (["clean", "create", "a b"], "invalid clean set name 'a b'"),
        (
            ["clean", "create", "a", "--scope", "some"],
            "invalid --scope 'some' (choose from single, all)",
        ),
        (
            ["clean", "create", "a", "--guard", "some"],
            "invalid --guard 'some' (choose from report, keep)",
        ),
        (
            ["export", "coco", "a", "--multilabel", "x"],
            "invalid --multilabel 'x' (choose from expand, skip)",
        ),
        (
            ["export", "mmdet", "a", "--multilabel", "x"],
            "invalid --multilabel 'x' (choose from expand, skip, multihot)",
        ),
        (
            ["export", "coco", "a", "--label", "Cytosl"],
            "no label 'Cytosl'; did you mean Cytosol? list all",
        ),
        (
            ["plot", "hist", "--label", "cyto", "--out", "a.png"],
            "no label 'cyto'; did you mean Cytosol?",
        ),
        (["clean", "create", "a", "--min-green", "300"], "invalid min_green 300; use a grey level"),
        (["ingest", "data", "--background-percentile", "99"], "99 % is 0.99"),
        (["plan", "data", "--background-percentile", "99"], "99 % is 0.99"),
        (["ingest", "data", "-j", "0"], "jobs takes a number of processes"),
        (
            ["ingest", "data", "--executor", "cloud"],
            "invalid --executor 'cloud' (choose from process, serial)",
        ),
        (
            ["sql", "SELECT 1", "--format", "xml"],
            "invalid --format 'xml' (choose from table, csv, json)",
        ),
        (
            ["sql", "SELECT 1", "--timeout", "0"],
            "timeout must be a finite number of seconds above 0",
        ),
        (
            ["sql", "SELECT 1", "--timeout", "nan"],
            "timeout must be a finite number of seconds above 0",
        ),
        (
            ["sql", "SELECT 1", "--timeout", "inf"],
            "timeout must be a finite number of seconds above 0",
        ),
        (["sql", "SELECT 1", "--max-rows", "0"], "max_rows and max_bytes at least 1"),
    ],
)
def test_wrong_usage_exits_2_and_says_what_is_allowed(
    run: Run, tmp_path: Path, arguments: list[str], said: str
) -> None:
    run("ingest", dataset(tmp_path / "data", 1), "--executor", "serial")
    refused = run(*arguments)
    assert refused.code == 2
    assert said in one_line(refused)


@pytest.mark.parametrize("form", ["csv", "table"])
def test_a_form_beside_json_exits_2_and_is_an_error_document(
    run: Run, tmp_path: Path, form: str
) -> None:
    run("ingest", dataset(tmp_path / "data", 1), "--executor", "serial")
    message = f"--json and --format {form} exclude each other; leave one out"
    refused = run("sql", "SELECT 1", "--json", "--format", form)
    assert (refused.code, refused.err) == (2, f"hpastore: {message}\n")
    assert refused.json == {"error": "usage", "message": message, "path": None}


@pytest.mark.parametrize(
    "arguments", [["frobnicate"], ["ingest"], ["ingest", "a", "b"], ["thresholds", "--x"]]
)
def test_a_mistyped_command_exits_2_without_a_traceback(run: Run, arguments: list[str]) -> None:
    refused = run(*arguments)
    assert refused.code == 2
    assert "Traceback" not in refused.err


def test_a_clean_set_of_nothing_is_refused_and_not_kept(run: Run, tmp_path: Path) -> None:
    run("ingest", dataset(tmp_path / "data", 1), "--limit", 0)
    run("db", "upgrade")
    refused = run("clean", "create", "mine")
    assert refused.code == 2
    assert "ingest images with labels first" in one_line(refused)
    assert run("--json", "clean", "list").json == []


@pytest.mark.parametrize(
    ("url", "code", "said"),
    [
        ("mysql://host/db", 2, "--db takes"),
        ("sqlite://", 2, "--db takes"),
        ("postgresql://nobody@127.0.0.1:1/none", 5, "postgresql://nobody@127.0.0.1:1/none: "),
        ("no/such/folder/x.db", 2, "there is no folder no/such/folder"),
    ],
)
def test_a_database_that_cannot_be_reached_is_named(
    run: Run, tmp_path: Path, url: str, code: int, said: str
) -> None:
    outcome = run("ingest", dataset(tmp_path / "data", 1), db=url)
    assert outcome.code == code
    assert said in one_line(outcome)


def test_a_password_is_never_printed(run: Run, tmp_path: Path) -> None:
    url = "postgresql://nobody:canary@127.0.0.1:1/none"
    for command in (["status"], ["ingest", dataset(tmp_path / "data", 1)], ["db", "check"]):
        outcome = run(*command, db=url)
        assert outcome.code == 5
        assert "canary" not in outcome.out + outcome.err


def test_a_file_that_is_no_database_is_named_and_untouched(run: Run, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text(
        "my notes, long enough to be no header of a database at all"
    )
    for command in (["status"], ["db", "upgrade"], ["ingest", dataset(tmp_path / "data", 1)]):
        refused = run(*command, db=str(tmp_path / "notes.txt"))
        assert refused.code == 1
        assert "notes.txt: is not a SQLite database" in one_line(refused)
    assert (tmp_path / "notes.txt").read_text().startswith("my notes")


def test_a_truncated_store_is_one_line(run: Run, tmp_path: Path, sqlite_template: Path) -> None:
    (tmp_path / "cells.db").write_bytes(sqlite_template.read_bytes()[:5000])
    refused = run("status", db="cells.db")
    assert refused.code in (1, 5)
    assert "cells.db: " in one_line(refused)


@pytest.fixture
def reader(url: str) -> Iterator[str]:
    """The URL of a PostgreSQL user who may do nothing but SELECT."""
    name = f"reader_{uuid.uuid4().hex[:12]}"
    with connect(url) as store, store.writing() as connection:
        connection.execute(text(f"CREATE ROLE {name} LOGIN PASSWORD '{name}'"))
        connection.execute(text(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {name}"))
    yield make_url(url).set(username=name, password=name).render_as_string(hide_password=False)
    with connect(url) as store, store.writing() as connection:
        connection.execute(text(f"DROP OWNED BY {name}"))
        connection.execute(text(f"DROP ROLE {name}"))


@has_users
def test_a_user_who_may_only_read_is_refused_in_one_line(
    run: Run, tmp_path: Path, reader: str
) -> None:
    assert run("--json", "status", db=reader).json["images"] == 0
    refused = run("ingest", dataset(tmp_path / "data", 1), db=reader)
    assert refused.code in (1, 5)
    assert "permission denied" in one_line(refused)


def test_a_version_of_a_clean_set_that_no_database_can_count_is_one_line(
    run: Run, tmp_path: Path
) -> None:
    run("ingest", dataset(tmp_path / "data", 1), "--executor", "serial")
    run("clean", "create", "mine")
    refused = run("clean", "show", "mine@99999999999999999999")
    assert refused.code in (1, 2)
    assert "mine@99999999999999999999" in one_line(refused)


def test_the_python_api_raises_what_the_command_line_prints(tmp_path: Path) -> None:
    with pytest.raises(hpastore.HpastoreError, match="no such store"):
        hpastore.open_store(tmp_path / "none.db")
