"""Waiting for a condition, as long as a busy machine may take; no test asks how long it took."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

PATIENCE_S = 120
"""After this something hangs; nothing that is waited for takes more than a few seconds on a quiet machine."""


def wait_until(holds: Callable[[], object], what: str = "what was waited for") -> None:
    """Return as soon as a condition holds."""
    end = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < end, f"{what} has not come in {PATIENCE_S} s"
        time.sleep(0.02)


def cpu_seconds(pid: int) -> float:
    """Time that a process has computed, on Linux: who is in an endless statement computes on and on."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


BUSY = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND state IS DISTINCT FROM 'idle' AND pid <> pg_backend_pid()
  AND backend_type IN ('client backend', 'parallel worker')
"""
"""Count the others that PostgreSQL works for."""

BLOCKED = f"{BUSY} AND wait_event_type = 'Lock'"
"""Count those of them that wait for a lock."""
