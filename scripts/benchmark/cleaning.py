"""Which planted faults the shipped recipes find, and which good cells they lose."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
from sqlalchemy import Text, cast, select

import hpastore
from hpastore.kernels.definitions import CHANNEL_MEASURES, SHAPE_MEASURES
from hpastore.schema.views import CELL_STATS
from hpastore.store.engine import Store
from hpastore.synthetic.fields import FAULTS
from hpastore.vocabulary import CHANNELS, Scope
from scripts.benchmark.verdicts import RECIPES, judge, markdown

SEED: Final = 4711
"""Of the sample; neither a rule nor a severity was set on it."""

SEGMENTATION: Final = ("merged", "split")
"""Errors of the segmentation, which are measured apart."""

MUST: Final = {"faults": 0.8, "segmentation": 0.85, "good": 0.05}
"""Least recall of both kinds of faults, and largest loss of good cells, of ``hpa``."""

MOST_AUC: Final = 0.97
"""Of any single measure for any kind: a fault that one measure gives away tests nothing."""

PLAIN: Final = frozenset({"border_cut", "no_nucleus", "merged"})
"""Kinds that are what one measure sees: the edge, no light in blue, two nuclei."""

_PLACE: Final = frozenset({"x", "y"})
"""Say where a cell is, and nothing of it."""


@dataclass(frozen=True)
class Kind:
    """How one kind of cells fares.

    Parameters
    ----------
    n
        Cells judged.
    dropped
        Share that each recipe drops: recall of a fault, loss of good cells.
    measure, auc
        The measure that tells the kind from good cells best, by itself, and the area under its
        curve.
    """

    n: int
    dropped: Mapping[str, float]
    measure: str = ""
    auc: float | None = None


@dataclass(frozen=True)
class Report:
    """What the recipes find in a sample."""

    images: int
    size: int
    seed: int
    scope: str
    kinds: Mapping[str, Kind]
    """By the fault; good cells are ``good``, and sums ``faults`` and ``segmentation``."""

    @property
    def missed(self) -> list[str]:
        """What ``hpa`` must reach and does not, and kinds that one measure gives away."""
        given_away = [
            name
            for name, kind in self.kinds.items()
            if name not in PLAIN and (kind.auc or 0) > MOST_AUC
        ]
        dropped = {name: self.kinds[name].dropped["hpa"] for name in MUST}
        return given_away + [
            name
            for name, must in MUST.items()
            if (dropped[name] > must if name == "good" else dropped[name] < must)
        ]


def measure(
    folder: Path, *, images: int = 200, size: int = 1024, seed: int = SEED, scope: Scope = "single"
) -> Report:
    """Draw a sample, ingest it, make a clean set by each recipe, and compare with the truth.

    Parameters
    ----------
    folder
        An empty one for the sample and its store.
    images, size, seed
        Of the sample.
    scope
        ``single`` or ``all``, in place of the recipes' own.
    """
    hpastore.make_sample(folder / "sample", n=images, size=size, seed=seed)
    truth = pd.read_csv(folder / "sample" / "truth.csv", keep_default_na=False)
    named = truth["name"] + ":" + truth["mask_id"].astype(str)
    fault = dict(zip(named, truth["fault"], strict=True))
    drawn = pd.Series((truth["name"] + ":" + truth["cell"].astype(str)).tolist(), list(named))
    with hpastore.open_store(folder / "cells.db", create=True) as store:
        hpastore.ingest(store, folder / "sample")
        judged = {name: _is_clean(verdicts) for name, verdicts in judge(store, scope).items()}
        measures = _measures(store)
    kinds = {}
    for kind in ("", *FAULTS):
        cells = [cell for cell in judged["hpa"].index if fault[cell] == kind]
        # A split cell has two masks, and is found if one of them is dropped.
        by_cell = {name: found[cells].groupby(drawn[cells]).all() for name, found in judged.items()}
        dropped = {name: 1 - float(found.mean()) for name, found in by_cell.items()}
        kinds[kind or "good"] = Kind(
            len(by_cell["hpa"]), dropped, *(_best(measures, fault, kind) if kind else ())
        )
    kinds["faults"] = _sum(kinds, [kind for kind in FAULTS if kind not in SEGMENTATION])
    kinds["segmentation"] = _sum(kinds, SEGMENTATION)
    return Report(images, size, seed, scope, kinds)


def table(report: Report) -> str:
    """Write the report in Markdown."""
    lines: list[tuple[str, ...]] = [
        ("kind", "cells", *RECIPES, "must", "best single measure", "AUC")
    ]
    for name, kind in report.kinds.items():
        shares = (f"{100 * kind.dropped[recipe]:.1f} %" for recipe in RECIPES)
        most = "at most " * (name == "good")
        must = f"{most}{100 * MUST[name]:.0f} %" if name in MUST else ""
        best = ("", "") if kind.auc is None else (kind.measure, f"{kind.auc:.3f}")
        lines.append((name, f"{kind.n:,}", *shares, must, *best))
    said = (
        f"Dropped of {report.images} images of {report.size}², seed {report.seed}, scope "
        f"{report.scope}."
    )
    return "\n".join([said, "", markdown(lines)])


def document(report: Report) -> dict[str, Any]:
    """Make the JSON document."""
    return {**asdict(report), "must": MUST, "missed": report.missed}


def _is_clean(verdicts: pd.DataFrame) -> pd.Series:
    """Whether each cell is clean, for every one of its labels, by its name."""
    named = verdicts["image"] + ":" + verdicts["mask_id"].astype(str)
    return verdicts.groupby(named)["clean"].all()


def _measures(store: Store) -> pd.DataFrame:
    """All measures of all cells by the cell's name."""
    names = [m.name for m in SHAPE_MEASURES if m.name not in _PLACE]
    names += [f"{channel}_{m.name}" for channel in CHANNELS for m in CHANNEL_MEASURES]
    view = CELL_STATS.table.c
    columns = (view.image_name + ":" + cast(view.mask_id, Text), *(view[name] for name in names))
    with store.reading() as connection:
        rows = connection.execute(select(*columns)).all()
    return pd.DataFrame([tuple(row)[1:] for row in rows], [row[0] for row in rows], names).astype(
        float
    )


