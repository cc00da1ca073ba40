"""Measure every cell of one decoded image."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Final

import numpy as np
import numpy.typing as npt

from hpastore.kernels import box_sums, shape
from hpastore.kernels.custom import CustomMeasure, crop_measures, histogram_measures
from hpastore.kernels.histogram import joint_histogram, pack, quantile, share_above, unpack
from hpastore.kernels.intensity import Moments, intensity_measures, moments, pixel_sum_measures
from hpastore.kernels.label_image import LabelImage, label_image
from hpastore.kernels.nuclear_light import nuclear_measures
from hpastore.kernels.pixel_sums import Sums, nucleus_rows, sums_over_image
from hpastore.kernels.rle import encode_cells
from hpastore.kernels.versions import OF_BACKGROUND
from hpastore.model import Cells, ChannelStats, Decoded
from hpastore.vocabulary import CHANNELS

NOTEBOOK_PERCENTILE: Final = 0.99

_Ints = npt.NDArray[np.int64]
_Floats = npt.NDArray[np.float64]


def measure(
    decoded: Decoded, background_percentile: float, custom: Sequence[CustomMeasure] = ()
) -> Cells:
    """Measure every cell of one image.

    Parameters
    ----------
    decoded : Decoded
    background_percentile : float
        Share 0..1 of the background's pixels at or below the background level.
    custom : CustomMeasure, optional
        Custom measures to take as well.

    Returns
    -------
    Cells
        K cells in ascending mask id; typed, empty arrays for an empty mask.

    Raises
    ------
    MeasureError
        If a custom measure fails on a cell.
    """
    label = label_image(decoded.cell_mask)
    box = shape.boxes(label)
    sums = _sums(label, box, decoded)
    edge = shape.far_edges(label, box)
    area = shape.areas(label)
    shapes: dict[str, npt.NDArray[np.int64 | np.float64]] = {
        **box._asdict(),
        "area": area,
        "touches_border": shape.touch_border(box, label.rows.shape),
        "pieces": shape.pieces(label),
        "border_share": shape.border_shares(label),
        **nuclear_measures(label.rows, decoded.channels.get("blue"), area),
    }
    if decoded.nucleus_mask is not None:
        shapes["nucleus_area"] = nucleus_areas(decoded.nucleus_mask, label.ids)
    by_name = {
        name: _channel(label, decoded.channels[name], edge, background_percentile)
        for name in CHANNELS
    }
    by_channel = {name: channel_moments for name, (_, channel_moments) in by_name.items()}
    channels = {
        name: replace(
            stats, measures={**stats.measures, **pixel_sum_measures(name, sums, by_channel)}
        )
        for name, (stats, _) in by_name.items()
    }
    cells = Cells(label.ids, shapes, encode_cells(label), channels)
    return _add_custom_measures(cells, label, box, decoded, custom) if custom else cells


def remeasure(
    histogram: _Ints, background_percentile: float, measures: Collection[str] = (OF_BACKGROUND,)
) -> tuple[float, dict[str, _Floats]]:
    """Compute again what follows from the joint histogram of one channel.

    Parameters
    ----------
    histogram : (K + 1, 256) int64
        First the background, then the cells.
    background_percentile : float
        Share 0..1.
    measures : collection of str
        Names of measures that follow from the histogram; by default the one that depends on the
        background percentile.

    Returns
    -------
    background_level : float
        NaN without a background.
    measures : (K,) float64 arrays by measure
        NaN where a measure is not defined.
    """
    background, fraction = _fraction(histogram, background_percentile)
    found = {OF_BACKGROUND: fraction}
    if set(measures) - {OF_BACKGROUND}:
        found |= intensity_measures(histogram[1:], moments(histogram[1:]))
    return background, {name: found[name] for name in measures}


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


def _add_custom_measures(
    cells: Cells,
    label: LabelImage,
    box: shape.Boxes,
    decoded: Decoded,
    custom: Sequence[CustomMeasure],
) -> Cells:
    """Add the values of custom measures."""
    values = crop_measures(custom, label, box, decoded.channels)
    for name, stats in cells.channels.items():
        counts = unpack(stats.histogram, len(label.ids) + 1)[1:]
        values |= histogram_measures(custom, name, label.ids.tolist(), counts)
    versions = {measure.name: measure.version for measure in custom}
    return replace(cells, custom=values, custom_versions=versions)


def _sums(label: LabelImage, box: shape.Boxes, decoded: Decoded) -> Sums:
    """Sum up the cells in their boxes or, where these do not fit, over the whole image."""
    rows, mask = label.rows, decoded.cell_mask
    nuclei = (
        None if decoded.nucleus_mask is None else nucleus_rows(rows, mask, decoded.nucleus_mask)
    )
    if box_sums.fit(box, rows.shape):
        return box_sums.sums_in_boxes(rows, decoded.channels, nuclei, box)
    return sums_over_image(rows, decoded.channels, nuclei, len(label.ids))


def _channel(
    label: LabelImage,
    channel: npt.NDArray[np.uint8],
    edge: tuple[_Ints, _Ints],
    background_percentile: float,
) -> tuple[ChannelStats, Moments]:
    """Measure all cells in one channel from its joint histogram and the far edges of the boxes."""
    histogram = joint_histogram(label.rows, channel, len(label.ids) + 1)
    background, fraction = _fraction(histogram, background_percentile)
    sums = moments(histogram[1:])
    measures = {
        **intensity_measures(histogram[1:], sums),
        OF_BACKGROUND: fraction,
        "fraction_notebook": _fraction_notebook(histogram, channel, edge),
    }
    level = None if np.isnan(background) else background
    return ChannelStats(level, pack(histogram), measures), sums


def _fraction(histogram: _Ints, background_percentile: float) -> tuple[float, _Floats]:
    """Background level of a channel and the fraction of each cell, NaN without a background."""
    background = float(quantile(histogram[:1], background_percentile)[0])
    return background, share_above(histogram[1:], background)


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
