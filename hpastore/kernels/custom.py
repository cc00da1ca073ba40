"""Custom measures: what one is, and how its values are computed.

Context: nobody knows beforehand which numbers of a cell a project will need.  Decision: a custom
measure is a function of what the store keeps (the cell's histogram in a channel) or of what only
the image has (its mask and pixels), with a name and a version.  Consequence: measures of histograms
are computed for a whole store without reading a pixel.  Their code is not ours, so whatever it
raises or returns is checked.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from numbers import Real
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from hpastore.errors import MeasureError, UsageError
from hpastore.kernels.definitions import CHANNEL_MEASURES, SHAPE_MEASURES
from hpastore.kernels.shape import Boxes
from hpastore.text import printable
from hpastore.vocabulary import CHANNELS, REASONS

if TYPE_CHECKING:  # loads OpenCV, which stored values do not need
    from hpastore.kernels.label_image import LabelImage

Values = dict[tuple[str, str | None], npt.NDArray[np.float64]]
"""(K,) float64 by the measure's name and its channel, None for a measure of the whole cell."""

NAME_PATTERN: Final = re.compile(r"[a-z][a-z0-9_]{0,62}")

_RESERVED_NAMES: Final = frozenset(
    (*(measure.name for measure in (*SHAPE_MEASURES, *CHANNEL_MEASURES)), *REASONS, "no_nucleus")
)
"""Names that mean something in a recipe and in its verdicts."""

MAX_VALUE: Final = 1e300
"""Of a value: differences and multiples of those below are numbers too."""

_MAX_VERSION: Final = 2**31 - 1


@dataclass(frozen=True)
class CustomMeasure:
    """A custom measure, named by an entry point of the group ``hpastore.measures``.

    It has exactly one function, which gives one number; NaN where it is not defined.

    Parameters
    ----------
    name
        1 to 63 small letters, digits and ``_``, a letter first; not that of a measure or a
        reason of hpastore.
    version
        1 or more; another one says that stored numbers are outdated.
    unit
        Such as ``px``; empty for a count.
    sentence
        What it is.
    source
        Who defined it; may be empty.
    of_histogram
        Function of a cell's histogram in one channel: (256,) int64, pixels at each grey level.
    of_crops
        Function of a cell's mask in its box, (h, w) bool, and of the channels there, (h, w) uint8
        by name; other cells may be in the box.  Neither can be written to.
    channels
        The channels in which the function of a histogram is called.

    Raises
    ------
    UsageError
        If any of this is not so.

    Examples
    --------
    >>> brightness = CustomMeasure("p99", 1, "grey level", "Bright", of_histogram=lambda _: 7.0)
    >>> brightness.kind, brightness.channels
    ('histogram', ('red', 'green', 'blue', 'yellow'))
    """

    name: str
    version: int
    unit: str
    sentence: str
    source: str = ""
    of_histogram: Callable[[npt.NDArray[np.int64]], float] | None = None
    of_crops: (
        Callable[[npt.NDArray[np.bool_], Mapping[str, npt.NDArray[np.uint8]]], float] | None
    ) = None
    channels: tuple[str, ...] = CHANNELS

    def __post_init__(self) -> None:
        for fault in _faults(self):
            raise UsageError(f"measure {printable(repr(self.name))}: {fault}")

    @property
    def kind(self) -> str:
        """``histogram`` or ``crops``: what it is a function of."""
        return "histogram" if self.of_histogram else "crops"


@dataclass(frozen=True)
class ImportedMeasure:
    """A measure whose values come from a file; no function computes them.

    Parameters
    ----------
    name, version, unit, sentence
        As of a `CustomMeasure`.

    Raises
    ------
    UsageError
        If any of this is not so.
    """

    name: str
    version: int
    unit: str = ""
    sentence: str = "Imported from a file"

    def __post_init__(self) -> None:
        for fault in _common_faults(self, ("unit", "sentence")):
            raise UsageError(f"measure {printable(repr(self.name))}: {fault}")

    @property
    def kind(self) -> str:
        """``imported``."""
        return "imported"


def histogram_measures(
    measures: Sequence[CustomMeasure],
    channel: str,
    mask_ids: Sequence[int],
    counts: npt.NDArray[np.int64],
) -> Values:
    """Compute custom measures of histograms for the cells of an image, in one channel.

    Parameters
    ----------
    measures
        Those of crops are left out, and those that are not for this channel.
    channel : str
    mask_ids : K int
        For messages.
    counts : (K, 256) int64
        Histograms of the cells; without the background.

    Raises
    ------
    MeasureError
        If one fails on a cell, or gives no number.
    """
    rows = _read_only(counts)
    found: Values = {}
    for measure in measures:
        if measure.of_histogram and channel in measure.channels:
            values = [
                _call(measure, channel, mask_id, row)
                for mask_id, row in zip(mask_ids, rows, strict=True)
            ]
            found[measure.name, channel] = np.array(values, np.float64)
    return found


