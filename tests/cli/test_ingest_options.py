from __future__ import annotations

import pytest

from hpastore.cli.ingest_options import run_options


@pytest.mark.parametrize(
    ("given", "allowed"), [("0", 0), ("12", 12), ("all", "all"), ("-1", "-1"), ("²", "²")]
)
def test_a_number_of_gone_images_is_an_integer_and_all_else_a_word(
    given: str, allowed: int | str
) -> None:
    assert run_options(None, False, given, None, False) == {
        "background_percentile": None,
        "prune": False,
        "allow_gone": allowed,
        "moved_from": (),
        "resplit": False,
    }
