"""Warn where a clean set that is used is older than the data it was made from."""

from __future__ import annotations

import logging

from sqlalchemy import Connection

from hpastore.store.clean_sets.outdated import NewerData, newer_than
from hpastore.store.clean_sets.rows import find_clean_set, read_clean_set
from hpastore.text import count_text

logger = logging.getLogger(__name__)


def warn_if_outdated(connection: Connection, set_id: int) -> None:
    """Warn in one line of overrides, labels and images that are newer than a clean set."""
    newer = newer_than(connection, set_id)
    if not newer.any:
        return
    row = read_clean_set(connection, set_id)
    is_newest = row.version == find_clean_set(connection, row.name).version
    logger.warning(
        "clean set %s is older than %s; 'hpastore clean refresh %s' makes a version with them",
        row.versioned_name,
        _text(newer),
        row.name if is_newest else row.versioned_name,
    )


def _text(newer: NewerData) -> str:
    counts = (
        (newer.overrides, "override", "overrides"),
        (newer.came, "new or replaced image", "new or replaced images"),
        (newer.left, "image that left", "images that left"),
        (newer.relabelled, "relabelled image", "relabelled images"),
    )
    parts = [count_text(n, noun, plural) for n, noun, plural in counts if n]
    if newer.remeasured:
        parts.append("the fractions of another background percentile")
    *first, last = parts
    return f"{', '.join(first)} and {last}" if first else last
