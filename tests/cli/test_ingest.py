from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import Run
from tests.world import dataset, name_of, write_table


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
