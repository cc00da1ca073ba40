from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import Run
from tests.world import dataset, name_of

pytestmark = pytest.mark.has_schema


@pytest.mark.parametrize(("n", "images"), [(1, "1 image"), (2, "2 images")])
def test_retry_and_forget_count_with_the_right_plural(
    run: Run, tmp_path: Path, n: int, images: str
) -> None:
    root = dataset(tmp_path / "data", 3)
    for i in range(n):
        (root / "train" / f"{name_of(i)}_red.png").unlink()
    run("ingest", root, "--executor", "serial")
    assert run("retry").out == f"the next ingest tries {images} again\n"
    left = {1: "2 images", 2: "1 image"}[n]
    were = "were" if n == 1 else "was"
    assert run("forget", root).err == f"{left} of {root} {were} marked as gone\n"
    assert run("forget", root, "--prune").err == f"{left} of {root} {were} deleted\n"
