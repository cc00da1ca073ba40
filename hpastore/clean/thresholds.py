"""Thresholds of labels: percentiles of a measure, and warnings where the measure is incomplete."""

from __future__ import annotations

import logging
from collections.abc import Collection
from typing import TYPE_CHECKING, Final

from sqlalchemy import Connection

from hpastore.clean.rules import Rule
from hpastore.errors import UsageError
from hpastore.kernels import definitions
from hpastore.store import custom_measures, imported_measures, label_thresholds
from hpastore.store.classes import read_classes
from hpastore.store.engine import Store
from hpastore.store.label_thresholds import custom_channels
from hpastore.store.measurement_settings import (
    count_lacking,
    count_other_percentile,
    unmeasured_images,
)
from hpastore.store.roots_and_splits import require_split
from hpastore.text import count_text, measure_name

if TYPE_CHECKING:
    import pandas as pd

logger = logging.getLogger(__name__)


def thresholds(
    store: Store,
    rule: Rule | None = None,
    *,
    label: int | str | None = None,
    split: str | None = None,
) -> pd.DataFrame:
    """Take two percentiles of a measure for every label.

    Parameters
    ----------
    store : Store
    rule : Rule, optional
        The measure and its percentiles; by default the notebook's.
    label : int or str, optional
        Only this label, given by id or name.
    split : str, optional
        Only cells of images in this split.

    Returns
    -------
    DataFrame
        ``label_id, label, n, lower, upper``: n cells that have a value, dark ones too, of images
        whose only label it is.  Labels without such a cell are left out.

    Raises
    ------
    UsageError
        If there is no such measure, channel, label or split, or a percentile is not a share.

    Notes
    -----
    Equal to ``numpy.quantile(values, q)`` to the last bit, on both databases.
    """
    import pandas as pd

    rule = rule or Rule()
    with store.reading() as connection:
        label_id = None if label is None else read_classes(connection).find(label)
        rule = rule.validated(custom_channels(connection))
        shares = _percentiles(rule)
        require_split(connection, split)
        rows = label_thresholds.thresholds(
            connection, rule.measure, rule.channel, shares, label_id, split
        )
        warn_of_incomplete_measures(connection, {rule.measure})
    columns = ["label_id", "label", "n", "lower", "upper"]
    return pd.DataFrame([tuple(row.values()) for row in rows], columns=columns)


def _percentiles(rule: Rule) -> dict[str, float]:
    """Both percentiles of a rule, as shares 0..1 by ``lower`` and ``upper``."""
    if rule.is_flag:
        raise UsageError(f"{rule.measure} is a flag and has no percentiles")
    shares: dict[str, float] = {
        side: number for side, (kind, number) in rule.sides.items() if kind == "percentile"
    }
    if len(shares) < 2:
        raise UsageError(
            f"thresholds needs a lower and an upper percentile; the rule on {rule.measure} "
            "lacks one"
        )
    return shares


def rule_measure_name(store: Store, rule: Rule) -> str:
    """Name the measure of a rule, after its channel if it has one: ``green fraction``, ``area``."""
    with store.reading() as connection:
        valid = rule.validated(custom_channels(connection))
    return measure_name(valid.channel, valid.measure)


def warn_of_incomplete_measures(connection: Connection, measures: Collection[str]) -> None:
    """Warn if not all images have the current version of these measures.

    Bounds are then taken from a mixture.
    """
    if stale := count_other_percentile(connection):
        logger.warning(
            "%s measured with another background percentile; run 'hpastore remeasure'",
            count_text(stale, "image was", "images were"),
        )
    _warn_of_built_in_measures(connection, measures)
    custom = custom_measures.measures(connection)
    imported = {row["name"] for row in custom if row["kind"] == "imported"}
    _warn_of_imported_measures(connection, imported & set(measures))
    versions = {row["name"]: row["version"] for row in custom if row["name"] not in imported}
    for name in sorted(versions.keys() & set(measures)):
        measure = frozenset({(name, versions[name])})
        if missing := custom_measures.count_lacking(connection, measure):
            logger.warning(
                "%s no %s of version %d; run 'hpastore remeasure', or ingest their roots again",
                count_text(missing, "image has", "images have"),
                name,
                versions[name],
            )


def _warn_of_imported_measures(connection: Connection, names: Collection[str]) -> None:
    if not names:
        return
    lacking = imported_measures.count_lacking_cells(connection)
    for name in sorted(names):
        if count := lacking[name]:
            logger.warning(
                "%s no %s; import values for them with 'hpastore measures import'",
                count_text(count, "cell has", "cells have"),
                name,
            )


def _warn_of_built_in_measures(connection: Connection, measures: Collection[str]) -> None:
    need_pixels = unmeasured_images(connection).measures
    for name, count in sorted(count_lacking(connection).items()):
        if name in measures:
            logger.warning(
                "%s no %s of version %d; %s",
                count_text(count, "image has", "images have"),
                name,
                definitions.VERSIONS[name],
                _INGEST if name in need_pixels else _REMEASURE,
            )


_REMEASURE: Final = "run 'hpastore remeasure'"
_INGEST: Final = "ingest their roots again"
