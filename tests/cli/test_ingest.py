from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import Run
from tests.world import dataset, name_of, write_table

pytestmark = pytest.mark.has_schema


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return dataset(tmp_path / "data", 3)


def spoil(root: Path, i: int) -> None:
    (root / "train" / f"{name_of(i)}_green.png").write_bytes(b"no picture")


def test_rejected_images_are_counted_with_the_right_plural(run: Run, root: Path) -> None:
    spoil(root, 0)
    one = run("ingest", root, "--executor", "serial")
    assert one.code == 3
    assert one.err.endswith("1 image was rejected; 'hpastore failures' says why\n")
    spoil(root, 1)
    spoil(root, 2)
    more = run("ingest", root, "--executor", "serial", "--allow-gone", "all")
    assert more.err.endswith(
        "2 images were rejected; 'hpastore failures' says why\n"
        "1 image is rejected as before; 'hpastore failures' says why\n"
    )


def test_gone_images_are_explained_in_one_line(run: Run, root: Path) -> None:
    run("ingest", root, "--executor", "serial")
    write_table(root, {name_of(0): "0", name_of(1): "0"})
    done = run("ingest", root, "--executor", "serial")
    assert "1 image is gone: views, thresholds and new clean sets leave it out\n" in done.err


def test_a_dry_run_that_ingest_would_refuse_exits_with_1(run: Run, root: Path) -> None:
    run("ingest", root, "--executor", "serial")
    for folder in ("train", "hpa_cell_mask"):
        for path in (root / folder).iterdir():
            path.unlink()
    dry = run("ingest", root, "--dry-run")
    assert (dry.code, dry.out.split()[:3]) == (1, ["image", "what", "why"])
    assert "ingest would refuse: 3 of 3 images from here would be gone" in dry.err
    assert run("--json", "status").json["images"] == 3


def write_wide(root: Path, *rows: str) -> None:
    (root / "train.csv").write_text("\n".join(["ID,Label,plate,cell line", *rows, ""]))


def test_columns_are_kept_changed_and_dropped(run: Run, root: Path) -> None:
    a, b = name_of(0), name_of(1)
    write_wide(root, f"{a},0,P1,U2OS", f"{b},16,P2,")
    keep = ("--keep-column", "plate", "--keep-column", "cell line")
    assert run("ingest", root, "--executor", "serial", *keep, "--allow-gone", "all").code == 0
    sql = "SELECT DISTINCT image_name, columns FROM cell_stats ORDER BY image_name"

    def shown() -> dict[str, str]:
        return {row["image_name"]: row["columns"] for row in run("--json", "sql", sql).json}

    assert shown() == {a: '{"cell line":"U2OS","plate":"P1"}', b: '{"plate":"P2"}'}

    write_wide(root, f"{a},0,P1,HeLa", f"{b},16,P3,")
    assert run("plan", root).code == 0
    planned = run("plan", root, "--keep-column", "plate")
    assert planned.code == 4
    assert f"{b} relabelled labels 16, plate P3" in " ".join(planned.out.split())
    assert run("--json", "plan", root, *keep).json["relabelled"] == [a, b]
    dry = run("--json", "ingest", root, "--keep-column", "plate", "--dry-run")
    assert (dry.code, dry.json["relabelled"]) == (0, [b])
    done = run("--json", "ingest", root, "--executor", "serial", "--keep-column", "plate")
    assert (done.code, done.json["relabelled"], done.json["unchanged"]) == (0, 1, 1)
    assert shown() == {a: '{"cell line":"U2OS","plate":"P1"}', b: '{"plate":"P3"}'}

    dropped = run("ingest", root, "--executor", "serial", "--drop-column", "plate")
    assert (dropped.code, dropped.err.count("drops nothing")) == (0, 0)
    assert shown() == {a: '{"cell line":"U2OS"}', b: "{}"}
    again = run("plan", root, "--drop-column", "plate")
    assert (again.code, again.err) == (
        0,
        "hpastore: warning: no image has a column 'plate'; --drop-column drops nothing\n",
    )


def test_a_column_that_the_table_lacks_is_a_usage_error_of_one_line(run: Run, root: Path) -> None:
    write_wide(root, f"{name_of(0)},0,P1,U2OS")
    for command in ("plan", "ingest"):
        refused = run(command, root, "--keep-column", "well")
        assert (refused.code, refused.out) == (2, "")
        assert refused.err.splitlines()[-1].endswith(
            f"invalid --keep-column 'well': {root / 'train.csv'} has no such column "
            "(choose from plate, cell line)"
        )
        assert len(refused.err.splitlines()) == 1
