"""What all figures share: Matplotlib, which is optional, their look, and their colours."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final, ParamSpec

from hpastore.errors import UsageError
from hpastore.store import decoding
from hpastore.text import printable

if TYPE_CHECKING:
    from matplotlib.figure import Figure

P = ParamSpec("P")

# The palette of Okabe and Ito (https://jfly.uni-koeln.de/color/), told apart by every kind of eye.
KEPT: Final = "#56B4E9"
DROPPED: Final = "#D55E00"
INK: Final = "#333333"
FAINT: Final = "#888888"
_ORANGE, _GREEN, _YELLOW, _PURPLE = "#E69F00", "#009E73", "#F0E442", "#CC79A7"

_COLOURS: Final = {
    "below_lower": _ORANGE,
    "above_upper": DROPPED,
    "dark": _PURPLE,
    "no_background": _YELLOW,
    "no_value": _YELLOW,
    "no_threshold": _YELLOW,
}
_OTHERS: Final = (_YELLOW, _GREEN, _ORANGE, DROPPED, _PURPLE)
_DASHES: Final = ((0, (4, 1.5)), (0, (1.5, 1.5)), (0, (5, 1.5, 1, 1.5)))

_DPI: Final = 150

_LEAST: Final = 5
"""Characters that are left of a text."""
_LARGE: Final = 1e7
"""From here on a number is written with an exponent."""

_STYLE: Final = {
    "figure.dpi": _DPI,
    "font.size": 8.0,
    "axes.titlesize": 8.0,
    "axes.labelsize": 8.0,
    "xtick.labelsize": 7.0,
    "ytick.labelsize": 7.0,
    "axes.linewidth": 0.6,
    "axes.edgecolor": FAINT,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "text.parse_math": False,  # a name is a name
}


def drawing(draw: Callable[P, Figure]) -> Callable[P, Figure]:
    """Have a function draw in our look, whatever the user's settings, and say how to get Matplotlib."""

    @wraps(draw)
    def drawn(*args: P.args, **kwargs: P.kwargs) -> Figure:
        require_matplotlib()
        from matplotlib import style

        with style.context(["default", _STYLE]):
            figure = draw(*args, **kwargs)
            _escape_texts(figure)
            return figure

    return drawn


def _escape_texts(figure: Figure) -> None:
    """Escape what a viewer of the file would obey, such as right-to-left marks; the store is anybody's."""
    from matplotlib.text import Text

    for text in figure.findobj(Text):
        lines = text.get_text().split("\n")
        escaped = "\n".join(printable(line, None) for line in lines)
        if escaped != text.get_text():
            text.set_text(escaped)


def require_matplotlib() -> None:
    """Refuse to draw without Matplotlib.

    Raises
    ------
    UsageError
    """
    if find_spec("matplotlib") is None:
        raise UsageError("figures need Matplotlib; get it with: pip install 'hpastore[plot]'")


def blank(width: float, height: float) -> Figure:
    """Make a figure of a size in inches."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height))


def lines_of(reasons: list[str]) -> dict[str, tuple[str, Any]]:
    """Choose a colour and a dash for each reason; no two share both."""
    chosen: dict[str, tuple[str, Any]] = {}
    used = set()
    for reason in reasons:
        ways: list[tuple[str, Any]] = [(_COLOURS[reason], "-")] if reason in _COLOURS else []
        ways += [(colour, dash) for dash in _DASHES for colour in _OTHERS]
        chosen[reason] = next((way for way in ways if way not in used), ways[-1])
        used.add(chosen[reason])
    return chosen


def label_name(label: int, where: str = "clean_set_cell") -> str:
    """Name a label as figures do; `where` is the row that holds it, should there be no such label."""
    return f"{label} {decoding.label_name(label, where)}"


def shortened(text: str, most: int) -> str:
    """Cut a text in its middle, where names and ids differ least; control characters are escaped."""
    text = printable(text, None)
    if len(text) <= most:
        return text
    end = (most - 1) // 2
    return f"{text[: most - 1 - end]}…{text[-end:]}"


def fitted(text: str, width: float, size: float, family: str = "DejaVu Sans") -> str:
    """Cut a text in its middle until it is no wider than so many points, in a font of a size in points."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import TextPath

    text = printable(text, None)  # the font has no glyph for a control character
    font = FontProperties(family=[family], size=size)
    for most in range(len(text), _LEAST, -1):
        if TextPath((0, 0), shortened(text, most), prop=font).get_extents().width <= width:
            return shortened(text, most)
    return shortened(text, _LEAST)


def number(value: float | None, digits: int = 3) -> str:
    """A value in some digits, or all of those before the point if they are few; a missing one is a dash."""
    if value is None:
        return "-"
    if abs(value) >= _LARGE:
        return f"{value:.{digits}g}"
    return f"{value:.{max(digits, len(str(int(abs(value)))))}g}"


def apart(value: float, other: float) -> tuple[str, str]:
    """Two values that differ, in as many digits as it takes to see it."""
    pairs = ((number(value, digits), number(other, digits)) for digits in range(3, 18))
    return next(pair for pair in pairs if pair[0] != pair[1])
