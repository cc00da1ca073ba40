"""Do one thing in a process of its own, and print the most memory that it and its workers had.

``python -m scripts.benchmark.peak ingest ROOT DB JOBS`` or ``... coco|mmdet DB OUT`` prints a JSON
object of MB.  A process begins anew only with its own count of pages: ``ru_maxrss`` would show what
the process that started it had.
"""

from __future__ import annotations

import json
import multiprocessing
import resource
import sys
from pathlib import Path
from typing import Final

import hpastore

_MB: Final = 10**6


def main(kind: str, *given: str) -> None:
    """Do it, and print the peaks."""
    workers = ingest(*given) if kind == "ingest" else export(kind, *given)
    print(json.dumps({"main": _peak("self"), "worker": workers}))


def ingest(root: str, path: str, jobs: str) -> float:
    """Ingest a data set, and give the peak of the greediest worker."""
    most = 0.0

    def look(*_: int) -> None:
        nonlocal most
        peaks = [_peak(str(child.pid)) for child in multiprocessing.active_children()]
        most = max([most, *peaks])

    with hpastore.open_store(path, create=True) as store:
        hpastore.ingest(store, root, jobs=int(jobs), progress=look)
    return most


def export(kind: str, url: str, out: str) -> float:
    """Write an export of all cells; there are no workers."""
    write = hpastore.export_coco if kind == "coco" else hpastore.export_mmdet
    with hpastore.open_store(url) as store:
        write(store, Path(out), force=True)
    return 0.0


def _peak(process: str) -> float:
    """Most resident memory that a process had so far, MB."""
    status = Path("/proc") / process / "status"
    if status.exists():
        lines = dict(line.split(":", 1) for line in status.read_text().splitlines())
        return int(lines["VmHWM"].split()[0]) * 1024 / _MB
    # Only Linux tells it of another process; elsewhere it is known of those that have ended.
    who = resource.RUSAGE_SELF if process == "self" else resource.RUSAGE_CHILDREN
    return resource.getrusage(who).ru_maxrss / _MB


if __name__ == "__main__":
    main(*sys.argv[1:])
