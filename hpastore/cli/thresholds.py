"""The command that computes thresholds."""

from __future__ import annotations

from hpastore.cli import show
from hpastore.cli.options import ChannelName, Label, Lower, MeasureName, Split, Upper


def thresholds(
    measure: MeasureName = "fraction",
    channel: ChannelName = "green",
    lower: Lower = 0.001,
    upper: Upper = 0.999,
    label: Label = None,
    split: Split = None,
) -> None:
    """Compute two percentiles of a measure for every label, from all current cells.

    Example: hpastore thresholds --measure intensity_mean --lower 0.05 --upper 0.95
    """
    import hpastore
    from hpastore.clean.thresholds import rule_measure_name

    rule = hpastore.Rule(measure, channel, lower, upper)
    with show.open_store() as store:
        found = hpastore.thresholds(store, rule, label=label, split=split)
        if not show.settings.json:
            found.insert(2, "measure", rule_measure_name(store, rule))
    show.frame(found)
