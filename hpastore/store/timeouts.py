"""How long a store waits: for another process that writes, and for a server that went away."""

from __future__ import annotations

from typing import Final

BUSY_TIMEOUT_S: Final = 300
"""For another process that writes; to write a clean set of millions of cells takes a minute."""

RECONNECT_TIMEOUT_S: Final = 30
"""For a PostgreSQL server whose connection was lost."""
