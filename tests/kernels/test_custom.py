from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from hpastore.errors import MeasureError, UsageError
from hpastore.kernels.custom import CustomMeasure, histogram_measures
from hpastore.kernels.histogram import LEVELS
from hpastore.kernels.image import measure
from hpastore.vocabulary import CHANNELS
from tests.gallery import Picture, drawn, every_picture, painted

Counts = npt.NDArray[np.int64]
Crops = Mapping[str, npt.NDArray[np.uint8]]


def mean_level(counts: Counts) -> float:
    return float(counts @ np.arange(LEVELS) / counts.sum())


def mean_green(mask: npt.NDArray[np.bool_], channels: Crops) -> float:
    return float(channels["green"][mask].mean())


def own(**changes: Any) -> CustomMeasure:
    """A measure of histograms with what is given changed."""
    usual = {
        "name": "own",
        "version": 1,
        "unit": "",
        "sentence": "What it is",
        "of_histogram": mean_level,
    }
    return CustomMeasure(**{**usual, **changes})


def of_crops(function: Any, **changes: Any) -> CustomMeasure:
    return own(of_histogram=None, of_crops=function, **changes)


@every_picture
def test_measures_of_histograms_and_of_crops_see_each_cell(picture: Picture) -> None:
    users = [own(), own(name="blue_only", channels=("blue",)), of_crops(mean_green, name="whole")]
    cells = measure(picture.decoded, 0.99, users)
    means = {name: stats.measures["intensity_mean"] for name, stats in cells.channels.items()}
    expected: dict[tuple[str, str | None], Any] = {("own", name): means[name] for name in CHANNELS}
    expected |= {("blue_only", "blue"): means["blue"], ("whole", None): means["green"]}
    assert cells.custom.keys() == expected.keys()
    for key, values in expected.items():
        assert cells.custom[key].dtype == np.float64
        np.testing.assert_allclose(cells.custom[key], values, rtol=1e-14)


def test_cells_know_the_versions_that_their_numbers_are_of() -> None:
    mask = drawn("11.2")
    picture = Picture(mask, painted(mask))
    cells = measure(picture.decoded, 0.99, [own(version=7), own(name="other")])
    assert cells.custom_versions == {"own": 7, "other": 1}
    assert measure(picture.decoded, 0.99).custom == {}


def test_a_crop_is_the_cells_box_with_its_mask() -> None:
    seen = []

    def look(mask: npt.NDArray[np.bool_], channels: Crops) -> float:
        seen.append((mask.astype(int).tolist(), list(channels), channels["green"].tolist()))
        return 0.0

    mask = drawn(".... .12. .11. ....")
    green = np.arange(16, dtype=np.uint8).reshape(4, 4)
    measure(Picture(mask, dict.fromkeys(CHANNELS, green)).decoded, 0.99, [of_crops(look)])
    assert seen == [
        ([[1, 0], [1, 1]], list(CHANNELS), [[5, 6], [9, 10]]),
        ([[1]], list(CHANNELS), [[6]]),
    ]


@pytest.mark.parametrize("kind", ["of_histogram", "of_crops"])
def test_a_function_cannot_write_to_what_it_is_given(kind: str) -> None:
    def write(first: Any, *others: Any) -> float:
        for array in (first, *(channel for crops in others for channel in crops.values())):
            with pytest.raises(ValueError, match="read-only"):
                array[0] = 1
        for crops in others:
            with pytest.raises(TypeError):
                crops["green"] = first
        return 0.0

    mask = drawn("11.2")
    functions = {"of_histogram": None, kind: write}
    cells = measure(Picture(mask, painted(mask)).decoded, 0.99, [own(**functions)])
    assert all(not values.any() for values in cells.custom.values())
    assert mask.tolist() == drawn("11.2").tolist()


@pytest.mark.parametrize(
    ("given", "number"),
    [
        (1, 1.0),
        (2.5, 2.5),
        (np.float32(0.5), 0.5),
        (np.int64(3), 3.0),
        (np.uint8(4), 4.0),
        (-0.0, 0.0),
    ],
)
def test_any_real_number_is_taken(given: Any, number: float) -> None:
    (values,) = histogram_measures(
        [own(of_histogram=lambda _: given)], "red", [5], one_cell()
    ).values()
    assert values.tolist() == [number]
    assert math.copysign(1, values[0]) == 1


def test_nan_is_taken_for_a_measure_that_is_not_defined() -> None:
    (values,) = histogram_measures(
        [own(of_histogram=lambda _: math.nan)], "red", [5], one_cell()
    ).values()
    assert np.isnan(values).all()


def test_a_division_of_zero_by_zero_is_nan_without_a_warning() -> None:
    user = own(of_histogram=lambda counts: counts[0] / counts[1])
    (values,) = histogram_measures([user], "red", [5], one_cell()).values()
    assert np.isnan(values).all()


