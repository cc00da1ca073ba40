from __future__ import annotations

from tests.cli.conftest import Run


def test_a_sample_of_one_image_is_singular(run: Run) -> None:
    drawn = run("sample", "drawn", "-n", 1, "--size", 64, "-j", 1)
    assert (drawn.code, drawn.err) == (0, "1 image in drawn; next: hpastore ingest drawn\n")
