from __future__ import annotations

import doctest
import importlib
import pkgutil
import re

import pytest

from hpastore import kernels
from hpastore.errors import UsageError
from hpastore.kernels.definitions import CHANNEL_MEASURES, SHAPE_MEASURES, Measure, channel_of
from hpastore.vocabulary import CHANNELS

MEASURES = (*SHAPE_MEASURES, *CHANNEL_MEASURES)
MODULES = [module.name for module in pkgutil.iter_modules(kernels.__path__)]

every_measure = pytest.mark.parametrize("measure", MEASURES, ids=lambda measure: measure.name)


def test_no_two_measures_have_one_name() -> None:
    names = [measure.name for measure in MEASURES]
    assert sorted(names) == sorted(set(names))


@every_measure
def test_a_measure_has_a_column_name_a_kind_and_a_sentence(measure: Measure) -> None:
    assert re.fullmatch(r"[a-z][a-z0-9_]*", measure.name)
    assert measure.kind in ("integer", "real", "flag")
    assert re.fullmatch(r"[A-Z0-9][^\n]*[^.\s]", measure.sentence)
    assert not (measure.kind == "flag" and measure.unit)


@every_measure
def test_a_comment_is_the_sentence_and_the_unit_in_brackets(measure: Measure) -> None:
    assert measure.comment == measure.sentence + (f" [{measure.unit}]" if measure.unit else "")


def test_a_count_has_no_unit_and_no_brackets() -> None:
    assert Measure("pieces", "integer", "", "How many").comment == "How many"
    assert Measure("area", "integer", "px²", "How large").comment == "How large [px²]"


@pytest.mark.parametrize("measure", CHANNEL_MEASURES, ids=lambda measure: measure.name)
def test_a_measure_says_in_its_sentence_which_channels_have_it(measure: Measure) -> None:
    *others, last = measure.channels
    only = f"{', '.join(others)} and {last} only"
    assert set(measure.channels) <= set(CHANNELS)
    assert (only in measure.sentence) == (measure.channels != CHANNELS)
    assert ("only" in measure.sentence) == (measure.channels != CHANNELS)


@pytest.mark.parametrize("name", [m.name for m in SHAPE_MEASURES if m.kind != "flag"])
@pytest.mark.parametrize("channel", [None, "green", "purple"])
def test_a_measure_of_shape_is_of_no_channel_whatever_is_asked(
    name: str, channel: str | None
) -> None:
    assert channel_of(name, channel) is None


@pytest.mark.parametrize("measure", CHANNEL_MEASURES, ids=lambda measure: measure.name)
@pytest.mark.parametrize("channel", CHANNELS)
def test_a_measure_of_grey_levels_is_of_the_channel_that_is_asked(
    measure: Measure, channel: str
) -> None:
    if channel in measure.channels:
        assert channel_of(measure.name, channel) == channel
    else:
        having = ", ".join(measure.channels)
        with pytest.raises(
            UsageError, match=f"no channel '{channel}' for {measure.name}; there are {having}$"
        ):
            channel_of(measure.name, channel)


@pytest.mark.parametrize("channel", ["", "purple", "Green"])
def test_a_measure_of_grey_levels_needs_a_channel_and_says_which_there_are(channel: str) -> None:
    with pytest.raises(UsageError, match=r"no channel .*; there are red, green, blue, yellow$"):
        channel_of("fraction", channel)
    with pytest.raises(UsageError, match=r"^fraction needs a channel: red, green, blue, yellow$"):
        channel_of("fraction", None)


def test_measures_of_users_are_among_those_that_there_are() -> None:
    with pytest.raises(UsageError, match=r"no measure 'aera'; there are .*, area, .*, mine, zoo$"):
        channel_of("aera", None, ["zoo", "mine"])


@pytest.mark.parametrize(
    "name", ["", "area ", "sharpness", "intensity", *(m.name for m in MEASURES if m.kind == "flag")]
)
def test_a_name_that_is_no_measure_of_numbers_is_refused_with_those_that_are(name: str) -> None:
    with pytest.raises(UsageError) as refusal:
        channel_of(name, "green")
    asked, offered = str(refusal.value).split("; there are ")
    assert asked == f"no measure {name!r}"
    assert sorted(offered.split(", ")) == sorted(m.name for m in MEASURES if m.kind != "flag")


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_in_the_kernels_docstrings_run(name: str) -> None:
    module = importlib.import_module(f"{kernels.__name__}.{name}")
    assert doctest.testmod(module).failed == 0


def test_kernels_have_examples_at_all() -> None:
    modules = [importlib.import_module(f"{kernels.__name__}.{name}") for name in MODULES]
    assert sum(len(test.examples) for m in modules for test in doctest.DocTestFinder().find(m)) >= 6
