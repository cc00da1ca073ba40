"""Start, limit and end the worker process of a query.

Context: a query may take any time and memory.  No handler stops SQLite within one call of a
function, and PostgreSQL's driver copies any value that the server sends, of up to 1 GB, several
times.  Decision: each query runs in a process of its own, `hpastore.store.sandbox.worker`, that can
be killed, has limited memory, can create no file, and dies with this process.
"""

from __future__ import annotations

import marshal
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, Final

from hpastore.store.sandbox import worker
from hpastore.store.sandbox.worker import QueryFailed

Message = tuple[Any, ...]

_START_TIMEOUT_S: Final = 60
"""How long the worker may take to start and to connect to the database."""

_GRACE_S: Final = 0.75
"""Added to a query's timeout, in which its database should stop it."""

_LOADER_VARIABLES: Final = ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "DYLD_FALLBACK_LIBRARY_PATH")
"""Environment variables without which some builds of Python cannot start."""

_MAX_POLL_MS: Final = 2**31 - 1
"""The longest wait that poll accepts."""

_KIND_OF_SIGNAL: Final[dict[int, str]] = {signal.SIGXCPU: "time", signal.SIGKILL: "memory"}
"""Kinds of failure of a worker that the system killed; it sends SIGKILL when memory runs out."""


@contextmanager
def running_query(
    request: Mapping[str, Any], environment: Mapping[str, str]
) -> Iterator[Iterator[Message]]:
    """Start a worker and give its messages; kill it at the end.

    Parameters
    ----------
    request
        ``sql``, ``timeout`` in seconds, ``max_bytes`` of one row; for SQLite ``uri``; for
        PostgreSQL ``conninfo``, the statements to run ``before``, and the ``path`` of Python's
        packages.
    environment
        Variables that the worker may see.

    Yields
    ------
    iterator of tuple
        ``("columns", names, types)``, then ``("rows", rows, bytes)`` until there are no more.

    Raises
    ------
    QueryFailed
        By the iterator, if the query fails.
    """
    loader = {name: os.environ[name] for name in _LOADER_VARIABLES if name in os.environ}
    with _start_worker({**loader, **environment}) as process:
        try:
            yield _messages(process, request)
        finally:
            process.kill()


def _start_worker(environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(  # noqa: S603 our own file, and no shell
            [sys.executable, "-I", "-S", "-X", "utf8", worker.__file__, str(os.getpid())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
        )
    except OSError as error:  # no more processes, no more memory
        raise QueryFailed("died", f"it did not start: {error}") from error


def _messages(process: subprocess.Popen[bytes], request: Mapping[str, Any]) -> Iterator[Message]:
    assert process.stdin is not None
    with suppress(BrokenPipeError), process.stdin as stdin:  # it may have died: reading tells why
        stdin.write(marshal.dumps(dict(request)))
    end = time.monotonic() + _START_TIMEOUT_S
    kind_if_late = "start"
    while True:
        message = _receive(process, end, kind_if_late)
        match message:
            case ("started",):
                end = time.monotonic() + request["timeout"] + _GRACE_S
                kind_if_late = "time"
            case ("failed", kind, detail):
                raise QueryFailed(kind, detail)
            case ("done",):
                return
            case _:
                yield message


def _receive(process: subprocess.Popen[bytes], end: float, kind_if_late: str) -> Message:
    length = int.from_bytes(_read(process, 4, end, kind_if_late), "big")
    content = _read(process, length, end, kind_if_late)
    message: Message = marshal.loads(content)  # noqa: S302 of our own worker
    return message


def _read(
    process: subprocess.Popen[bytes], length: int, end: float, kind_if_late: str
) -> bytearray:
    """Read a number of bytes; fail with a kind if they do not come in time."""
    assert process.stdout is not None
    stdout = process.stdout.fileno()
    ready = select.poll()
    ready.register(stdout, select.POLLIN)
    read = bytearray()
    while len(read) < length:
        seconds_left = end - time.monotonic()
        if seconds_left < 0:
            raise QueryFailed(kind_if_late, "no answer in time")
        if ready.poll(min(1000 * seconds_left, _MAX_POLL_MS)):
            part = os.read(stdout, length - len(read))
            if not part:
                raise _died(process)
            read += part
    return read


def _died(process: subprocess.Popen[bytes]) -> QueryFailed:
    """Make the failure of a worker that ended without a message."""
    code = process.wait()
    return QueryFailed(_KIND_OF_SIGNAL.get(-code, "died"), f"exit code {code}")
