"""The user's options of an ingest, checked before anything else is done."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, get_args

from hpastore.arguments import require_share
from hpastore.errors import UsageError
from hpastore.ingestion.layout import Layout
from hpastore.runtime.executor import ExecutorName, worker_count
from hpastore.text import printable
from hpastore.vocabulary import BINARY_MASKS, NUCLEUS_MATCHES

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
    _check_choice("--executor", executor, EXECUTORS)
    if layout.binary_mask is not None:
        _check_choice("--binary-mask", layout.binary_mask, BINARY_MASKS)
    if layout.match_nuclei is not None:
        _check_choice("--match-nuclei", layout.match_nuclei, NUCLEUS_MATCHES)
    if background_percentile is not None:
        require_share(background_percentile, "background percentile")
    return worker_count(jobs)


def _check_choice(option: str, value: str, choices: Sequence[str]) -> None:
    if value not in choices:
        raise UsageError(f"invalid {option} {value!r} (choose from {', '.join(choices)})")
