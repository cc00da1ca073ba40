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
from scripts.benchmark.planting import Planted, plant, with_one_nucleus
from scripts.benchmark.real import RealImage
from scripts.benchmark.verdicts import RECIPES, judge, markdown, percent

SEEDS: Final = tuple(range(100, 112))
"""Of the planted errors; no rule was set on them."""

KINDS: Final = (
    "merged",
    "cut",
    "cut without a gap",
    "cut, both halves",
    "untouched, inner",
    "untouched, border",
)
"""What planted masks hold.  A cut is found if at least one half is dropped."""

AS_FOUND: Final = ("not planted, inner", "not planted, border")
"""Cells of the masks as they were."""

MUST: Final = {"merged": 0.85, "cut": 0.85, "untouched, inner": 0.10}
"""Least recall, and largest loss, of ``hpa``."""


@dataclass
class Tally:
    """How many of a kind there were, and what became of them."""

    n: int = 0
    dropped: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    """Of dropped cells; both halves of a cut count."""

    def add(self, reasons: Iterable[str], *, found: bool) -> None:
        """Count one more."""
        self.n += 1
        self.dropped += found
        self.reasons.update(filter(None, reasons))

    def __add__(self, other: Tally) -> Tally:
        reasons = self.reasons + other.reasons
        return Tally(self.n + other.n, self.dropped + other.dropped, reasons)

    @property
    def share(self) -> float:
        """Share that was dropped; 0 of none."""
        return self.dropped / self.n if self.n else 0.0


@dataclass(frozen=True)
class Report:
    """What the recipes find of planted errors."""

    seeds: Sequence[int]
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
    for seed in (None, *seeds):
        planted = {
            name: Planted(mask)
            if seed is None
            else plant(mask, candidates[name], np.random.default_rng(seed))
            for name, mask in masks.items()
        }
        for recipe, verdicts in _judged(folder / f"seed-{seed}", chosen, planted).items():
            for name, cells in verdicts.groupby("image"):
                tallies = count(planted[str(name)], cells, planted_any=seed is not None)
                for kind, tally in tallies.items():
                    found[str(name)][recipe][kind] += tally
    return Report(seeds, found)


def count(planted: Planted, cells: pd.DataFrame, *, planted_any: bool = True) -> dict[str, Tally]:
    """Count what became of an image's cells.

    Parameters
    ----------
    planted
    cells
        The image's rows of `read_verdicts`, one for each cell.
    planted_any
        Whether errors were planted; otherwise all cells are counted as they were found.
    """
    reasons = dict(zip(cells["mask_id"], cells["reason"], strict=True))
    dropped = set(cells.loc[~cells["clean"], "mask_id"])
    tallies = {kind: Tally() for kind in (KINDS if planted_any else AS_FOUND)}
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
    inner, border = KINDS[-2:] if planted_any else AS_FOUND
    for cell, at_border in zip(untouched["mask_id"], untouched["touches_border"], strict=True):
        tallies[border if at_border else inner].add([reasons[cell]], found=cell in dropped)
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
    images: list[tuple[str, ...]] = [("dropped by hpa", *KINDS, *AS_FOUND)]
    for name, recipes in report.images.items():
        tallies = (recipes["hpa"][kind] for kind in (*KINDS, *AS_FOUND))
        images.append((name[:8], *(f"{tally.dropped}/{tally.n}" for tally in tallies)))
    said = (
        f"Dropped of errors planted in {len(report.images)} real images, seeds "
        f"{', '.join(map(str, report.seeds))}; each image has its first label alone."
    )
    return "\n".join([said, "", markdown(lines), "", markdown(images)])


def document(report: Report) -> dict[str, Any]:
    """Make the JSON document."""
    return {**asdict(report), "must": MUST, "missed": report.missed}


def _judged(
    folder: Path, chosen: Sequence[RealImage], planted: Mapping[str, Planted]
) -> dict[str, pd.DataFrame]:
    """Verdicts by the recipe, of images with planted masks."""
    root = real.lay_out(folder, chosen, {name: image.mask for name, image in planted.items()})
    with hpastore.open_store(folder / "cells.db", create=True) as store:
        summary = hpastore.ingest(store, root)
        if summary.failed:
            raise RuntimeError(f"{root}: {summary.failed} images were rejected")
        return judge(store, "single")


def _listed(reasons: Counter[str]) -> str:
    return ", ".join(f"{reason} {n}" for reason, n in reasons.most_common())