@pytest.mark.parametrize(
    "given",
    [
        None,
        "7",
        True,
        np.True_,
        [1.0],
        np.array(1.0),
        math.inf,
        -math.inf,
        np.float64(np.inf),
        -1.1e300,
        10**400,
        10**5000,
        1j,
    ],
    ids=lambda given: str(type(given)),
)
def test_what_is_no_number_is_refused_with_the_measure_and_the_cell(given: Any) -> None:
    with pytest.raises(MeasureError) as refusal:
        histogram_measures([own(of_histogram=lambda _: given)], "red", [5], one_cell())
    assert str(refusal.value).startswith("measure own: cell 5 in red: gave ")
    assert "a number up to 1e+300" in str(refusal.value)


def test_what_a_function_raises_names_the_measure_and_the_cell() -> None:
    def fail(mask: npt.NDArray[np.bool_], channels: Crops) -> float:
        return 1 / (mask.size - 2)

    mask = drawn("1.99")
    with pytest.raises(
        MeasureError, match=r"^measure own: cell 9: ZeroDivisionError: division by zero$"
    ):
        measure(Picture(mask, painted(mask)).decoded, 0.99, [of_crops(fail)])


def test_what_a_function_raises_is_said_in_one_line_of_bounded_length() -> None:
    def fail(counts: Counts) -> float:
        raise RuntimeError("a\nb" * 10_000)

    with pytest.raises(MeasureError) as refusal:
        histogram_measures([own(of_histogram=fail)], "red", [5], one_cell())
    assert str(refusal.value).isprintable()
    assert len(str(refusal.value)) < 300


@pytest.mark.parametrize("code", [0, None, "bye"])
def test_a_function_that_ends_the_program_does_not(code: Any) -> None:
    with pytest.raises(MeasureError, match=r"^measure own: cell 5 in red: SystemExit"):
        histogram_measures([own(of_histogram=lambda _: sys.exit(code))], "red", [5], one_cell())


def test_what_a_function_prints_is_not_on_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    def talk(counts: Counts) -> float:
        print("here I am")
        return 0.0

    histogram_measures([own(of_histogram=talk)], "red", [5], one_cell())
    assert capsys.readouterr() == ("", "here I am\n")


def test_a_lack_of_memory_is_not_the_measures_fault() -> None:
    def fail(counts: Counts) -> float:
        raise MemoryError

    with pytest.raises(MemoryError):
        histogram_measures([own(of_histogram=fail)], "red", [5], one_cell())


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"name": ""}, "a name has 1 to 63"),
        ({"name": "Own"}, "a name has 1 to 63"),
        ({"name": "1st"}, "a name has 1 to 63"),
        ({"name": "a-b"}, "a name has 1 to 63"),
        ({"name": "a" * 64}, "a name has 1 to 63"),
        ({"name": "own\n"}, "a name has 1 to 63"),
        ({"name": None}, "a name has 1 to 63"),
        ({"name": "area"}, "the name means something else in hpastore"),
        ({"name": "correlation"}, "the name means something else in hpastore"),
        ({"name": "dark"}, "the name means something else in hpastore"),
        ({"name": "override_keep"}, "the name means something else in hpastore"),
        ({"name": "no_nucleus"}, "the name means something else in hpastore"),
        ({"version": 0}, "from 1 on, not 0"),
        ({"version": True}, "from 1 on, not True"),
        ({"version": 1.5}, "from 1 on, not 1.5"),
        ({"version": "1"}, "from 1 on, not '1'"),
        ({"version": 2**31}, "from 1 on"),
        ({"unit": None}, "its unit is one line of text, not None"),
        ({"unit": "a\nb"}, "its unit is one line"),
        ({"sentence": ""}, "its sentence is empty"),
        ({"source": 7}, "its source is one line"),
        ({"of_histogram": None}, "it has one function"),
        ({"of_crops": mean_green}, "it has one function"),
        ({"of_histogram": 7}, "it has one function"),
        ({"channels": ()}, "some of red, green, blue, yellow"),
        ({"channels": "green"}, "some of red, green, blue, yellow"),
        ({"channels": ("purple",)}, "some of red, green, blue, yellow"),
        ({"channels": ("red", "red")}, "it names a channel twice"),
        (
            {"of_histogram": None, "of_crops": mean_green, "channels": ("red",)},
            "leave channels out",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "-".join(value),
)
def test_what_is_no_measure_is_refused_with_what_it_must_be(
    changes: dict[str, Any], fault: str
) -> None:
    with pytest.raises(UsageError) as refusal:
        own(**changes)
    assert fault in str(refusal.value)
    assert str(refusal.value).isprintable()


def test_a_name_may_have_63_characters() -> None:
    assert own(name="a" * 63).kind == "histogram"
    assert of_crops(mean_green).kind == "crops"


def one_cell() -> Counts:
    counts = np.zeros((1, LEVELS), np.int64)
    counts[0, 7] = 3
    return counts
