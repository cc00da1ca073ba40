from __future__ import annotations

from typing import Any, cast

import pytest

from hpastore.clean.create import check_name
from hpastore.clean.rules import CleanRecipe, Rule
from hpastore.errors import UsageError


def test_the_defaults_are_the_notebooks() -> None:
    recipe = CleanRecipe()
    assert recipe.rules[0] == Rule("fraction", "green", 0.001, 0.999)
    assert (recipe.min_green, recipe.scope) == (64, "single")


@pytest.mark.parametrize("limit", [0, 64, 256])
def test_grey_levels_may_be_limits(limit: int) -> None:
    assert CleanRecipe(min_green=limit).validated().min_green == limit


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        (CleanRecipe(min_green=-1), "invalid min_green -1; use a grey level from 0 to 256"),
        (CleanRecipe(min_green=257), "invalid min_green 257"),
        (CleanRecipe(scope=cast(Any, "some")), r"invalid scope 'some' \(choose from single, all\)"),
        (CleanRecipe((Rule(upper=99.9),)), r"99\.9 % is 0\.999"),
    ],
)
def test_invalid_recipes_are_refused(recipe: CleanRecipe, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        recipe.validated()


def test_a_measure_of_shape_loses_its_channel() -> None:
    assert CleanRecipe((Rule("area", "green"),)).validated().rules[0].channel is None


@pytest.mark.parametrize("name", ["a", "v1.2_x-y", "9" * 64])
def test_names(name: str) -> None:
    check_name(name)


@pytest.mark.parametrize("name", ["", "a b", "a@1", "../a", "-a", ".a", "a\n", "ä", "9" * 65])
def test_invalid_names_are_refused(name: str) -> None:
    with pytest.raises(UsageError, match="invalid clean set name"):
        check_name(name)
