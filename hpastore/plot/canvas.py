"""What all figures share: Matplotlib, which is optional, style, colours, titles and numbers."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final, ParamSpec

from hpastore.classes import Classes
from hpastore.errors import UsageError
from hpastore.store import decoding
from hpastore.text import printable

if TYPE_CHECKING:
    from matplotlib.figure import Figure

P = ParamSpec("P")

# The palette of Okabe and Ito for the colour-blind: https://jfly.uni-koeln.de/color/
KEPT: Final = "#56B4E9"
DROPPED: Final = "#D55E00"
INK: Final = "#333333"
FAINT: Final = "#888888"
_ORANGE, _GREEN, _YELLOW, _PURPLE = "#E69F00", "#009E73", "#F0E442", "#CC79A7"

_COLOURS: Final = {
    "below_lower": _ORANGE,
    "above_upper": DROPPED,
    "dark": _PURPLE,
    "no_channel": _YELLOW,
    "no_background": _YELLOW,
    "no_value": _YELLOW,
    "no_threshold": _YELLOW,
}
_OTHERS: Final = (_YELLOW, _GREEN, _ORANGE, DROPPED, _PURPLE)
_DASHES: Final = ((0, (4, 1.5)), (0, (1.5, 1.5)), (0, (5, 1.5, 1, 1.5)))

_DPI: Final = 150

_MIN_CHARACTERS: Final = 5
"""The shortest that `fitted` makes a text."""
_MIN_EXPONENTIAL: Final = 1e7
"""Numbers from here on are written with an exponent."""

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
    "text.parse_math": False,  # a $ in a name is a $
}


def drawing(draw: Callable[P, Figure]) -> Callable[P, Figure]:
    """Make a function draw in hpastore's style, whatever the user's settings of Matplotlib.

    Without Matplotlib the function raises `UsageError`.
    """

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
    """Escape control characters, such as right-to-left marks: a store may hold names of anybody."""
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
        raise UsageError("figures need Matplotlib; install it with: pip install 'hpastore[plot]'")


def blank(width: float, height: float) -> Figure:
    """Make an empty figure of a size in inches."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height))


def add_title(figure: Figure, text: str, left: float) -> None:
    """Write a title at the top of a figure, `left` as a share of its width."""
    height = figure.get_size_inches()[1]
    figure.text(left, 1 - 0.12 / height, text, va="top", fontsize=10, color=INK)


def add_footnote(figure: Figure, text: str, left: float) -> None:
    """Write a small line at the bottom of a figure, `left` as a share of its width."""
    height = figure.get_size_inches()[1]
    figure.text(left, 0.1 / height, text, fontsize=7, color=FAINT)


def add_no_cells(figure: Figure) -> None:
    """Write in the middle of a figure that it has nothing to show."""
    figure.text(0.5, 0.5, "no such cell", ha="center", va="center", fontsize=12, color=FAINT)


LineStyle = tuple[str, Any]
"""A colour and a dash."""


def line_styles(reasons: list[str]) -> dict[str, LineStyle]:
    """Choose a line style for each reason; no two reasons share one while there are unused ones."""
    chosen: dict[str, LineStyle] = {}
    used = set()
    for reason in reasons:
        styles: list[LineStyle] = [(_COLOURS[reason], "-")] if reason in _COLOURS else []
        styles += [(colour, dash) for dash in _DASHES for colour in _OTHERS]
        chosen[reason] = next((style for style in styles if style not in used), styles[-1])
        used.add(chosen[reason])
    return chosen


def label_name(label: int, classes: Classes, where: str = "clean_set_cell") -> str:
    """Give a label's id and name; `where` names its row in the error for an id without a label."""
    return f"{label} {decoding.label_name(label, where, classes)}"


def shortened(text: str, max_length: int) -> str:
    """Cut a text in its middle, where names and ids differ least; escape control characters."""
    text = printable(text, None)
    if len(text) <= max_length:
        return text
    end = (max_length - 1) // 2
    return f"{text[: max_length - 1 - end]}…{text[-end:]}"


def fitted(text: str, width: float, size: float, family: str = "DejaVu Sans") -> str:
    """Cut a text in its middle until it is at most `width` points wide in a font of `size`."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import TextPath

    text = printable(text, None)  # the font has no glyph for a control character
    font = FontProperties(family=[family], size=size)
    for length in range(len(text), _MIN_CHARACTERS, -1):
        candidate = shortened(text, length)
        if TextPath((0, 0), candidate, prop=font).get_extents().width <= width:
            return candidate
    return shortened(text, _MIN_CHARACTERS)


def number_text(value: float | None, digits: int = 3) -> str:
    """Write a value with some digits, but with all before the point; a missing one is a dash."""
    if value is None:
        return "-"
    if abs(value) < _MIN_EXPONENTIAL:
        digits = max(digits, len(str(int(abs(value)))))
    return f"{value:.{digits}g}"


def distinct_number_texts(value: float, other: float) -> tuple[str, str]:
    """Write two values that differ, with as many digits as it takes to see that."""
    pairs = ((number_text(value, digits), number_text(other, digits)) for digits in range(3, 18))
    return next(pair for pair in pairs if pair[0] != pair[1])
