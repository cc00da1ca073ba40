"""Images whose background is full of light are named where fractions are used."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hpastore.clean.bound import Bound
from hpastore.clean.create import create_clean_set
from hpastore.clean.rules import CleanRecipe, Rule
from hpastore.model import Measured
from hpastore.store.engine import Store
from tests.world import measured, put

SIZE = CleanRecipe((Rule("area", None, Bound(value=1.0), None),))


def with_level(name: str, level: float) -> Measured:
    image = measured(name)
    green = replace(image.cells.channels["green"], background_level=level)
    channels = {**image.cells.channels, "green": green}
    return replace(image, cells=replace(image.cells, channels=channels))


@pytest.mark.parametrize(
    ("levels", "warned"),
    [
        ([2, 8, 12, 20, 36, 159], True),
        ([2, 8, 12, 20, 36, 60], False),  # inside the outer fence
        ([2, 2, 2, 2, 2, 33], False),  # near the median, though all others are equal
        ([2, 2, 2, 2, 2, 35], True),
        ([2, 8, 12, 159], False),  # too few to tell
    ],
)
def test_a_level_far_above_the_others_is_named(
    store: Store, levels: list[float], warned: bool, caplog: pytest.LogCaptureFixture
) -> None:
    put(store, *(with_level(f"i{n}", level) for n, level in enumerate(levels)))
    create_clean_set(store, "a", SIZE)
    assert "background level" not in caplog.text
    create_clean_set(store, "b")
    lines = [line for line in caplog.messages if "background level" in line]
    assert len(lines) == warned
    if warned:
        last = len(levels) - 1
        assert lines[0].startswith("1 image has a green background level far above the median of ")
        assert f": i{last} {levels[-1]:g}; " in lines[0]
