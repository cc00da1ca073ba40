"""Figures as files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from hpastore.arguments import expanded
from hpastore.errors import UsageError
from hpastore.export.output import check_file, whole_file
from hpastore.store.engine import Store

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_METADATA: Final[dict[str, dict[str, Any]]] = {
    ".png": {"Software": None},
    ".svg": {"Date": None},
    ".pdf": {"CreationDate": None},
}
"""By suffix, metadata that Matplotlib must not write: its version and the time."""


def save_figure(
    figure: Figure, out: Path | str, *, force: bool = False, store: Store | None = None
) -> Path:
    """Write a figure as PNG, SVG or PDF, by the file's suffix; equal figures give equal bytes.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
    out : Path
    force : bool
        Whether an existing file is replaced.
    store : Store, optional
        Files of this store, and its inputs, are never replaced.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    UsageError
        If the suffix names another format.
    ExportError
        If the file exists or cannot be written.
    """
    from matplotlib import style

    out = expanded(out)
    check_figure(out, force=force, store=store)
    settings = {"svg.hashsalt": "hpastore"}
    with (
        whole_file(out, force=force, store=store) as temporary,
        style.context(["default", settings]),
    ):
        suffix = out.suffix.lower()
        figure.savefig(temporary, format=suffix[1:], metadata=_METADATA[suffix])
    return out


def check_figure(out: Path, *, force: bool, store: Store | None = None) -> None:
    """Check that `save_figure` could write a file, before the figure is drawn.

    Raises
    ------
    UsageError, ExportError
        As `save_figure`.
    """
    if out.suffix.lower() not in _METADATA:
        raise UsageError(
            f"{out}: no format {out.suffix!r}; a figure's name ends in {', '.join(_METADATA)}"
        )
    check_file(out, force=force, store=store)
