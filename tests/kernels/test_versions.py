"""What numbers lack, by the settings that they were computed with."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from hpastore.kernels.definitions import MEASURES, VERSIONS
from hpastore.kernels.versions import (
    outdated_measures,
    remeasured_settings,
    required_settings,
    stale_measures,
    unmeasured,
)
from hpastore.model import MeasurementSettings

REQUIRED = MeasurementSettings(0.98, {**VERSIONS, "entropy": 2, "brenner": 2})
PIXELS = {m.name for m in MEASURES if not m.from_histogram}

versions = st.dictionaries(st.sampled_from([*VERSIONS, "removed"]), st.integers(0, 2))
settings = st.builds(
    MeasurementSettings, st.sampled_from([0.98, 0.99]), versions, st.sampled_from(["257", "p99"])
)


def stored(percentile: float = 0.98, **measures: int) -> MeasurementSettings:
    return MeasurementSettings(percentile, {**REQUIRED.measures, **measures})


def without(*names: str) -> MeasurementSettings:
    measures = {name: v for name, v in REQUIRED.measures.items() if name not in names}
    return replace(REQUIRED, measures=measures)


def test_current_numbers_lack_nothing() -> None:
    assert remeasured_settings(REQUIRED, REQUIRED) == REQUIRED
    assert stale_measures(REQUIRED, REQUIRED) == unmeasured(REQUIRED, REQUIRED) == ()
    assert required_settings(0.5) == MeasurementSettings(0.5, VERSIONS)


def test_a_measure_of_histograms_is_computed_alone() -> None:
    for older in (stored(entropy=1), stored(entropy=3), without("entropy")):
        assert stale_measures(older, REQUIRED) == ("entropy",)
        assert unmeasured(older, REQUIRED) == ()
        assert remeasured_settings(older, REQUIRED) == REQUIRED


def test_another_percentile_makes_only_the_fraction_stale() -> None:
    assert stale_measures(stored(0.5), REQUIRED) == ("fraction",)
    assert remeasured_settings(stored(0.5), REQUIRED) == REQUIRED


def test_a_measure_of_pixels_stays_as_it_is_and_is_unmeasured() -> None:
    for older in (stored(brenner=1), without("brenner"), without("area", "brenner")):
        assert stale_measures(older, REQUIRED) == ()
        assert remeasured_settings(older, REQUIRED) == older
        assert set(unmeasured(older, REQUIRED)) == set(outdated_measures(older, REQUIRED))


def test_a_measure_that_was_removed_is_forgotten_and_needs_no_pixels() -> None:
    assert remeasured_settings(stored(removed=1), REQUIRED) == REQUIRED
    assert unmeasured(stored(removed=1), REQUIRED) == ()


def test_other_levels_need_pixels_for_all_measures_of_channels_and_for_no_shape() -> None:
    other = replace(REQUIRED, levels="p99")
    assert remeasured_settings(other, REQUIRED) == other
    assert "intensity_mean" in unmeasured(other, REQUIRED)
    assert "area" not in unmeasured(other, REQUIRED)


@given(settings)
def test_after_all_was_computed_only_measures_of_pixels_are_left(
    given: MeasurementSettings,
) -> None:
    after = remeasured_settings(given, REQUIRED)
    assert remeasured_settings(after, REQUIRED) == after
    assert stale_measures(after, REQUIRED) == ()
    assert unmeasured(after, REQUIRED) == unmeasured(given, REQUIRED)
    assert (after == REQUIRED) == (unmeasured(given, REQUIRED) == ())
    kept = {name: after.measures.get(name) for name in PIXELS}
    assert kept == {name: given.measures.get(name) for name in PIXELS}
