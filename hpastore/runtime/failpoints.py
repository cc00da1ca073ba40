"""Named places where a test may make the program fail.

A place does nothing unless ``$HPASTORE_FAILPOINT`` arms it as ``PLACE:N:ACTION``: the N-th time
that a process gets there it is killed (``kill``), meets a bug (``raise``), a full disk (``full``),
loses all its connections (``lose``), is stopped until a signal resumes it (``stop``), or does
nothing any more (``hang``).  What a store holds afterwards is what the tests of crashes look at.
"""

from __future__ import annotations

import errno
import os
import signal
import socket
import stat
import time
from collections import Counter
from pathlib import Path
from typing import Final

VARIABLE: Final = "HPASTORE_FAILPOINT"

reached: Final = Counter[str]()
"""How often each place was reached in this process, while any was armed."""


def failpoint(place: str) -> None:
    """Do nothing, unless a test has armed the place.

    Parameters
    ----------
    place : str
        Such as ``image.cells``; the part before the dot says what is being done.  A worker is at
        ``measure.NAME`` when it begins an image.
    """
    armed = os.environ.get(VARIABLE)
    if armed is None:
        return
    reached[place] += 1
    name, nth, action = armed.split(":")
    if name == place and reached[place] == int(nth):
        _fail(place, action)


def _fail(place: str, action: str) -> None:
    if action == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif action == "full":
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), place)
    elif action == "lose":
        _lose_connections()
    elif action == "stop":
        os.kill(os.getpid(), signal.SIGSTOP)
    elif action == "hang":
        time.sleep(1_000_000)
    else:
        raise RuntimeError(f"failpoint {place}")


def _lose_connections() -> None:
    """End all sockets of this process, as a network that goes away does; on Linux."""
    for link in Path("/proc/self/fd").iterdir():
        number = int(link.name)
        try:
            is_socket = stat.S_ISSOCK(os.fstat(number).st_mode)
        except OSError:  # that of the listing itself
            continue
        if is_socket:
            with socket.socket(fileno=os.dup(number)) as connection:
                connection.shutdown(socket.SHUT_RDWR)
