"""Rules on channels that some images do not have."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from sqlalchemy import Connection

from hpastore.schema.clean_rows import RuleRow
from hpastore.store.label_thresholds import count_images_without
from hpastore.text import count_text

logger = logging.getLogger(__name__)


def warn_of_missing_channels(
    connection: Connection, rules: Sequence[RuleRow], split: str | None
) -> None:
    """Warn of rules that say nothing of some cells, since their images lack the channel.

    Parameters
    ----------
    connection
    rules
        Of one clean set.
    split
        Only images in this split.
    """
    for channel in sorted({rule.channel for rule in rules if rule.channel is not None}):
        count = count_images_without(connection, channel, split)
        if not count:
            continue
        logger.warning(
            "%s no %s channel: %s",
            count_text(count, "image has", "images have"),
            channel,
            "; ".join(_effects([rule for rule in rules if rule.channel == channel])),
        )


def _effects(rules: Sequence[RuleRow]) -> list[str]:
    """Say what rules do with cells without their channel."""
    others = dict.fromkeys(rule.title for rule in rules if not rule.decides_missing)
    effects = []
    if any(rule.decides_missing for rule in rules):
        effects.append("their cells are dropped with the reason no_channel")
    if others:
        effects.append(f"{', '.join(others)} cannot drop their cells")
    return effects
