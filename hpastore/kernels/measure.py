"""Measure every cell of one decoded image."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from hpastore.kernels import shape
from hpastore.kernels.histogram import LEVELS, joint_histogram, pack, quantile, share_above
from hpastore.kernels.labels import LabelImage, label_image
from hpastore.kernels.measures import BRENNER_CHANNELS
from hpastore.kernels.rle import encode_cells
from hpastore.kernels.texture import brenner, pair_rows
from hpastore.model import CHANNELS, Cells, ChannelStats, Decoded

NOTEBOOK_PERCENTILE: Final = 0.99

_Ints = npt.NDArray[np.int64]
_Floats = npt.NDArray[np.float64]


def measure(decoded: Decoded, background_percentile: float) -> Cells:
    """Measure every cell of one image.

    Parameters
    ----------
    decoded : Decoded
    background_percentile : float
        Share 0..1 of the background's pixels at or below the background level.

    Returns
    -------
    Cells
        K cells in ascending mask id; typed, empty arrays for an empty mask.
    """
    label = label_image(decoded.cell_mask)
    box = shape.boxes(label)
    pairs, edge = pair_rows(label.rows), shape.far_edges(label, box)
    shapes = {
        **box._asdict(),
        "area": shape.areas(label),
        "touches_border": shape.touch_border(box, label.rows.shape),
        "pieces": shape.pieces(label),
    }
    if decoded.nucleus_mask is not None:
        shapes["nucleus_area"] = nucleus_areas(decoded.nucleus_mask, label.ids)
    stats = {}
    for name in CHANNELS:
        focus = pairs if name in BRENNER_CHANNELS else None
        stats[name] = _channel(label, decoded.channels[name], focus, edge, background_percentile)
    return Cells(label.ids, shapes, encode_cells(label), stats)


def remeasure(histogram: _Ints, background_percentile: float) -> tuple[float, _Floats]:
    """Compute again what depends on the background percentile, of one channel.

    Parameters
    ----------
    histogram : (K + 1, 256) int64
        First the background, then the cells.
    background_percentile : float
        Share 0..1.

    Returns
    -------
    background_level, fraction : float, (K,) float64
        NaN without a background.
    """
    background = float(quantile(histogram[:1], background_percentile)[0])
    return background, share_above(histogram[1:], background)


def nucleus_areas(nuclei: npt.NDArray[np.integer], ids: _Ints) -> _Ints:
    """Pixels of the nucleus of each cell.

    Parameters
    ----------
    nuclei : (H, W) of any integer dtype
        A nucleus has the id of its cell.
    ids : (K,) int64

    Returns
    -------
    (K,) int64
        0 for a cell without a nucleus.
    """
    label = label_image(nuclei)
    found = shape.areas(label)
    where = np.searchsorted(label.ids, ids)
    has = np.isin(ids, label.ids)
    result = np.zeros(len(ids), np.int64)
    result[has] = found[where[has]]
    return result


def _channel(
    label: LabelImage,
    channel: npt.NDArray[np.uint8],
    pairs: npt.NDArray[np.unsignedinteger] | None,
    edge: tuple[_Ints, _Ints],
    background_percentile: float,
) -> ChannelStats:
    """Measure all cells in one channel."""
    count = len(label.ids) + 1
    histogram = joint_histogram(label.rows, channel, count)
    background, fraction = remeasure(histogram, background_percentile)
    cells = histogram[1:]
    measures = {
        **intensities(cells),
        "brenner": np.full(count - 1, np.nan) if pairs is None else brenner(pairs, channel, count),
        "fraction": fraction,
        "fraction_notebook": _fraction_notebook(histogram, channel, edge),
    }
    return ChannelStats(None if np.isnan(background) else background, pack(histogram), measures)


def intensities(counts: _Ints) -> dict[str, _Floats]:
    """Measure grey levels from histograms.

    Parameters
    ----------
    counts : (K, 256) int64
        No histogram is empty.

    Returns
    -------
    (K,) float64 arrays by measure

    Notes
    -----
    Sums are integers, hence exact.  The variance is taken about the rounded mean m: with
    ``s = Σ(v - m)`` and ``q = Σ(v - m)²`` it is ``(q - s²/n)/n``, where ``s² / n`` is at most half of
    q, so that nothing cancels.  Entropy: Shannon 1948, ``-Σ p log2 p``.
    """
    levels = np.arange(LEVELS)
    n = counts.sum(axis=1)
    mean = counts @ levels / n
    middle = np.rint(mean).astype(np.int64)
    offset = counts @ levels - middle * n
    square = counts @ levels**2 - 2 * middle * (counts @ levels) + middle**2 * n
    share = counts / n[:, None]
    bits = -np.sum(share * np.log2(share, out=np.zeros_like(share), where=counts > 0), axis=1)
    return {
        "intensity_min": np.argmax(counts > 0, axis=1).astype(np.float64),
        "intensity_max": (LEVELS - 1 - np.argmax(counts[:, ::-1] > 0, axis=1)).astype(np.float64),
        "intensity_mean": mean,
        "intensity_std": np.sqrt((square - offset * (offset / n)) / n),
        "intensity_median": quantile(counts, 0.5),
        "saturated": counts[:, -1] / n,
        "entropy": bits + 0.0,  # -0.0 becomes 0.0: SQLite would lose the sign
    }


def _fraction_notebook(
    histogram: _Ints, channel: npt.NDArray[np.uint8], edge: tuple[_Ints, _Ints]
) -> _Floats:
    """Fraction as the notebook computes it, (K,); NaN where the shortened box holds no pixel.

    Its background level is taken over the whole image with the cells' pixels set to zero, and its
    boxes end before their last row and column.
    """
    pixel, cell = edge
    cells = len(histogram) - 1
    whole = histogram[:1].copy()
    whole[0, 0] += histogram[1:].sum()
    level = int(quantile(whole, NOTEBOOK_PERCENTILE)[0])
    bright = histogram[1:, level + 1 :].sum(axis=1)
    bright -= np.bincount(cell[channel.ravel()[pixel] > level], minlength=cells)
    n = histogram[1:].sum(axis=1) - np.bincount(cell, minlength=cells)
    return np.asarray(np.divide(bright, n, out=np.full(cells, np.nan), where=n > 0))
