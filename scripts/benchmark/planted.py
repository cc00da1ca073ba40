"""Which errors the shipped recipes find that were planted in the masks of real images."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd

import hpastore
from hpastore.reading.image import read_channel
from scripts.benchmark import real
from scripts.benchmark.planting import MAX_GAP, Planted, plant, with_one_nucleus
from scripts.benchmark.real import Mask, RealImage
from scripts.benchmark.verdicts import RECIPES, judge, markdown, percent

SEEDS: Final = tuple(range(100, 112))
"""Of the planted errors; no rule was set on them."""

KINDS: Final = (
    "merged",
    "cut",
    "cut without a gap",
    "cut, both halves",
    "untouched, kept before",
    "untouched, inner",
    "untouched, border",
)
"""What planted masks hold.  A cut is found if at least one half is dropped; *before* errors were
planted, the recipe kept or dropped the same cell."""

AS_FOUND: Final = ("not planted, inner", "not planted, border")
"""Cells of the masks as they were."""

MUST: Final = {"merged": 0.85, "cut": 0.85, "untouched, inner": 0.10}
"""Least recall, and largest loss, of ``hpa``."""


@dataclass
class Tally:
    """How many of a kind there were, and what became of them."""

    n: int = 0
    dropped: int = 0
    reasons: dict[str, int] = field(default_factory=dict)
    """Of dropped cells; both halves of a cut count."""

    def add(self, reasons: Iterable[str], *, found: bool) -> None:
        """Count one more."""
        self.n += 1
        self.dropped += found
        self.reasons = dict(Counter(self.reasons) + Counter(filter(None, reasons)))

    def __add__(self, other: Tally) -> Tally:
        reasons = dict(Counter(self.reasons) + Counter(other.reasons))
        return Tally(self.n + other.n, self.dropped + other.dropped, reasons)

    @property
    def share(self) -> float:
        """Share that was dropped; 0 of none."""
        return self.dropped / self.n if self.n else 0.0


@dataclass(frozen=True)
class Report:
    """What the recipes find of planted errors."""

    seeds: Sequence[int]
    candidates: Mapping[str, int]
    """How many cells show one nucleus, by the image's name: errors are planted in these."""
    images: Mapping[str, Mapping[str, Mapping[str, Tally]]]
    """By the image's name, the recipe and the kind."""

    def total(self, recipe: str, kind: str) -> Tally:
        """Add a kind up over all images."""
        return sum((image[recipe][kind] for image in self.images.values()), Tally())

    @property
    def missed(self) -> list[str]:
        """What ``hpa`` must reach and does not."""
        shares = {kind: self.total("hpa", kind).share for kind in MUST}
        return [
            kind
            for kind, must in MUST.items()
            if (shares[kind] > must if kind.startswith("untouched") else shares[kind] < must)
        ]


def measure(folder: Path, seeds: Sequence[int] = SEEDS) -> Report:
    """Plant errors once for each seed, ingest, make a clean set by each recipe, and count.

    Parameters
    ----------
    folder
        An empty one for links, masks and stores.
    seeds

    Raises
    ------
    Skip
        Where there are no real images.
    """
    chosen = real.images()
    masks = {image.name: image.mask() for image in chosen}
    candidates = {
        image.name: with_one_nucleus(masks[image.name], read_channel(image.channel("blue")))
        for image in chosen
    }
    found: dict[str, dict[str, dict[str, Tally]]] = {
        image.name: {recipe: {kind: Tally() for kind in (*KINDS, *AS_FOUND)} for recipe in RECIPES}
        for image in chosen
    }
    before = _judged(folder / "as-found", chosen, masks)
    for (name, recipe), cells in before.items():
        found[name][recipe] |= count_as_found(cells)
    for seed in seeds:
        planted = {
            name: plant(mask, candidates[name], np.random.default_rng(seed))
            for name, mask in masks.items()
        }
        changed = {name: image.mask for name, image in planted.items()}
        for (name, recipe), cells in _judged(folder / f"seed-{seed}", chosen, changed).items():
            tallies = count(planted[name], cells, before[name, recipe])
            for kind, tally in tallies.items():
                found[name][recipe][kind] += tally
    counts = {name: len(cells) for name, cells in candidates.items()}
    return Report(seeds, counts, found)