def crop_measures(
    measures: Sequence[CustomMeasure],
    label: LabelImage,
    box: Boxes,
    channels: Mapping[str, npt.NDArray[np.uint8]],
) -> Values:
    """Compute custom measures of crops for the cells of an image.

    Parameters
    ----------
    measures
        Those of histograms are left out.
    label : LabelImage
        Of K cells.
    box : Boxes
        Of the cells.
    channels : (H, W) uint8 by name

    Raises
    ------
    MeasureError
        If one fails on a cell, or gives no number.
    """
    chosen = [measure for measure in measures if measure.of_crops]
    found: Values = {(measure.name, None): np.zeros(len(label.ids)) for measure in chosen}
    if chosen:
        for k, (mask, crops) in enumerate(_crops(label, box, channels)):
            for measure in chosen:
                found[measure.name, None][k] = _call(measure, None, int(label.ids[k]), mask, crops)
    return found


def _faults(measure: CustomMeasure) -> Iterator[str]:
    """List what is wrong with a measure; the first counts, as later checks may rest on it."""
    yield from _common_faults(measure, ("unit", "sentence", "source"))
    if not measure.sentence:
        yield "its sentence is empty; say what it is"
    functions = [f for f in (measure.of_histogram, measure.of_crops) if f is not None]
    if len(functions) != 1 or not callable(functions[0]):
        yield "it has one function, as of_histogram or as of_crops"
    channels = measure.channels
    if not (isinstance(channels, tuple) and channels and set(channels) <= set(CHANNELS)):
        yield (
            f"its channels are a tuple of some of {', '.join(CHANNELS)}, not "
            f"{printable(repr(channels))}"
        )
    if len(set(channels)) < len(channels):
        yield "it names a channel twice"
    if measure.of_crops and channels != CHANNELS:
        yield "a function of crops is given all channels; leave channels out"


def _common_faults(measure: CustomMeasure | ImportedMeasure, texts: Sequence[str]) -> Iterator[str]:
    """List what is wrong with the name, the version and the texts of a measure."""
    name, version = measure.name, measure.version
    if not (isinstance(name, str) and NAME_PATTERN.fullmatch(name)):
        yield "a name has 1 to 63 small letters, digits and '_', a letter first"
    if name in _RESERVED_NAMES:
        yield "the name means something else in hpastore; choose another"
    if type(version) is not int or not 1 <= version <= _MAX_VERSION:
        yield f"its version is a whole number from 1 on, not {printable(repr(version))}"
    for field in texts:
        text = getattr(measure, field)
        if not (isinstance(text, str) and text.isprintable()):
            yield f"its {field} is one line of text, not {printable(repr(text))}"


def _crops(
    label: LabelImage, box: Boxes, channels: Mapping[str, npt.NDArray[np.uint8]]
) -> Iterator[tuple[npt.NDArray[np.bool_], Mapping[str, npt.NDArray[np.uint8]]]]:
    """Mask and channels of each cell in its box."""
    for k, (x, y, width, height) in enumerate(
        zip(*(values.tolist() for values in box), strict=True)
    ):
        window = slice(y, y + height), slice(x, x + width)
        crops = {name: _read_only(channel[window]) for name, channel in channels.items()}
        yield _read_only(label.rows[window] == k + 1), MappingProxyType(crops)


def _read_only(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The same numbers, not to be written to."""
    view = array.view()
    view.flags.writeable = False
    return view


def _call(measure: CustomMeasure, channel: str | None, mask_id: int, *given: Any) -> float:
    """Call a custom measure's function, and check what it returns."""
    where = f"cell {mask_id}" + (f" in {channel}" if channel else "")
    function: Any = measure.of_histogram or measure.of_crops
    try:
        # 0 / 0 stands for NaN; stdout belongs to the command's own output.
        with np.errstate(all="ignore"), redirect_stdout(sys.stderr):
            value = function(*given)
    except MemoryError:
        raise
    except (Exception, SystemExit) as error:  # whatever a foreign function raises
        reason = f"{type(error).__name__}: {error}".removesuffix(": ")
        raise MeasureError(measure.name, f"{where}: {printable(reason)}") from error
    number = _as_number(value)
    if number is None:
        gave = f"{where}: gave {_value_text(value)}"
        raise MeasureError(
            measure.name,
            f"{gave}; it must give a number up to {MAX_VALUE:g}, or NaN where it has none",
        )
    return number


def _value_text(value: Any) -> str:
    try:
        return printable(repr(value))
    except Exception:  # foreign too, and Python's own of a number of thousands of digits
        return f"a value of type {type(value).__name__}"


def _as_number(value: Any) -> float | None:
    """Take a real number up to `MAX_VALUE` or NaN, of any type; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, Real):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    # -0.0 becomes 0.0: SQLite would lose the sign.
    return None if abs(number) > MAX_VALUE else number + 0.0
