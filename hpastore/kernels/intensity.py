"""Measures of each cell's grey levels: from its histogram, and from sums over its pixels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from hpastore.kernels.definitions import BRENNER_CHANNELS, CORRELATED_CHANNELS, NUCLEUS_CHANNELS
from hpastore.kernels.histogram import LEVELS, quantile
from hpastore.kernels.pixel_sums import Sums

_Ints = npt.NDArray[np.int64]
_Floats = npt.NDArray[np.float64]


class Moments(NamedTuple):
    """Sums over K histograms; each (K,) int64, exact."""

    n: _Ints
    """Pixels."""
    total: _Ints
    """``Σ v``."""
    middle: _Ints
    """The mean m, rounded."""
    offset: _Ints
    """``Σ(v - m)``, at most half of n."""
    square: _Ints
    """``Σ(v - m)²``, at least twice ``offset² / n``: in differences of the two nothing cancels."""

    @property
    def spread(self) -> _Floats:
        """``Σ(v - mean)²``, (K,); 0 exactly where all pixels are of one level."""
        return self.square - self.offset * (self.offset / self.n)


def moments(counts: _Ints) -> Moments:
    """Sum up histograms.

    Parameters
    ----------
    counts : (K, 256) int64
        No histogram is empty.
    """
    levels = np.arange(LEVELS)
    n, total = counts.sum(axis=1), counts @ levels
    middle = np.rint(total / n).astype(np.int64)
    square = counts @ levels**2 - 2 * middle * total + middle**2 * n
    return Moments(n, total, middle, total - middle * n, square)


def intensity_measures(counts: _Ints, sums: Moments) -> dict[str, _Floats]:
    """Measure grey levels from histograms.

    Parameters
    ----------
    counts : (K, 256) int64
        No histogram is empty.
    sums : Moments
        Of them.

    Returns
    -------
    (K,) float64 arrays by measure

    Notes
    -----
    Entropy: Shannon 1948, ``-Σ p log2 p``.
    """
    share = counts / sums.n[:, None]
    bits = -np.sum(share * np.log2(share, out=np.zeros_like(share), where=counts > 0), axis=1)
    return {
        "intensity_min": np.argmax(counts > 0, axis=1).astype(np.float64),
        "intensity_max": (LEVELS - 1 - np.argmax(counts[:, ::-1] > 0, axis=1)).astype(np.float64),
        "intensity_mean": sums.total / sums.n,
        "intensity_std": np.sqrt(sums.spread / sums.n),
        "intensity_median": quantile(counts, 0.5),
        "intensity_p99": quantile(counts, 0.99),
        "intensity_p999": quantile(counts, 0.999),
        "saturated": counts[:, -1] / sums.n,
        "entropy": bits + 0.0,  # -0.0 becomes 0.0: SQLite would lose the sign
    }


def pixel_sum_measures(name: str, sums: Sums, moments: Mapping[str, Moments]) -> dict[str, _Floats]:
    """Measure what takes pairs of pixels or the nucleus, in one channel.

    Parameters
    ----------
    name : str
        The channel.
    sums : Sums
        Of K cells.
    moments : Moments by channel
        Of the same cells.

    Returns
    -------
    (K,) float64 arrays by measure
        NaN where it is not defined, all of them in channels that it is not taken in.

    Notes
    -----
    Focus: Brenner et al. 1976, J. Histochem. Cytochem. 24, 100-111.  Correlation: Pearson 1895,
    Proc. R. Soc. Lond. 58, 240-242; as a measure of how two dyes go together, Manders et al. 1992,
    J. Cell Sci. 103, 857-862.
    """
    measures = dict.fromkeys(
        (
            "brenner",
            "correlation",
            "intensity_nucleus",
            "intensity_nucleus_rim",
            "intensity_cytoplasm",
        ),
        np.full(len(sums.pairs), np.nan),
    )
    if name in BRENNER_CHANNELS:
        measures["brenner"] = _ratio(sums.steps[name], sums.pairs)
    if name in CORRELATED_CHANNELS:
        measures["correlation"] = correlation(moments[name], moments["green"], sums.apart[name])
    if name in NUCLEUS_CHANNELS and sums.nucleus and sums.rim:
        nucleus, rim = sums.nucleus, sums.rim
        measures["intensity_nucleus"] = _ratio(nucleus.levels[name], nucleus.area)
        measures["intensity_nucleus_rim"] = _ratio(rim.levels[name], rim.area)
        around = moments[name].total - nucleus.levels[name]
        measures["intensity_cytoplasm"] = _ratio(around, moments[name].n - nucleus.area)
    return measures


def correlation(a: Moments, b: Moments, apart: _Ints) -> _Floats:
    """Correlate the pixels of each cell in two channels.

    Parameters
    ----------
    a, b : Moments
        Of the K cells in the channels.
    apart : (K,) int64
        ``Σ(a - b)²``.

    Returns
    -------
    (K,) float64
        -1..1; NaN where either has one level only.

    Notes
    -----
    ``Σ(a - m)(b - k)`` about the rounded means m and k is half of ``Σ(a - m)² + Σ(b - k)²`` less
    ``Σ((a - m) - (b - k))²``, all integers below 2**53; from there it is as with the spread.
    """
    shift = a.middle - b.middle
    between = apart - 2 * shift * (a.total - b.total) + shift**2 * a.n
    product = (a.square + b.square - between) // 2
    spread = np.sqrt(a.spread * b.spread)
    common = product - a.offset * (b.offset / a.n)
    return np.clip(_ratio(common, spread), -1, 1)


def _ratio(total: _Ints | _Floats, n: _Ints | _Floats) -> _Floats:
    return np.asarray(np.divide(total, n, out=np.full(len(n), np.nan), where=n > 0))
