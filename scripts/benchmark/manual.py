"""How many cells the shipped recipes keep of those that people looked at one by one.

The masks are real and the channels are not: all are 128 everywhere.  So only rules of shape speak;
those of light and of nuclei, and the whole of ``notebook``, let every cell pass.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd

import hpastore
from hpastore.reading.png import decode_ids
from hpastore.runtime.opencv import cv2
from hpastore.vocabulary import CHANNELS, NEGATIVE
from scripts.benchmark.drawing import link_file
from scripts.benchmark.real import data_folder
from scripts.benchmark.verdicts import RECIPES, judge, markdown, percent

LEVEL: Final = 128
"""Of the flat channels; ``min_green`` is below."""

MUST: Final = {"confirmed": 0.96, "confirmed, inner": 0.97}
"""Least share that ``hpa`` keeps."""


@dataclass(frozen=True)
class Group:
    """How some cells fare: how many there are, and how many each recipe keeps."""

    n: int
    kept: Mapping[str, int]


@dataclass(frozen=True)
class Report:
    """What the recipes keep of hand-labelled cells."""

    images: int
    """All that people looked at."""
    single: int
    """Those with one label, which the recipes judge."""
    groups: Mapping[str, Group]
    reasons: Mapping[str, int]
    """Why ``hpa`` drops confirmed cells."""

    @property
    def missed(self) -> list[str]:
        """What ``hpa`` must reach and does not."""
        return [
            name
            for name, must in MUST.items()
            if self.groups[name].kept["hpa"] < must * self.groups[name].n
        ]


def measure(folder: Path) -> Report:
    """Ingest the masks with flat channels, make a clean set by each recipe, and count.

    Parameters
    ----------
    folder
        An empty one for links, channels and the store.

    Raises
    ------
    Skip
        Where there are no hand-labelled cells.
    """
    data = data_folder("manual")
    labelled = pd.read_csv(data / "manual_cells.csv", dtype=str).astype({"mask_id": int})
    root = _lay_out(data, folder / "manual")
    with hpastore.open_store(folder / "cells.db", create=True) as store:
        summary = hpastore.ingest(store, root)
        if summary.failed:
            raise RuntimeError(f"{root}: {summary.failed} images were rejected")
        return count(labelled, judge(store, "single"), judge(store, "all"))


def count(
    labelled: pd.DataFrame,
    single: Mapping[str, pd.DataFrame],
    every: Mapping[str, pd.DataFrame],
) -> Report:
    """Count what is kept.

    Parameters
    ----------
    labelled
        ``ID, mask_id, image_labels, cell_labels, cell_line``, as text but for the mask's id.
    single, every
        Verdicts by the recipe: of images with one label, and of all, a row for each label.
    """
    cells = _joined(labelled, single)
    confirmed = cells[cells["confirmed"]]
    negative = cells[cells["negative"]]
    groups = {**_by_place("confirmed", confirmed), **_by_place("called Negative", negative)}
    for line, some in confirmed.groupby("cell_line"):
        groups[f"confirmed, {line}"] = _group(some)

    pairs = _joined(labelled, every)
    several = pairs[pairs["image_labels"].str.contains("|", regex=False)]
    groups |= _by_place("several labels: confirmed", several[several["confirmed"]])
    groups |= _by_place("several labels: called Negative", several[several["negative"]])
    reasons = Counter(filter(None, confirmed["reason_hpa"]))
    return Report(
        labelled["ID"].nunique(), cells["ID"].nunique(), groups, dict(reasons.most_common())
    )


def table(report: Report) -> str:
    """Write the report in Markdown."""
    lines: list[tuple[str, ...]] = [("hand-labelled cells", "cells", *RECIPES, "must")]
    for name, group in report.groups.items():
        shares = (percent(group.kept[recipe], group.n) for recipe in RECIPES)
        must = f"{100 * MUST[name]:.0f} %" if name in MUST else ""
        lines.append((name, f"{group.n:,}", *shares, must))
    reasons = ", ".join(f"{reason} {n}" for reason, n in report.reasons.items()) or "none"
    said = (
        f"Kept of hand-labelled cells of {report.images} images, {report.single} of them with one "
        "label; with several labels each cell counts once for each label that it shows, or as "
        "Negative once for each of its image's. Channels are flat: only rules of shape speak, and "
        "notebook has none: it drops only cells of labels that no image has alone, for want of a "
        f"percentile. hpa drops confirmed cells by: {reasons}."
    )
    return "\n".join([said, "", markdown(lines)])


def document(report: Report) -> dict[str, Any]:
    """Make the JSON document."""
    return {**asdict(report), "must": MUST, "missed": report.missed}


def _joined(labelled: pd.DataFrame, verdicts: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Rows of labelled cells and the labels they were judged by, with all recipes' verdicts."""
    joined = labelled.rename(columns={"ID": "image"})
    keys = ["image", "mask_id"]
    for recipe, found in verdicts.items():
        renamed = {"clean": f"clean_{recipe}", "reason": f"reason_{recipe}"}
        joined = joined.merge(found.rename(columns=renamed), on=keys, validate="m:m")
        keys = ["image", "mask_id", "label", "touches_border"]
    shown = [
        str(label) in labels.split("|")
        for label, labels in zip(joined["label"], joined["cell_labels"], strict=True)
    ]
    joined["confirmed"] = np.array(shown, bool)
    joined["negative"] = joined["cell_labels"] == str(NEGATIVE)
    return joined.rename(columns={"image": "ID"})


def _by_place(name: str, cells: pd.DataFrame) -> dict[str, Group]:
    at_border = cells["touches_border"].astype(bool)
    return {
        name: _group(cells),
        f"{name}, inner": _group(cells[~at_border]),
        f"{name}, border": _group(cells[at_border]),
    }


def _group(cells: pd.DataFrame) -> Group:
    return Group(len(cells), {recipe: int(cells[f"clean_{recipe}"].sum()) for recipe in RECIPES})


def _lay_out(data: Path, folder: Path) -> Path:
    """Make a root of the masks, with one flat file for all channels of one size."""
    flat: dict[tuple[int, ...], Path] = {}
    folder.mkdir(parents=True)
    for mask in sorted((data / "hpa_cell_mask").iterdir()):
        shape = decode_ids(mask.read_bytes(), mask).shape
        if shape not in flat:
            flat[shape] = folder / f"{shape[0]}x{shape[1]}.png"
            if not cv2.imwrite(str(flat[shape]), np.full(shape, LEVEL, np.uint8)):
                raise OSError(f"{flat[shape]}: cannot be written")
        name = mask.name.removesuffix("_cellmask.png")
        for channel in CHANNELS:
            link_file(flat[shape], folder / "train" / f"{name}_{channel}.png")
        link_file(mask, folder / "hpa_cell_mask" / mask.name)
    link_file(data / "train.csv", folder / "train.csv")
    return folder
