"""Say so where a clean set that is used is older than what it was made from."""

from __future__ import annotations

import logging

from sqlalchemy import Connection

from hpastore.store import outdated, stored_sets
from hpastore.text import count_text

logger = logging.getLogger(__name__)


def warn_if_outdated(connection: Connection, set_id: int) -> None:
    """Warn in one line of overrides, labels and images that are newer than a clean set."""
    found = outdated.newer_than(connection, set_id)
    if not found.any:
        return
    row = stored_sets.clean_set(connection, set_id)
    last = stored_sets.find_clean_set(connection, row["name"])[2]
    name = row["name"] if row["version"] == last else f"{row['name']}@{row['version']}"
    logger.warning(
        "clean set %s@%d does not know %s; 'hpastore clean refresh %s' makes a version that does",
        row["name"],
        row["version"],
        _text(found),
        name,
    )


def _text(found: outdated.Newer) -> str:
    counts = (
        (found.overrides, "override", None),
        (found.came, "new or replaced image", None),
        (found.left, "image that left", "images that left"),
        (found.relabelled, "relabelled image", None),
    )
    parts = [count_text(*count) for count in counts if count[0]]
    if found.remeasured:
        parts.append("the fractions of another background percentile")
    return ", ".join(parts[:-1]) + (" and " if len(parts) > 1 else "") + parts[-1]
