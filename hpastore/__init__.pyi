# The public names and where they live; hpastore/__init__.py loads them from this list.

from .classes import Classes
from .clean.bound import Bound
from .clean.create import create_clean_set, refresh_clean_set
from .clean.diff import CAUSES, clean_diff, summarise_diff
from .clean.drift import drift
from .clean.explain import explain
from .clean.overrides import (
    Override,
    list_overrides,
    override_cells,
    read_overrides,
    undo_overrides,
)
from .clean.recipe import load_recipe
from .clean.rule_bounds import clean_set_bounds
from .clean.rules import CleanRecipe, LabelRules, Rule
from .clean.sets import (
    clean_set,
    clean_set_limits,
    clean_set_recipe,
    clean_sets,
    drop_clean_set,
    emptied_images,
    freeze_clean_set,
)
from .clean.thresholds import thresholds
from .errors import HpastoreError, UsageError
from .export.coco import export_coco
from .export.csv import export_csv
from .export.figure import save_figure
from .export.images import export_images
from .export.manifest import verify
from .export.measure import export_measure
from .export.mmdet import export_mmdet
from .export.overrides import export_overrides
from .export.sample import make_sample
from .export.selection import ExportOptions
from .ingestion.catalogue import measures
from .ingestion.imported import import_measure
from .ingestion.layout import Layout
from .ingestion.remeasure import remeasure
from .ingestion.run import forget, ingest, plan, retry
from .kernels.custom import CustomMeasure
from .plot.drift import plot_drift
from .plot.gallery import plot_gallery
from .plot.hist import plot_hist
from .plot.overlay import plot_overlay
from .reading.classes import load_classes
from .store.backup import backup
from .store.classes import store_classes
from .store.engine import Store
from .store.integrity.doctor import doctor
from .store.integrity.dump import dump
from .store.integrity.finding import Finding
from .store.migrate import upgrade
from .store.open import open_store
from .store.sandbox.query import query
from .store.status import failures, runs, status

__version__: str

__all__ = [
    "__version__",
    "open_store",
    "Store",
    "Classes",
    "load_classes",
    "store_classes",
    "Layout",
    "plan",
    "ingest",
    "remeasure",
    "CustomMeasure",
    "measures",
    "import_measure",
    "export_measure",
    "retry",
    "forget",
    "status",
    "runs",
    "failures",
    "thresholds",
    "Rule",
    "Bound",
    "CleanRecipe",
    "LabelRules",
    "load_recipe",
    "create_clean_set",
    "refresh_clean_set",
    "freeze_clean_set",
    "drop_clean_set",
    "clean_sets",
    "clean_set",
    "clean_set_bounds",
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
    "ExportOptions",
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