def count(planted: Planted, cells: pd.DataFrame, before: pd.DataFrame) -> dict[str, Tally]:
    """Count what became of an image's cells.

    Parameters
    ----------
    planted
    cells
        The image's rows of `read_verdicts`, one for each cell.
    before
        The same for the mask as it was found.
    """
    reasons = dict(zip(cells["mask_id"], cells["reason"], strict=True))
    dropped = _dropped(cells)
    dropped_before = _dropped(before)
    tallies = {kind: Tally() for kind in KINDS}
    for cell in planted.merged:
        tallies["merged"].add([reasons[cell]], found=cell in dropped)
    for halves, has_gap in planted.cuts:
        n_dropped = len(dropped.intersection(halves))
        why = [reasons[half] for half in halves]
        tallies["cut"].add(why, found=n_dropped > 0)
        tallies["cut, both halves"].add(why, found=n_dropped == 2)
        if not has_gap:
            tallies["cut without a gap"].add(why, found=n_dropped > 0)

    untouched = cells[~cells["mask_id"].isin(planted.touched)]
    for cell, at_border in zip(untouched["mask_id"], untouched["touches_border"], strict=True):
        kinds = ["untouched, border" if at_border else "untouched, inner"]
        if cell not in dropped_before:
            kinds.append("untouched, kept before")
        for kind in kinds:
            tallies[kind].add([reasons[cell]], found=cell in dropped)
    return tallies


def count_as_found(cells: pd.DataFrame) -> dict[str, Tally]:
    """Count what became of an image's cells in which nothing is planted."""
    tallies = {kind: Tally() for kind in AS_FOUND}
    columns = (cells[name] for name in ("touches_border", "clean", "reason"))
    for at_border, clean, reason in zip(*columns, strict=True):
        tallies[AS_FOUND[int(at_border)]].add([reason], found=not clean)
    return tallies


def table(report: Report) -> str:
    """Write the report in Markdown: sums by recipe, ``hpa`` by image, and its reasons."""
    lines: list[tuple[str, ...]] = [("kind", "cells", *RECIPES, "must", "reasons of hpa")]
    for kind in (*KINDS, *AS_FOUND):
        totals = {recipe: report.total(recipe, kind) for recipe in RECIPES}
        shares = (percent(tally.dropped, tally.n) for tally in totals.values())
        most = "at most " * kind.startswith("untouched")
        must = f"{most}{100 * MUST[kind]:.0f} %" if kind in MUST else ""
        lines.append((kind, f"{totals['hpa'].n:,}", *shares, must, _listed(totals["hpa"].reasons)))
    images: list[tuple[str, ...]] = [("dropped by hpa", "candidates", *KINDS, *AS_FOUND)]
    for name, recipes in report.images.items():
        tallies = (recipes["hpa"][kind] for kind in (*KINDS, *AS_FOUND))
        n = str(report.candidates[name])
        images.append((name[:8], n, *(f"{tally.dropped}/{tally.n}" for tally in tallies)))
    said = (
        f"Dropped of errors planted in {len(report.images)} real images, seeds "
        f"{', '.join(map(str, report.seeds))}: neighbours within {MAX_GAP} px merged, and cells "
        "cut along a straight line, of those that show one nucleus. Each image has its first label "
        "alone; an untouched cell counts once for each seed."
    )
    return "\n".join([said, "", markdown(lines), "", markdown(images)])


def document(report: Report) -> dict[str, Any]:
    """Make the JSON document."""
    return {**asdict(report), "must": MUST, "missed": report.missed}


def _judged(
    folder: Path, chosen: Sequence[RealImage], masks: Mapping[str, Mask]
) -> dict[tuple[str, str], pd.DataFrame]:
    """Verdicts by the image and the recipe, of images with these masks."""
    root = real.lay_out(folder, chosen, masks)
    with hpastore.open_store(folder / "cells.db", create=True) as store:
        summary = hpastore.ingest(store, root)
        if summary.failed:
            raise RuntimeError(f"{root}: {summary.failed} images were rejected")
        judged = judge(store, "single")
    return {
        (str(name), recipe): cells
        for recipe, verdicts in judged.items()
        for name, cells in verdicts.groupby("image")
    }


def _dropped(cells: pd.DataFrame) -> set[int]:
    return set(cells.loc[~cells["clean"], "mask_id"])


def _listed(reasons: Mapping[str, int]) -> str:
    return ", ".join(f"{reason} {n}" for reason, n in Counter(reasons).most_common())
