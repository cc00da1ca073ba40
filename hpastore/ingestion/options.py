"""The user's options of an ingest, checked before anything else is done."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, get_args

from hpastore.arguments import require_share
from hpastore.errors import UsageError
from hpastore.ingestion.layout import NONE, Layout
from hpastore.runtime.executor import ExecutorName, worker_count
from hpastore.text import printable
from hpastore.vocabulary import BINARY_MASKS, NUCLEUS_MATCHES

MAX_COLUMN_NAME: Final = 128
"""Characters of the name of a kept column."""

EXECUTORS: Final[tuple[ExecutorName, ...]] = get_args(ExecutorName)


def check_arguments(
    layout: Layout,
    executor: ExecutorName = "process",
    jobs: int | None = None,
    background_percentile: float | None = None,
) -> int:
    """Check the arguments of `ingest`.

    Returns
    -------
    int
        Number of worker processes.

    Raises
    ------
    UsageError
        If an argument makes no sense.
    """
    if layout.split is not None and not (layout.split.strip() and layout.split.isprintable()):
        raise UsageError(
            f"invalid --split {printable(layout.split)!r} (give a name, such as train)"
        )
    _check_columns(layout)
    _check_choice("--executor", executor, EXECUTORS)
    if layout.binary_mask is not None:
        _check_choice("--binary-mask", layout.binary_mask, BINARY_MASKS)
    if layout.match_nuclei is not None:
        _check_choice("--match-nuclei", layout.match_nuclei, NUCLEUS_MATCHES)
    if background_percentile is not None:
        require_share(background_percentile, "background percentile")
    return worker_count(jobs)


def _check_columns(layout: Layout) -> None:
    """Refuse names of columns that no table can have, and contradictions."""
    given = {"--keep-column": layout.keep_columns, "--drop-column": layout.drop_columns}
    for option, names in given.items():
        if isinstance(names, str):
            raise UsageError(f"{option} {printable(names)!r} must be in a list of names")
        for name in names:
            if not (name.strip() and name.isprintable() and len(name) <= MAX_COLUMN_NAME):
                shown = printable(name)
                hint = f"give a column's name of up to {MAX_COLUMN_NAME} characters"
                raise UsageError(f"invalid {option} {shown!r} ({hint})")
    for name in layout.keep_columns:
        if name in layout.drop_columns:
            raise UsageError(f"--keep-column and --drop-column both name {name!r}; give one")
    if layout.keep_columns and layout.labels == NONE:
        raise UsageError("--keep-column needs a table of labels; --labels none reads no table")


def _check_choice(option: str, value: str, choices: Sequence[str]) -> None:
    if value not in choices:
        raise UsageError(f"invalid {option} {value!r} (choose from {', '.join(choices)})")
