from __future__ import annotations

from hpastore.ingestion.stamps import differing_roles, files_to_compare, sizes
from hpastore.kernels.definitions import VERSIONS
from hpastore.model import Change, FileStamp, MeasurementSettings, Source, StoredImage
from hpastore.vocabulary import CELL_MASK, CHANNELS, NUCLEUS_MASK

ROLES = (*CHANNELS, CELL_MASK)
FILES = tuple(FileStamp(role, f"train/a_{role}", 10, 1) for role in ROLES)
STORED = StoredImage("/data", None, (0,), FILES, MeasurementSettings(0.99, VERSIONS))


def test_files_differ_by_uri_size_or_time() -> None:
    assert differing_roles(FILES, FILES) == ()
    for change in ({"uri": "other"}, {"size": 11}, {"mtime_ns": 2}):
        other = (FILES[0], FILES[1]._replace(**change), *FILES[2:])
        assert differing_roles(other, FILES) == ("green",)


def test_files_that_were_added_or_removed_differ() -> None:
    assert differing_roles(FILES[:-1], FILES) == (CELL_MASK,)
    assert differing_roles(FILES, FILES[1:]) == ("red",)


def test_only_files_of_the_same_size_are_compared_by_their_bytes() -> None:
    found = (FILES[0]._replace(size=11), *(file._replace(mtime_ns=2) for file in FILES[1:]))
    change = Change(Source("a", (0,), found), ROLES)
    assert [file.role for file in files_to_compare(change, STORED)] == [
        "green",
        "blue",
        "yellow",
        CELL_MASK,
    ]
    removed = Change(Source("a", (0,), FILES), (NUCLEUS_MASK,))
    assert files_to_compare(removed, STORED) == ()
    assert sizes(FILES) == dict.fromkeys(ROLES, 10)
