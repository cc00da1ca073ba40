"""A run that is stopped keeps what was finished, and the next one goes on."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from sqlalchemy.exc import ProgrammingError

import hpastore
from hpastore.errors import HpastoreError
from hpastore.store.engine import connect
from hpastore.store.read import counts
from tests.world import scalar


def stored(url: str) -> int:
    """Number of images in a store that may still be in the making."""
    try:
        with connect(url) as store, store.reading() as connection:
            return counts(connection)["images"]
    except (HpastoreError, ProgrammingError) as error:
        assert "no such" in str(error) or "does not exist" in str(error), error
        return 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_keeps_what_was_finished(empty_url: str, tmp_path: Path, number: signal.Signals) -> None:
    root = hpastore.make_sample(tmp_path / "data", n=40, size=400)
    command = [sys.executable, "-m", "hpastore", "--db", empty_url, "ingest", str(root), "-j", "2"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        end = time.monotonic() + 60
        while stored(empty_url) < 3:
            assert time.monotonic() < end
            time.sleep(0.02)
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert out == ""
    assert err == "hpastore: stopped; what was finished is kept\n"
    before = stored(empty_url)
    assert 3 <= before < 40
    with hpastore.open_store(empty_url) as store:
        summary = hpastore.ingest(store, root, jobs=2)
        assert (summary.new, summary.unchanged) == (40 - before, before)
        cells = "SELECT count(*) FROM cell WHERE image_id = i.id"
        assert scalar(store, f"SELECT count(*) FROM image i WHERE cell_count <> ({cells})") == 0
