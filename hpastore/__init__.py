"""hpastore: the annotation store for Human Protein Atlas images.

Every command is a function here::

    import hpastore

    with hpastore.open_store("cells.db", create=True) as store:
        hpastore.ingest(store, "/data/hpa")
        print(hpastore.thresholds(store))
        hpastore.create_clean_set(store, "mine")
        hpastore.export_coco(store, "mine.json", hpastore.Choice(clean="mine"))

Names are imported when they are first used: a worker process needs no database, and ``--help`` no
image library.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

# Python sets a subpackage as an attribute when it is first loaded: done now and undone, so that
# hpastore.ingest is the function and not the folder.
import_module("hpastore.ingest")
del globals()["ingest"]

if TYPE_CHECKING:
    from hpastore.clean.compare import CAUSES, clean_diff, summarise_diff
    from hpastore.clean.drift import drift
    from hpastore.clean.explain import explain
    from hpastore.clean.override import (
        Override,
        list_overrides,
        override_cells,
        read_overrides,
        undo_overrides,
    )
    from hpastore.clean.recipe import load_recipe
    from hpastore.clean.rules import Bound, CleanRecipe, Rule
    from hpastore.clean.select import (
        clean_set,
        clean_set_limits,
        clean_set_recipe,
        clean_sets,
        create_clean_set,
        drop_clean_set,
        emptied_images,
        freeze_clean_set,
        refresh_clean_set,
        thresholds,
    )
    from hpastore.errors import HpastoreError, UsageError
    from hpastore.export.choice import Choice
    from hpastore.export.coco import export_coco
    from hpastore.export.figure import save_figure
    from hpastore.export.images import export_images
    from hpastore.export.manifest import verify
    from hpastore.export.mmdet import export_mmdet
    from hpastore.export.overrides import export_overrides
    from hpastore.export.sample import make_sample
    from hpastore.export.table import export_csv
    from hpastore.ingest.catalogue import measures
    from hpastore.ingest.discover import Layout
    from hpastore.ingest.remeasure import remeasure
    from hpastore.ingest.run import forget, ingest, plan, retry
    from hpastore.kernels.custom import UserMeasure
    from hpastore.plot.drift import plot_drift
    from hpastore.plot.gallery import plot_gallery
    from hpastore.plot.hist import plot_hist
    from hpastore.plot.overlay import plot_overlay
    from hpastore.store.backup import backup
    from hpastore.store.doctor import Finding, doctor
    from hpastore.store.dump import dump
    from hpastore.store.engine import Store
    from hpastore.store.migrate import upgrade
    from hpastore.store.open import open_store
    from hpastore.store.query import query
    from hpastore.store.status import failures, runs, status

__version__ = "0.1.0"

_HOMES = {
    "clean.compare": ("CAUSES", "clean_diff", "summarise_diff"),
    "clean.drift": ("drift",),
    "clean.explain": ("explain",),
    "clean.override": (
        *("Override", "override_cells", "undo_overrides", "list_overrides", "read_overrides"),
    ),
    "clean.recipe": ("load_recipe",),
    "clean.rules": ("Bound", "CleanRecipe", "Rule"),
    "clean.select": (
        *("clean_set", "clean_set_limits", "clean_set_recipe", "clean_sets"),
        *("create_clean_set", "drop_clean_set"),
        *("emptied_images", "freeze_clean_set", "refresh_clean_set", "thresholds"),
    ),
    "errors": ("HpastoreError", "UsageError"),
    "export.choice": ("Choice",),
    "export.coco": ("export_coco",),
    "export.figure": ("save_figure",),
    "export.images": ("export_images",),
    "export.manifest": ("verify",),
    "export.mmdet": ("export_mmdet",),
    "export.overrides": ("export_overrides",),
    "export.sample": ("make_sample",),
    "export.table": ("export_csv",),
    "ingest.catalogue": ("measures",),
    "ingest.discover": ("Layout",),
    "ingest.remeasure": ("remeasure",),
    "ingest.run": ("forget", "ingest", "plan", "retry"),
    "kernels.custom": ("UserMeasure",),
    "plot.drift": ("plot_drift",),
    "plot.gallery": ("plot_gallery",),
    "plot.hist": ("plot_hist",),
    "plot.overlay": ("plot_overlay",),
    "store.backup": ("backup",),
    "store.doctor": ("Finding", "doctor"),
    "store.dump": ("dump",),
    "store.engine": ("Store",),
    "store.migrate": ("upgrade",),
    "store.open": ("open_store",),
    "store.query": ("query",),
    "store.status": ("failures", "runs", "status"),
}
_HOME = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "open_store",
    "Store",
    "Layout",
    "plan",
    "ingest",
    "remeasure",
    "UserMeasure",
    "measures",
    "retry",
    "forget",
    "status",
    "runs",
    "failures",
    "thresholds",
    "Rule",
    "Bound",
    "CleanRecipe",
    "load_recipe",
    "create_clean_set",
    "refresh_clean_set",
    "freeze_clean_set",
    "drop_clean_set",
    "clean_sets",
    "clean_set",
    "clean_set_limits",
    "clean_set_recipe",
    "emptied_images",
    "clean_diff",
    "summarise_diff",
    "CAUSES",
    "drift",
    "explain",
    "Override",
    "override_cells",
    "undo_overrides",
    "list_overrides",
    "read_overrides",
    "export_overrides",
    "Choice",
    "export_coco",
    "export_mmdet",
    "export_csv",
    "export_images",
    "verify",
    "plot_hist",
    "plot_gallery",
    "plot_overlay",
    "plot_drift",
    "save_figure",
    "query",
    "dump",
    "make_sample",
    "upgrade",
    "backup",
    "doctor",
    "Finding",
    "HpastoreError",
    "UsageError",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'hpastore' has no attribute {name!r}")
    value = getattr(import_module(f"hpastore.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*globals(), *__all__]
