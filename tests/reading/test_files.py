from __future__ import annotations

import hashlib
import os
import socket
import threading
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest

from hpastore.errors import RejectedError
from hpastore.model import FileRecord
from hpastore.reading import read_file


def assert_rejected(code: str, path: Path, limit: int = 100) -> None:
    with pytest.raises(RejectedError) as caught:
        read_file(path, "green", "x", limit)
    assert caught.value.code == code
    assert caught.value.path == path
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"a", b"x" * 100], ids=["empty", "one byte", "at the limit"])
def test_a_file_is_read_whole_and_recorded(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(content)
    os.utime(path, ns=(0, 1_234_567_890_123_456_789))
    digest = hashlib.sha256(content).hexdigest()
    want = FileRecord("green", "train/a.png", len(content), 1_234_567_890_123_456_789, digest)
    assert read_file(path, "green", "train/a.png", 100) == (content, want)


def test_a_link_is_read_as_the_file_it_names(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"hello")
    (tmp_path / "link").symlink_to("a")
    assert read_file(tmp_path / "link", "green", "link")[0] == b"hello"


def test_a_file_over_the_limit_is_too_large(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(bytes(101))
    assert_rejected("too_large", tmp_path / "a")


def test_a_sparse_file_of_a_terabyte_is_refused_before_it_is_read(tmp_path: Path) -> None:
    with (tmp_path / "a").open("wb") as file:
        file.truncate(2**40)
    assert_rejected("too_large", tmp_path / "a", limit=2**30)


def test_a_file_or_the_target_of_a_link_that_is_not_there_is_missing(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("nowhere")
    assert_rejected("missing_file", tmp_path / "a")
    assert_rejected("missing_file", tmp_path / "no" / "a")
    assert_rejected("missing_file", tmp_path / "link")


def test_a_fifo_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a")
    assert_rejected("io", tmp_path / "a")


def test_what_is_no_regular_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "plain").write_bytes(b"")
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    assert_rejected("io", tmp_path)
    assert_rejected("io", Path(os.devnull))
    assert_rejected("io", tmp_path / "a")
    assert_rejected("io", tmp_path / "plain" / "below a file")
    assert_rejected("io", tmp_path / ("x" * 300))


@pytest.mark.skipif(not Path("/proc/version").exists(), reason="Linux has such files")
def test_a_file_that_holds_more_than_it_says_is_refused() -> None:
    assert_rejected("io", Path("/proc/version"))


def test_a_socket_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # the path of a socket has at most about 100 bytes
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("s")
        assert_rejected("io", Path("s"))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission_is_an_io_failure(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"")
    (tmp_path / "a").chmod(0)
    assert_rejected("io", tmp_path / "a")


def append(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"more")


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def overwrite_and_set_back_the_clock(path: Path) -> None:
    before = path.stat()
    path.write_bytes(b"y" * before.st_size)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def rename_over(path: Path) -> None:
    new = path.with_suffix(".new")
    new.write_bytes(b"new")
    new.replace(path)


CHANGES = [append, truncate, overwrite_and_set_back_the_clock, rename_over]


def disturb(monkeypatch: pytest.MonkeyPatch, change: Callable[[], None], times: int) -> None:
    """Change the file after each of the first `times` readings, before the second look at it."""
    looks = count(1)
    fstat = os.fstat

    def look(fd: int) -> os.stat_result:
        n = next(looks)
        if n % 2 == 0 and n <= 2 * times:
            change()
        return fstat(fd)

    monkeypatch.setattr(os, "fstat", look)


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A file whose last change is some ticks of the file system's clock ago."""
    path = tmp_path / "a"
    path.write_bytes(b"x" * 64)
    time.sleep(0.03)
    return path


@pytest.mark.parametrize("change", CHANGES)
def test_a_file_that_changes_while_it_is_read_is_read_again(
    old: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[Path], None]
) -> None:
    disturb(monkeypatch, lambda: change(old), times=2)
    data, record = read_file(old, "green", "a")
    assert data == old.read_bytes()
    assert data != b"x" * 64
    assert record.sha256 == hashlib.sha256(data).hexdigest()
    assert record.mtime_ns == old.stat().st_mtime_ns


def test_a_file_that_never_rests_is_given_up_after_three_readings(
    old: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disturb(monkeypatch, lambda: append(old), times=99)
    with pytest.raises(RejectedError, match="changes while it is read") as caught:
        read_file(old, "green", "a")
    assert caught.value.code == "io"
    assert old.stat().st_size == 64 + 3 * len(b"more")


def test_of_a_file_that_is_replaced_all_the_time_one_whole_version_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a"
    versions = [bytes([i]) * (50_000 + i) for i in range(4)]
    path.write_bytes(versions[0])
    done = threading.Event()

    def replace() -> None:
        while not done.is_set():
            for version in versions:
                (tmp_path / "new").write_bytes(version)
                (tmp_path / "new").replace(path)

    thread = threading.Thread(target=replace)
    thread.start()
    try:
        read = [attempt(path) for _ in range(300)]
    finally:
        done.set()
        thread.join()
    assert set(read) <= {*versions, None}
    assert any(read)


def attempt(path: Path) -> bytes | None:
    try:
        data, record = read_file(path, "green", "a")
    except RejectedError:
        return None
    assert record.sha256 == hashlib.sha256(data).hexdigest()
    return data


def test_no_file_is_left_open_by_a_failure(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(bytes(101))
    before = len(list(Path("/dev/fd").iterdir()))
    for _ in range(5):
        assert_rejected("too_large", tmp_path / "a")
        assert_rejected("io", tmp_path)
    assert len(list(Path("/dev/fd").iterdir())) == before