def _best(measures: pd.DataFrame, fault: Mapping[str, str], kind: str) -> tuple[str, float]:
    """Choose the measure that separates a kind best: by its values, zeros or NULLs."""
    kinds = np.array([fault[cell] for cell in measures.index])
    found = {}
    for name in measures:
        values = measures[name].to_numpy()
        for sign, column in (("", values), (" is 0", values == 0), (" is NULL", np.isnan(values))):
            found[f"{name}{sign}"] = auc(column[kinds == kind], column[kinds == ""])
    best = max(found, key=lambda name: found[name])
    return best, found[best]


def auc(some: Any, others: Any) -> float:
    """Area under the curve that separates some values from others; NaNs are left out.

    Mann and Whitney 1947: the share of pairs in which the one is larger, ties counting half.
    """
    some, others = (np.asarray(v, float)[~np.isnan(np.asarray(v, float))] for v in (some, others))
    if not len(some) or not len(others):
        return 0.5
    ranks = pd.Series(np.concatenate((some, others))).rank().to_numpy()[: len(some)]
    area = (ranks.sum() - len(some) * (len(some) + 1) / 2) / (len(some) * len(others))
    return float(max(area, 1 - area))


def _sum(kinds: Mapping[str, Kind], names: Any) -> Kind:
    n = sum(kinds[name].n for name in names)
    dropped = {
        recipe: sum(kinds[name].dropped[recipe] * kinds[name].n for name in names) / n
        for recipe in RECIPES
    }
    return Kind(n, dropped)
