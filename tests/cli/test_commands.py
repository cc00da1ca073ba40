"""Every command from the user's chair: what it prints, and its exit code."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest

import hpastore
from hpastore.kernels.definitions import VERSIONS
from hpastore.store import version
from hpastore.vocabulary import CHANNELS
from tests.cli.conftest import Run
from tests.world import dataset, has_comments, name_of, write_image, write_table

pytestmark = pytest.mark.has_schema

COUNTS = [
    *(
        "new",
        "changed",
        "relabelled",
        "remeasured",
        "gone",
        "returned",
        "resplit",
        "unchanged",
        "rejected",
    ),
    *("rejected_before", "cells", "images_decoded"),
]
SUMMARY = [*COUNTS, "seconds", "files", "moves", "warnings"]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return dataset(tmp_path / "data", 5)


def test_ingest_prints_its_summary_and_again_decodes_nothing(run: Run, root: Path) -> None:
    first = run("--json", "ingest", root, "-j", 1)
    assert first.code == 0
    assert list(first.json) == SUMMARY
    assert (first.json["new"], first.json["images_decoded"], first.json["cells"]) == (5, 5, 12)
    assert all(type(first.json[name]) is int for name in COUNTS)
    again = run("--json", "ingest", root)
    assert again.code == 0
    assert (again.json["unchanged"], again.json["images_decoded"], again.json["cells"]) == (5, 0, 0)
    text = run("ingest", root)
    assert ["unchanged", "5"] in [line.split() for line in text.out.splitlines()]


def test_ingest_goes_on_past_a_bad_image_and_exits_3(run: Run, root: Path) -> None:
    bad = root / "train" / f"{name_of(1)}_green.png"
    bad.write_bytes(bad.read_bytes()[:-40])
    done = run("ingest", root, "-j", 1)
    assert done.code == 3
    assert "1 image was rejected; 'hpastore failures' says why" in done.err
    (failure,) = run("failures", "--json").json
    assert (failure["image_name"], failure["uri"], failure["code"]) == (
        name_of(1),
        f"train/{name_of(1)}_green.png",
        "png",
    )
    assert str(bad) in failure["message"]
    assert name_of(1) in run("failures").out
    assert run("--json", "status").json["images"] == 4


@pytest.mark.has_schema(False)
def test_plan_says_what_ingest_would_do_and_makes_no_store(
    run: Run, root: Path, database: str
) -> None:
    planned = run("plan", root)
    assert planned.code == 4
    assert ["new", "5"] in [line.split() for line in planned.out.splitlines()]
    if database == "sqlite":
        assert not (root.parent / "empty.db").exists()
    assert run("--json", "plan", root).json["new"] == [name_of(i) for i in range(5)]
    assert run("ingest", root, "--dry-run").code == 0
    run("ingest", root, "--executor", "serial")
    planned = run("plan", root)
    assert planned.code == 0
    assert planned.out.splitlines()[-1].split() == ["unchanged", "5"]
    write_table(root, {name_of(0): "3"})
    assert run("--json", "plan", root).json["relabelled"] == [name_of(0)]


PLAN = [
    *("new", "changed", "changed_files", "unmeasured", "relabelled", "gone", "pruned", "returned"),
    *("resplit", "stale", "unchanged", "rejected", "orphans", "stopped", "warnings"),
]


def test_plan_and_dry_run_are_one_document(run: Run, root: Path) -> None:
    run("ingest", root, "--executor", "serial")
    (root / "train" / f"{name_of(0)}_blue.png").unlink()
    write_image(root, name_of(1), seed=9)
    write_image(root, "other")
    write_table(root, {**{name_of(i): "16" for i in range(3)}, "nobody": "0"})
    planned = run("--json", "plan", root, "--background-percentile", 0.5, "--prune")
    assert planned.code == 4
    assert list(planned.json) == PLAN
    missing = (
        f"{name_of(0)}: train/{name_of(0)}_blue.png is missing; add it, or remove the image's row"
    )
    assert planned.json == {
        "new": [],
        "changed": [name_of(1)],
        "changed_files": {name_of(1): [*CHANNELS, "cell_mask"]},
        "unmeasured": [],
        "relabelled": [name_of(2)],
        "gone": [name_of(3), name_of(4)],
        "pruned": [name_of(3), name_of(4)],
        "returned": [],
        "resplit": [],
        "stale": [name_of(0), name_of(2)],
        "unchanged": 0,
        "rejected": [
            {
                "image_name": name_of(0),
                "uri": f"train/{name_of(0)}_blue.png",
                "code": "missing_file",
                "message": f"{missing} from the table",
            }
        ],
        "orphans": [
            *(
                {"kind": "image_without_label", "name": n, "files": 5}
                for n in (name_of(3), name_of(4), "other")
            ),
            {"kind": "label_without_image", "name": "nobody", "files": 0},
        ],
        "stopped": None,
        "warnings": [],
    }
    options = ("--background-percentile", 0.5, "--prune")
    dry = run("--json", "ingest", root, *options, "--dry-run")
    assert (dry.code, dry.json) == (0, planned.json)
    done = run("--json", "ingest", root, *options, "--executor", "serial")
    assert done.code == 3
    counted = ("new", "changed", "relabelled", "remeasured", "gone", "unchanged", "rejected")
    assert {name: done.json[name] for name in counted} == {
        "new": 0,
        "changed": 1,
        "relabelled": 1,
        "remeasured": 2,
        "gone": 2,
        "unchanged": 0,
        "rejected": 1,
    }


def test_plan_says_why(run: Run, root: Path) -> None:
    run("ingest", root, "--executor", "serial")
    bad = root / "train" / f"{name_of(0)}_blue.png"
    bad.write_bytes(b"no picture")
    write_table(root, {name_of(0): "0", name_of(1): "5|3", name_of(2): "0|16", "nobody": "0"})
    planned = run("plan", root)
    said = [line.split(maxsplit=2) for line in planned.out.splitlines()]
    for line in (
        [name_of(0), "changed", "blue differs"],
        [name_of(1), "relabelled", "labels 3|5 in the table"],
        [name_of(3), "gone", "no row in the table"],
        [name_of(4), "orphan", "an image without a row in the table (files: 5)"],
        ["nobody", "orphan", "a row of the table without a channel or a cell mask"],
    ):
        assert line in [[text.strip() for text in words] for words in said]
    assert (planned.code, planned.err) == (4, "")
    assert run("ingest", root, "--executor", "serial").code == 3
    planned = run("plan", root)
    assert planned.code == 0
    assert str(bad) in planned.out
    assert planned.err == (
        "images that were rejected before are tried again when their files change, "
        "or after 'hpastore retry'\n"
    )


def test_known_rejects_are_counted_and_not_tried_until_a_retry(run: Run, root: Path) -> None:
    (root / "train" / f"{name_of(1)}_green.png").write_bytes(b"no picture")
    for code, before in ((3, 0), (0, 1), (0, 1)):
        done = run("--json", "ingest", root, "--executor", "serial")
        assert (done.code, done.json["rejected"], done.json["rejected_before"]) == (code, 1, before)
        assert run("plan", root).code == 0
    assert "1 image is rejected as before; 'hpastore failures' says why" in done.err
    assert run("ingest", root, "--strict").code == 3
    assert run("retry").out == "the next ingest tries 1 image again\n"
    assert run("plan", root).code == 4
    assert run("--json", "retry", name_of(1)).json == [name_of(1)]
    unknown = run("retry", name_of(0))
    assert (unknown.code, unknown.err) == (
        1,
        f"hpastore: no rejected image {name_of(0)}; 'hpastore failures' lists the rejected images\n",
    )


def test_ingest_prints_the_accounts_of_all_files(run: Run, root: Path) -> None:
    (root / "train" / f"{name_of(1)}_green.png").write_bytes(b"no picture")
    write_table(root, {name_of(i): "0" for i in range(4)} | {"nobody": "0"})
    said = (
        f"hpastore: 1 image has no row in the table and is not ingested: {name_of(4)}\n"
        "25 files = 15 stored + 0 unchanged + 5 rejected (5 not_png) + 5 orphans (5 image_without_label); "
        "1 row of the table has no image\n"
        "'hpastore plan' lists the orphans: files that belong to no image\n"
        "1 image was rejected; 'hpastore failures' says why\n"
    )
    assert run("--json", "ingest", root, "--executor", "serial").err == said
    again = said.replace("15 stored + 0 un", "0 stored + 15 un")
    assert run("ingest", root, "--executor", "serial").err == again.replace(
        "was rejected;", "is rejected as before;"
    )
    assert run("--quiet", "ingest", root, "--executor", "serial").err == ""


def test_prune_deletes_and_says_what_went_with_it(run: Run, root: Path) -> None:
    run("ingest", root, "--executor", "serial")
    run("clean", "create", "mine", "--min-green", 0)
    write_table(root, {name_of(0): "0"})
    assert run("--json", "ingest", root).json["gone"] == 4
    assert run("--json", "status").json["gone"] == 4
    spared = run("ingest", root, "--limit", 1, "--prune")
    assert "warning: --prune deletes nothing: with --limit, no image counts as gone" in spared.err
    assert run("--json", "status").json["gone"] == 4
    pruned = run("--json", "ingest", root, "--prune")
    assert (pruned.code, pruned.json["gone"]) == (0, 4)
    assert "warning: 4 gone images were deleted; clean sets keep" in pruned.err
    status = run("--json", "status").json
    assert (status["images"], status["gone"], status["cells"]) == (1, 0, 3)


def test_limit_split_and_labels_none_are_taken(run: Run, root: Path) -> None:
    assert (
        run("--json", "ingest", root, "--limit", 2, "--split", "dev", "--executor", "serial").json[
            "new"
        ]
        == 2
    )
    assert (
        run("--json", "ingest", root, "--labels", "none", "--executor", "serial").json["new"] == 3
    )
    status = run("--json", "status").json
    assert (status["images"], status["unlabelled"]) == (5, 5)
    assert {entry["split"] for entry in status["roots"]} == {"dev", None}


def test_status_counts_what_the_store_holds(run: Run, root: Path) -> None:
    run("ingest", root, "--executor", "serial")
    status = run("--json", "status").json
    assert (status["images"], status["cells"], status["failures"]) == (5, 12, 0)
    assert status["measurement_settings"] == {
        "background_percentile": 0.99,
        "measures": VERSIONS,
        "levels": "257",
    }
    assert status["roots"] == [{"root": str(root), "split": None, "images": 5}]
    text = run("status").out
    assert "cells" in text
    assert str(root) in text


def test_thresholds_as_json_have_full_precision(run: Run, root: Path, empty_url: str) -> None:
    run("ingest", root, "--executor", "serial")
    found = run("thresholds", "--lower", 0.25, "--upper", 0.75, "--json").json
    assert [list(row) for row in found] == [["label_id", "label", "n", "lower", "upper"]] * 4
    with hpastore.open_store(empty_url) as store:
        expected = hpastore.thresholds(store, hpastore.Rule(lower=0.25, upper=0.75))
    assert found == expected.to_dict("records")
    assert [row["label_id"] for row in run("--json", "thresholds", "--label", 7).json] == [7]
    assert "Nucleoplasm" in run("thresholds").out


def test_clean_sets_are_made_listed_and_shown(run: Run, root: Path) -> None:
    run("ingest", root, "--executor", "serial")
    made = run("--json", "clean", "create", "mine", "--lower", 0.1, "--upper", 0.9)
    assert made.code == 0
    assert made.json["name"] == "mine"
    assert made.json["version"] == 1
    assert "mine@2: " in run("clean", "create", "mine", "--min-green", 0).out
    assert [(row["name"], row["version"]) for row in run("--json", "clean", "list").json] == [
        ("mine", 1),
        ("mine", 2),
    ]
    shown = run("--json", "clean", "show", "mine@1").json
    assert sum(row["cells"] for row in shown) == made.json["cells"]
    assert sum(row["clean"] for row in shown) == made.json["clean"]
    assert "Nucleoplasm" in run("clean", "show", "mine").out
    missing = run("clean", "show", "other")
    assert (missing.code, missing.err) == (
        1,
        "hpastore: no clean set other; 'hpastore clean list' lists all clean sets\n",
    )


def test_exports_are_written_and_verified(run: Run, root: Path, tmp_path: Path) -> None:
    run("ingest", root, "--executor", "serial")
    run("clean", "create", "mine", "--min-green", 0)
    for name, form in (
        ("a.json", "coco"),
        ("a.pkl", "mmdet"),
        ("a.csv", "csv"),
        ("pictures", "images"),
    ):
        written = run("--json", "export", form, name, "--clean", "mine")
        assert written.code == 0, written.err
        assert written.json["path"] == name
        assert written.json["annotations"] > 0
        assert run("verify", name).code == 0
    assert "cell_ID,bbox,fraction,Label,clean" in _first_line(run, "b.csv", "--layout", "notebook")
    refused = run("export", "coco", "a.json")
    assert refused.code == 1
    assert (
        refused.err == "hpastore: a.json: exists; choose another name, or replace it with --force\n"
    )
    (tmp_path / "a.json").write_text("{}")
    changed = run("verify", "a.json")
    assert (changed.code, changed.out) == (1, "")
    assert "a.json: has changed since it was exported" in changed.err


def _first_line(run: Run, name: str, *options: str) -> str:
    run("export", "csv", name, "--clean", "mine", *options)
    return Path(name).read_text().splitlines()[0]


def test_sql_answers_as_table_csv_and_json(run: Run, root: Path) -> None:
    run("ingest", root, "--executor", "serial")
    query = "SELECT name, label_count FROM image ORDER BY name LIMIT 2"
    expected = [{"name": name_of(i), "label_count": 1} for i in range(2)]
    assert run("sql", query, "--format", "json").json == expected
    assert run("--json", "sql", query).json == expected
    assert list(csv.DictReader(io.StringIO(run("sql", query, "--format", "csv").out))) == [
        {"name": name_of(i), "label_count": "1"} for i in range(2)
    ]
    assert name_of(1) in run("sql", query).out


def test_sql_says_where_it_cut(run: Run, root: Path) -> None:
    run("ingest", root, "--executor", "serial")
    cut = run("sql", "SELECT name FROM image", "--max-rows", 2)
    assert cut.code == 0
    assert cut.err == "hpastore: cut at 2 rows; --max-rows gives more\n"
    whole = run("sql", "SELECT name FROM image", "--max-rows", 5)
    assert whole.err == ""


def test_sql_as_json_has_numbers_or_null(run: Run, root: Path, database: str) -> None:
    run("ingest", root, "--executor", "serial")
    infinite = "9e999" if database == "sqlite" else "'Infinity'::float8"
    assert run("--json", "sql", f"SELECT {infinite} AS x, -{infinite} AS y").json == [
        {"x": None, "y": None}
    ]
    ((area,),) = [row.values() for row in run("--json", "sql", "SELECT avg(area) FROM cell").json]
    assert isinstance(area, float)
    assert area > 0


@has_comments
def test_sql_as_json_takes_what_only_postgresql_has(run: Run, url: str) -> None:
    query = (
        "SELECT ARRAY['NaN', 1.5::float8] AS a, '{\"b\": [null]}'::jsonb AS j, 'NaN'::numeric AS n"
    )
    assert run("--json", "sql", query, db=url).json == [
        {"a": [None, 1.5], "j": {"b": [None]}, "n": None}
    ]


def test_sql_begins_with_space_and_comments_on_both_databases(run: Run, url: str) -> None:
    for query in (
        "  \n SELECT 1 AS n",
        "-- it's\n/* a\n; */ select 1 AS n",
        "/**/WITH x AS (SELECT 1 AS n) SELECT n FROM x",
    ):
        said = run("--json", "sql", "--", query, db=url)
        assert said.code == 0, said.err
        assert said.json == [{"n": 1}]


def test_sql_ends_a_query_that_takes_too_long(run: Run, root: Path) -> None:
    run("ingest", root, "--limit", 0)
    endless = (
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"
    )
    ended = run("sql", endless, "--timeout", 0.2)
    assert (ended.code, ended.out) == (1, "")
    assert "took longer than 0.2 s" in ended.err
    ended = run("sql", endless, "--timeout", 0.0004)
    assert (ended.code, ended.out) == (1, "")
    assert "took longer than 0.0004 s" in ended.err


def test_sql_takes_limits_of_any_size(run: Run, url: str) -> None:
    assert run("sql", "SELECT 1", "--timeout", "1e308", "--max-rows", 10**30, db=url).code == 0


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM cell",
        "UPDATE image SET split = 'x'",
        "INSERT INTO label VALUES (19, 'x')",
        "DROP TABLE cell",
        "CREATE TABLE x (y int)",
        "SELECT 1; DELETE FROM cell",
        "ATTACH 'x.db' AS x",
        "VACUUM INTO 'x.db'",
        "PRAGMA writable_schema = 1",
        "COMMIT",
        "nonsense",
        "",
    ],
)
def test_sql_does_nothing_but_read(run: Run, root: Path, statement: str, tmp_path: Path) -> None:
    run("ingest", root, "--executor", "serial")
    before = {path.name for path in tmp_path.iterdir()}
    refused = run("sql", statement)
    assert (refused.code, refused.out) == (1, "")
    assert refused.err.startswith("hpastore: ")
    assert refused.err.count("\n") == 1
    assert run("--json", "status").json["cells"] == 12
    assert {path.name for path in tmp_path.iterdir()} == before


def test_a_writing_cte_is_refused(run: Run, root: Path) -> None:
    run("ingest", root, "--executor", "serial")
    refused = run("sql", "WITH gone AS (DELETE FROM cell RETURNING id) SELECT count(*) FROM gone")
    assert refused.code == 1
    assert run("--json", "status").json["cells"] == 12


@pytest.mark.has_schema(False)
def test_db_upgrade_makes_current_and_check_find_nothing(run: Run) -> None:
    missing = run("db", "check")
    assert missing.code == 1
    assert "hpastore ingest ROOT" in missing.err
    assert run("db", "upgrade").out == f"upgraded to schema {version.head()}\n"
    assert run("db", "upgrade").out == f"is at schema {version.head()}\n"
    assert run("db", "current").out == f"store {version.head()}, program {version.head()}\n"
    assert run("--json", "db", "current").json == {
        "schema": version.head(),
        "program": version.head(),
    }
    assert run("db", "check").out == "nothing has drifted\n"
    assert run("--json", "db", "check").json == []


def test_sample_draws_what_ingest_takes(run: Run) -> None:
    drawn = run("sample", "drawn", "-n", 2, "--size", 64, "-j", 1)
    assert (drawn.code, drawn.out) == (0, "")
    assert "next: hpastore ingest drawn" in drawn.err
    assert run("--json", "ingest", "drawn", "--executor", "serial").json["new"] == 2
    assert run("--json", "sample", "other", "-n", 1, "--size", 64, "-j", 1).json == {
        "folder": "other",
        "images": 1,
    }


def test_shared_options_may_stand_anywhere(run: Run, root: Path, empty_url: str) -> None:
    run("ingest", root, "--executor", "serial")
    assert run("status", "--json").json == run("--json", "status").json
    assert (
        run("status", "--json", "--db", empty_url).json
        == run("--json", "status", db=empty_url).json
    )
    assert run("status", "--json", f"--db={empty_url}").json["images"] == 5


def test_quiet_silences_messages_but_not_errors(run: Run, root: Path) -> None:
    (root / "train" / f"{name_of(0)}_red.png").unlink()
    done = run("--quiet", "ingest", root, "--executor", "serial")
    assert (done.code, done.err) == (3, "")
    assert "root does not" not in run("--quiet", "ingest", root / "none").err
    assert run("--quiet", "ingest", root / "none").err != ""


def test_an_empty_mask_is_stored_with_a_warning(run: Run, tmp_path: Path) -> None:
    import numpy as np

    root = tmp_path / "data"
    write_image(root, "empty", mask=np.zeros((24, 32), np.uint16))
    write_image(root, "full", mask=np.full((24, 32), 3, np.uint16))
    write_table(root, {"empty": "0", "full": "0"})
    done = run("--json", "ingest", root, "--executor", "serial")
    assert done.code == 0
    assert (done.json["new"], done.json["cells"]) == (2, 1)
    assert "warning: empty: its mask is empty" in done.err
    assert "warning: full: its cells cover the whole image" in done.err


def test_no_name_sends_a_control_character_to_the_terminal(run: Run, tmp_path: Path) -> None:
    root = dataset(tmp_path / "data", 1)
    write_table(root, {name_of(0): "0", "a\x1b[31mb": "0"})
    (root / "train" / "\x1b[2Jx_red.png").touch()
    (root / "hpa_cell_mask" / "\x9b\x07.npz").touch()
    planned = run("plan", root)
    done = run("ingest", root, "--executor", "serial")
    failed, unlabelled = (
        run("failures"),
        run("ingest", root, "--labels", "none", "--executor", "serial"),
    )
    assert (planned.code, done.code, unlabelled.code) == (4, 3, 3)
    assert "a\\x1b[31mb" in planned.out
    assert "a\\x1b[31mb" in failed.out
    assert "\\x1b[2Jx" in planned.out
    assert "\\x9b\\x07" in planned.out
    for outcome in (planned, done, failed, unlabelled, run("failures"), run("--json", "failures")):
        assert all(c.isprintable() or c == "\n" for c in outcome.out + outcome.err)
    assert [f["image_name"] for f in run("--json", "failures").json] == ["\\x1b[2Jx"]


def test_no_path_sends_a_control_character_to_the_terminal(run: Run, tmp_path: Path) -> None:
    run("ingest", dataset(tmp_path / "data", 1), "--executor", "serial")
    for command in (["plan", "x\x1b[31m"], ["ingest", "x\x1b[31m"], ["clean", "show", "x\x1b[31m"]):
        refused = run(*command)
        assert refused.code == 1
        assert "x\\x1b[31m" in refused.err
        assert "\x1b" not in refused.err


def test_folders_without_any_image_are_told(run: Run, root: Path) -> None:
    (root / "away").mkdir()
    done = run("ingest", root, "--images", root / "away", "--masks", root / "away")
    assert done.code == 1
    assert f"no file of the 5 images in the table; {root}/away is empty; see --images" in done.err
    assert run("plan", root, "--images", root / "away", "--masks", root / "away").code == 4


def test_the_version_is_the_packages(run: Run) -> None:
    assert run("--version").out == f"hpastore {hpastore.__version__}\n"


def test_the_version_may_be_asked_of_any_command(run: Run) -> None:
    assert run("status", "--version").out == f"hpastore {hpastore.__version__}\n"


def test_help_offers_multihot_only_where_it_is_taken(run: Run) -> None:
    for form, taken in (("coco", False), ("csv", False), ("mmdet", True), ("images", True)):
        said = run("export", form, "-h")
        assert said.code == 0
        assert ("multihot" in said.out) is taken


def test_json_is_one_document_on_stdout(run: Run, root: Path) -> None:
    run("ingest", root, "--executor", "serial")
    run("clean", "create", "mine")
    for command in (
        ["status"],
        ["failures"],
        ["thresholds"],
        ["clean", "list"],
        ["clean", "show", "mine"],
    ):
        said = run("--json", *command)
        assert said.code == 0
        json.loads(said.out)
        assert said.out.count("\n") == 1


def test_a_sum_is_an_integer_and_a_mean_is_none_on_both_databases(run: Run, root: Path) -> None:
    run("ingest", root, "--executor", "serial")
    query = "SELECT sum(CAST(area AS BIGINT)) AS total, avg(area) AS mean FROM cell"
    said = run("--json", "sql", query).json[0]
    assert (type(said["total"]), type(said["mean"])) == (int, float)


def test_remeasure_brings_all_numbers_to_another_percentile(run: Run, root: Path) -> None:
    run("ingest", root, "--executor", "serial")
    done = run("--json", "remeasure", "--background-percentile", 0.5)
    assert (done.code, done.json["background_percentile"], done.json["remeasured"]) == (0, 0.5, 5)
    assert run("plan", root).code == 0
    assert run("remeasure").out.splitlines()[:2] == [
        "background percentile  0.5",
        "remeasured             0",
    ]
    wrong = run("remeasure", "--background-percentile", 98)
    assert (wrong.code, wrong.err) == (
        2,
        "hpastore: background percentile takes a share from 0 to 1, not 98; 98 % is 0.98\n",
    )


# Inputs that left, moved or are odd


def empty(root: Path) -> None:
    for folder in ("train", "hpa_cell_mask"):
        for path in (root / folder).iterdir():
            path.unlink()


def test_emptied_folders_end_a_run_and_exit_with_1_and_their_plan_with_4(
    run: Run, root: Path
) -> None:
    run("ingest", root, "--executor", "serial")
    empty(root)
    why = f"5 of 5 images from here would be gone ({root}/train is empty; {root}/hpa_cell_mask is empty"
    for options in ((), ("--prune",), ("--prune", "--allow-gone", 4)):
        stopped = run("ingest", root, *options)
        assert (stopped.code, stopped.out) == (1, "")
        assert stopped.err.startswith(f"hpastore: {root}: {why}")
        assert "give --allow-gone 5" in stopped.err
    assert run("ingest", root, "--dry-run").code == 1
    planned = run("--json", "plan", root)
    assert (planned.code, len(planned.json["gone"])) == (4, 5)
    assert planned.json["stopped"].startswith(why)
    assert f"ingest would refuse: {why}" in planned.err
    assert run("--json", "status").json["images"] == 5
    done = run("--json", "ingest", root, "--allow-gone", "all")
    assert (done.code, done.json["gone"]) == (0, 5)
    wrong = run("ingest", root, "--allow-gone", "some")
    assert wrong.code == 2
    assert "invalid --allow-gone 'some' (give a number of images, or all)" in wrong.err


def test_a_move_is_said_in_words_and_in_json(run: Run, root: Path) -> None:
    run("ingest", root, "--executor", "serial")
    moved = root.rename(root.with_name("moved"))
    assert f"{root} has moved to {moved}, with its 5 images" in run("plan", moved).err
    done = run("--json", "ingest", moved)
    assert done.json["moves"] == [{"root": str(root), "images": 5}]
    assert run("--json", "runs").json[0]["moved"] == 5


def test_a_root_that_is_not_there_is_warned_of_until_it_is_forgotten(run: Run, root: Path) -> None:
    run("ingest", root, "--executor", "serial")
    other = dataset(root.with_name("other"), 1, labels=["4"])
    for path in other.rglob("image-00*"):
        path.rename(path.with_name(path.name.replace("image-00", "z")))
    write_table(other, {"z": "4"})
    run("ingest", other, "--executor", "serial")
    root.rename(root.with_name("away"))
    warning = f"warning: the root {root}, with 5 images, does not exist on this machine"
    for command in (("status",), ("plan", other), ("doctor",)):
        warned = run(*command)
        assert warning in warned.err, command
        assert f"hpastore forget {root} marks its images as gone" in warned.err
    assert run("--json", "status").json["missing_roots"] == {str(root): 5}
    assert run("--json", "forget", root).json == {"root": str(root), "gone": 5}
    for command in (("status",), ("plan", other), ("doctor",)):
        assert "does not exist" not in run(*command).err
    unknown = run("forget", "/nowhere")
    assert unknown.code == 1
    assert "the store has no images of the root /nowhere; its roots are " in unknown.err


def test_a_split_that_is_another_is_said_and_in_the_json(run: Run, root: Path) -> None:
    run("ingest", root, "--split", "train", "--executor", "serial")
    other = run("--json", "ingest", root, "--split", "val")
    warning = "5 images keep their split, which is not val (5 train); --resplit changes it"
    assert (other.code, other.json["resplit"], other.json["warnings"]) == (0, 0, [warning])
    assert f"hpastore: warning: {warning}\n" in other.err
    assert run("--json", "ingest", root, "--split", "val", "--resplit").json["resplit"] == 5


def test_files_of_other_kinds_are_said(run: Run, root: Path) -> None:
    for i in range(3):
        (root / "train" / f"{name_of(i)}_mask.png").write_bytes(b"x")
    done = run("--json", "ingest", root, "--executor", "serial")
    assert f"ignored 3 files of other kinds, such as {name_of(0)}_mask.png\n" in done.err
    assert done.json["files"]["foreign"] == 3


def test_the_account_of_files_is_in_the_json(run: Run, root: Path) -> None:
    (root / "train" / f"{name_of(1)}_green.png").write_bytes(b"no picture")
    assert run("--json", "ingest", root, "--executor", "serial").json["files"] == {
        "seen": 25,
        "stored": 20,
        "unchanged": 0,
        "rejected": {"not_png": 5},
        "orphans": {},
        "left": 0,
        "rows": 0,
        "foreign": 0,
    }


def test_runs_are_listed_the_last_first(run: Run, root: Path) -> None:
    run("ingest", root, "--split", "train", "--executor", "serial")
    write_table(root, {name_of(i): "0" for i in range(4)})
    run("ingest", root)
    newest, oldest = run("--json", "runs").json
    assert (newest["gone"], newest["relabelled"], oldest["new"], oldest["split"]) == (
        1,
        3,
        5,
        "train",
    )
    assert oldest["version"] == hpastore.__version__
    assert [row["id"] for row in run("--json", "runs", "-n", 1).json] == [newest["id"]]
    assert "relabelled" in run("runs").out


def test_masks_are_read_again_as_a_later_run_says_and_stay_so(run: Run, root: Path) -> None:
    mask = root / "hpa_cell_mask" / f"{name_of(0)}.npz"
    with np.load(mask) as file:
        labels = file["arr_0"]
    np.savez(mask, (labels > 0).astype(np.uint8))
    first = run("--json", "ingest", root, "--executor", "serial")
    (warning,) = first.json["warnings"]
    assert f"{name_of(0)}: its cell mask has one id, 1, in 3 pieces" in warning
    planned = run("--json", "plan", root, "--binary-mask", "components")
    assert planned.json["changed"] == [name_of(0)]
    assert (
        "its mask must be read with --binary-mask components"
        in run("plan", root, "--binary-mask", "components").out
    )
    assert (
        run("--json", "ingest", root, "--binary-mask", "components", "--executor", "serial").json[
            "changed"
        ]
        == 1
    )
    cells = f"SELECT count(*) AS n FROM cell_stats WHERE image_name = '{name_of(0)}'"
    assert run("--json", "sql", cells).json == [{"n": 3}]
    assert run("plan", root).code == 0
    assert run("plan", root, "--binary-mask", "components").code == 0
    write_image(root, name_of(0), seed=7, mask=(labels > 0).astype(np.uint8))
    assert run("--json", "ingest", root, "--executor", "serial").json["changed"] == 1
    assert run("--json", "sql", cells).json == [{"n": 3}]
    assert run("ingest", root, "--binary-mask", "split").err == (
        "hpastore: invalid --binary-mask 'split' (choose from keep, components)\n"
    )
