"""A process of its own for each of the user's queries, which may take time and memory at will.

Context: no handler stops SQLite within one call of a function, and the driver of PostgreSQL takes any
value that the server sends, of up to 1 GB, several times.  Hence a child that can be killed, whose
memory is limited, that can make no file and that dies with this process.  `hpastore.store.sandbox.worker` is
what runs there.
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
from hpastore.store.sandbox.worker import Refused

Message = tuple[Any, ...]

_START_S: Final = 60
"""How long the child may take to start and to reach the database."""

_GRACE_S: Final = 0.75
"""How much longer than its timeout a query is waited for: its database is to stop it."""

_LOADER: Final = ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "DYLD_FALLBACK_LIBRARY_PATH")
"""Variables that some Pythons need to start at all."""

_MOST_MS: Final = 2**31 - 1
"""Milliseconds that poll counts."""

_ENDS: Final[dict[int, str]] = {signal.SIGXCPU: "time", signal.SIGKILL: "memory"}
"""Why a child that says nothing is gone; the system kills where memory runs out."""


@contextmanager
def answering(asked: Mapping[str, Any], environment: Mapping[str, str]) -> Iterator[Iterator[Message]]:
    """Start a child and give what it says; kill it at the end.

    Parameters
    ----------
    asked
        ``sql``, ``timeout`` in seconds, ``max_bytes`` of one row; for SQLite ``uri``; for PostgreSQL
        ``conninfo``, the statements to run ``before``, and the ``path`` of Python's packages.
    environment
        Variables that the child may see.

    Yields
    ------
    iterator of tuple
        ``("columns", names, types)``, then ``("rows", rows, bytes)`` until all are told.

    Raises
    ------
    Refused
        By the iterator, if the query fails.
    """
    loader = {name: os.environ[name] for name in _LOADER if name in os.environ}
    with _started({**loader, **environment}) as child:
        try:
            yield _messages(child, asked)
        finally:
            child.kill()


def _started(environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(  # noqa: S603 our own file, and no shell
            [sys.executable, "-I", "-S", "-X", "utf8", worker.__file__, str(os.getpid())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
        )
    except OSError as error:  # no more processes, no more memory
        raise Refused("died", f"it did not start: {error}") from error


def _messages(child: subprocess.Popen[bytes], asked: Mapping[str, Any]) -> Iterator[Message]:
    assert child.stdin is not None
    with suppress(BrokenPipeError), child.stdin as stdin:  # of a child that died: we ask it next
        stdin.write(marshal.dumps(dict(asked)))
    end, late = time.monotonic() + _START_S, "start"
    while True:
        message = _receive(child, end, late)
        match message:
            case ("begun",):
                end, late = time.monotonic() + asked["timeout"] + _GRACE_S, "time"
            case ("failed", kind, said):
                raise Refused(kind, said)
            case ("done",):
                return
            case _:
                yield message


def _receive(child: subprocess.Popen[bytes], end: float, late: str) -> Message:
    length = int.from_bytes(_read(child, 4, end, late), "big")
    message: Message = marshal.loads(_read(child, length, end, late))  # noqa: S302 our own child's
    return message


def _read(child: subprocess.Popen[bytes], length: int, end: float, late: str) -> bytearray:
    assert child.stdout is not None
    stdout = child.stdout.fileno()
    ready = select.poll()
    ready.register(stdout, select.POLLIN)
    read = bytearray()
    while len(read) < length:
        left = end - time.monotonic()
        if left < 0:
            raise Refused(late, "no answer in time")
        if ready.poll(min(1000 * left, _MOST_MS)):
            part = os.read(stdout, length - len(read))
            if not part:
                raise Refused(*_end(child))
            read += part
    return read


def _end(child: subprocess.Popen[bytes]) -> tuple[str, str]:
    """Say why a child ended without a word."""
    code = child.wait()
    return _ENDS.get(-code, "died"), f"exit code {code}"
