from __future__ import annotations

import errno
import hashlib
import io
import os
import random
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from hpastore.errors import RejectedError
from hpastore.model import FileRecord
from hpastore.reading import MAX_FILE_BYTES, files, read_file
from tests.conftest import Figure, Trials


def assert_rejected(code: str, path: Path, limit: int = 100) -> None:
    with pytest.raises(RejectedError) as caught:
        read_file(path, "green", "x", limit)
    assert caught.value.code == code
    assert caught.value.path == path
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "content", [b"", b"a", b"x" * 100], ids=["empty", "one byte", "at the limit"]
)
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


def test_a_link_out_of_its_folder_is_followed_wherever_it_leads(tmp_path: Path) -> None:
    (tmp_path / "disk" / "deep").mkdir(parents=True)
    (tmp_path / "disk" / "deep" / "a").write_bytes(b"hello")
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "train").symlink_to(tmp_path / "disk" / "deep")
    (tmp_path / "root" / "link").symlink_to("../disk/deep/a")
    assert read_file(tmp_path / "root" / "train" / "a", "green", "a")[0] == b"hello"
    assert read_file(tmp_path / "root" / "link", "green", "link")[0] == b"hello"


def test_a_link_to_what_is_no_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for target in ("fifo", ".", os.devnull):
        (tmp_path / "link").symlink_to(target)
        assert_rejected("io", tmp_path / "link")
        (tmp_path / "link").unlink()


def test_a_file_over_the_limit_is_too_large(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(bytes(101))
    assert_rejected("too_large", tmp_path / "a")


def test_a_sparse_file_of_a_terabyte_is_refused_before_it_is_read(tmp_path: Path) -> None:
    with (tmp_path / "a").open("wb") as file:
        file.truncate(2**40)
    assert_rejected("too_large", tmp_path / "a", limit=MAX_FILE_BYTES)


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
    assert_rejected("changed", Path("/proc/version"))


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


@pytest.mark.parametrize(
    "code", [errno.EIO, errno.ESTALE, errno.ENOTCONN, errno.EMFILE], ids=errno.errorcode.get
)
@pytest.mark.parametrize("call", ["open", "fstat"])
def test_a_disk_that_fails_is_an_io_failure_with_what_it_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, call: str
) -> None:
    (tmp_path / "a").write_bytes(b"hello")

    def fail(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as patch:
        patch.setattr(os, call, fail)
        with pytest.raises(RejectedError) as caught:
            read_file(tmp_path / "a", "green", "a")
    assert caught.value.code == "io"
    assert os.strerror(code) in caught.value.reason


def test_a_disk_that_fails_in_the_midst_of_a_file_is_an_io_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a").write_bytes(b"hello")

    class Failing(io.FileIO):
        def readall(self) -> bytes:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

        def readinto(self, _: object) -> int:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    def opened(path: Path, mode: str, opener: Callable[[str, int], int]) -> io.BufferedReader:
        return io.BufferedReader(Failing(path, mode.replace("b", ""), opener=opener))

    monkeypatch.setattr(files, "open", opened, raising=False)
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
    """Change the file after each of the first `times` readings, before the last look at it."""
    left = [None] * times
    fstat = os.fstat

    def look(fd: int) -> os.stat_result:
        if left and os.lseek(fd, 0, os.SEEK_CUR):
            left.pop()
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
    disturb(monkeypatch, lambda: change(old), times=3)
    data, record = read_file(old, "green", "a")
    assert data == old.read_bytes()
    assert data != b"x" * 64
    assert record.sha256 == hashlib.sha256(data).hexdigest()
    assert record.mtime_ns == old.stat().st_mtime_ns


def test_a_file_that_never_rests_is_read_again_three_times_and_given_up(
    old: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disturb(monkeypatch, lambda: append(old), times=99)
    with pytest.raises(RejectedError, match="changes while it is read") as caught:
        read_file(old, "green", "a")
    assert caught.value.code == "changed"
    assert old.stat().st_size == 64 + 4 * len(b"more")


def test_a_change_that_leaves_no_trace_in_coarse_times_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the clock of the file system has not moved on between two changes, the file is let rest."""
    path = tmp_path / "a"
    path.write_bytes(b"x" * 64)
    fstat = os.fstat

    def look(fd: int) -> SimpleNamespace:
        """Write after the reading; tell times as a clock would that ticks every 5 ms."""
        if os.lseek(fd, 0, os.SEEK_CUR):
            os.pwrite(writer, b"y", 0)
        found = fstat(fd)
        tick = found.st_ctime_ns // 5_000_000 * 5_000_000
        same = {name: getattr(found, name) for name in ("st_ino", "st_size", "st_mode")}
        return SimpleNamespace(**same, st_mtime_ns=tick, st_ctime_ns=tick)

    monkeypatch.setattr(os, "fstat", look)
    writer = os.open(path, os.O_WRONLY)
    try:
        with pytest.raises(RejectedError, match="changes while it is read"):
            read_file(path, "green", "a")
    finally:
        os.close(writer)


def rewrite(path: Path, version: bytes, rng: random.Random) -> None:
    """Write over a file in four pieces, or put another in its place."""
    if rng.random() < 0.3:
        path.with_suffix(".new").write_bytes(version)
        path.with_suffix(".new").replace(path)
        return
    with path.open("r+b", buffering=0) as file:
        for start in range(0, len(version), len(version) // 4):
            file.write(version[start : start + len(version) // 4])
            time.sleep(rng.choice((0, 0, 0.001, 0.004)))


@pytest.mark.soak
def test_of_a_file_that_is_rewritten_all_the_time_one_whole_version_is_read(
    tmp_path: Path, trials: Trials, figure: Figure
) -> None:
    path, rng = tmp_path / "a", random.Random(5)
    versions = [bytes([i]) * 200_000 for i in range(16)]
    path.write_bytes(versions[0])
    done = threading.Event()

    def write() -> None:
        while not done.is_set():
            rewrite(path, rng.choice(versions), rng)
            time.sleep(rng.choice((0, 0, 0, 0.005, 0.05)))

    thread = threading.Thread(target=write)
    thread.start()
    rounds = trials(quick=100, full=100, soak=2000)
    try:
        read = [attempt(path) for _ in range(rounds)]
    finally:
        done.set()
        thread.join()
    assert set(read) <= {*versions, None}
    whole = sum(data is not None for data in read)
    assert whole
    figure(
        f"files: {rounds} readings of one that is rewritten: {whole} whole, {rounds - whole} refused, 0 torn"
    )


def attempt(path: Path) -> bytes | None:
    try:
        data, record = read_file(path, "green", "a")
    except RejectedError as error:
        assert error.code == "changed"
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
