"""The one table of promised figures."""

from __future__ import annotations

from functools import partial
from typing import Final

from scripts.benchmark import exports, folders, images, memory, peers, queries, startup, stores
from scripts.benchmark.figure import Guard, Row

_INGEST: Final = "ingest of an image, one worker, committed to SQLite ÷ decoding its five files"
_STAT: Final = "re-ingest of unchanged images ÷ one os.stat per file"
_THRESHOLDS: Final = "thresholds of 19 labels ÷ pandas and groupby.quantile"
_QUERIES: Final = "the slowest of the queries of docs/sql.md"
_WRITING: Final = "writing an image's rows, many cells stored ÷ 10,000"

ROWS: Final = (
    Row("ingest", _INGEST, "ratio", 1.6, 1.3, images.ingest),
    Row(
        "notebook",
        "the notebook's way ÷ ours, one core each",
        "times",
        10,
        15,
        images.against_notebook,
    ),
    Row(
        "regionprops",
        "skimage's regionprops_table ÷ our measures",
        "times",
        None,
        None,
        peers.measures,
    ),
    Row("pycocotools", "pycocotools cell by cell ÷ our RLEs", "times", None, None, peers.rles),
    Row(
        "workers", "images a second of two workers ÷ of one", "times", 1.7, 1.8, images.two_workers
    ),
    Row("reingest", _STAT, "ratio", 4, 2, folders.reingest),
    Row(
        "remeasure",
        "remeasure of 20,000 images",
        "s",
        60,
        20,
        stores.remeasure,
        430_000,
        checked=False,
    ),
    Row("thresholds", _THRESHOLDS, "ratio", 2, 1.3, stores.thresholds, 500_001),
    Row("thresholds-2m", _THRESHOLDS, "ratio", 2, 1.3, stores.thresholds_of_many, 2_000_000),
    Row(
        "coco",
        "COCO export ÷ one SELECT, orjson.dumps, writing",
        "ratio",
        2,
        1.3,
        exports.coco,
        500_000,
    ),
    Row(
        "mmdet",
        "mmdet export ÷ one SELECT, pickle.dumps, writing",
        "ratio",
        2,
        1.3,
        exports.mmdet,
        500_000,
    ),
    Row(
        "export-memory", "peak of an export", "MB", 500, 300, exports.memory, 500_000, checked=False
    ),
    Row("size", "a store's growth ÷ its input files", "%", 1.5, 1, folders.size),
    Row(
        "worker-memory",
        "peak of a worker at 3072² x 4",
        "MB",
        400,
        250,
        memory.worker,
        checked=False,
    ),
    Row(
        "main-memory",
        "peak of the main process ÷ at 100 images",
        "ratio",
        1.5,
        1.2,
        memory.main_process,
        checked=False,
    ),
    Row(
        "bytes",
        "size of a cell in SQLite, without clean sets",
        "bytes",
        2300,
        1800,
        stores.bytes_per_cell,
        429_999,
        guard=Guard("its mask, histograms and numbers", 1.15),
    ),
    Row(
        "create-sqlite",
        "clean create by hpa, SQLite",
        "s",
        6,
        4,
        partial(queries.create, "SQLite"),
        500_002,
        guard=queries.guard(20),
    ),
    Row(
        "create-postgresql",
        "clean create by hpa, PostgreSQL",
        "s",
        10,
        6,
        partial(queries.create, "PostgreSQL"),
        500_002,
        guard=queries.guard(30),
    ),
    Row(
        "csv-sqlite",
        "CSV export of a clean set, SQLite",
        "s",
        15,
        8,
        partial(queries.export_csv, "SQLite"),
        500_002,
        guard=queries.guard(16),
    ),
    Row(
        "csv-postgresql",
        "CSV export of a clean set, PostgreSQL",
        "s",
        20,
        12,
        partial(queries.export_csv, "PostgreSQL"),
        500_002,
        guard=queries.guard(24),
    ),
    Row(
        "bounds-sqlite",
        "all of label_threshold, SQLite",
        "s",
        3,
        1.5,
        partial(queries.bounds, "SQLite"),
        500_002,
        guard=queries.guard(14),
    ),
    Row(
        "bounds-postgresql",
        "all of label_threshold, PostgreSQL",
        "s",
        4,
        2,
        partial(queries.bounds, "PostgreSQL"),
        500_002,
        guard=queries.guard(18),
    ),
    Row(
        "reasons-sqlite",
        "clean_cell counted by reason, SQLite",
        "s",
        1,
        0.5,
        partial(queries.reasons, "SQLite"),
        500_002,
        guard=queries.guard(1),
    ),
    Row(
        "reasons-postgresql",
        "clean_cell counted by reason, PostgreSQL",
        "s",
        2,
        1,
        partial(queries.reasons, "PostgreSQL"),
        500_002,
        guard=queries.guard(3),
    ),
    Row(
        "one-image",
        "image_summary of one image",
        "s",
        0.05,
        0.02,
        queries.one_image,
        500_002,
        guard=queries.guard(0.1),
    ),
    Row(
        "three-channels",
        "cell_stats by measures of three channels",
        "s",
        0.4,
        0.2,
        queries.three_channels,
        500_002,
        guard=queries.guard(1),
    ),
    Row("queries", _QUERIES, "s", 2, 1, queries.worked, 500_002, guard=queries.guard(6)),
    Row("write", _WRITING, "ratio", 1.3, 1.05, stores.write_image, 1_000_000),
    Row("help", "hpastore --help", "s", 0.3, 0.3, startup.show_help, checked=False),
    Row("status", "hpastore status", "s", 0.8, 0.8, startup.show_status, checked=False),
)
"""In the order of the promises; measured in the order of the cells that they need."""
