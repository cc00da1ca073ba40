from __future__ import annotations

import pickle

import pytest

from hpastore import errors

EVERY = [
    errors.UsageError("said"),
    errors.InputError("a/b", "said"),
    errors.RejectedError("png", "a/b", "said"),
    errors.MissingFileError("said", "a/b"),
    errors.ExportError("a/b", "said"),
    errors.NoRoomError("a/b", "said"),
    errors.SchemaMissingError("cells.db", "said"),
    errors.SchemaOldError("cells.db", "said"),
    errors.SchemaNewError("cells.db", "said"),
    errors.UnavailableError("cells.db", "said"),
    errors.DisconnectedError("cells.db", "said"),
    errors.InstallationError("said"),
    errors.DamagedError("cell a:1", "said"),
    errors.WorkerError("said"),
    errors.MeasureError("blob", "said"),
    errors.NotFoundError("said"),
    errors.QueryError("said"),
]


@pytest.mark.parametrize("error", EVERY, ids=lambda error: type(error).__name__)
def test_an_error_comes_whole_out_of_a_worker_process(error: errors.HpastoreError) -> None:
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert str(again) == str(error)
    assert vars(again) == vars(error)
    assert "said" in str(error)


def test_every_error_descends_from_the_root_and_stands_in_the_tree() -> None:
    found = [
        cls for cls in vars(errors).values() if isinstance(cls, type) and issubclass(cls, Exception)
    ]
    assert len(found) > 10
    never_raised = {errors.HpastoreError, errors.FileError, errors.StoreError}
    assert set(found) - never_raised == {type(error) for error in EVERY}
    for cls in found:
        assert issubclass(cls, errors.HpastoreError)
        assert f"{cls.__name__}" in str(errors.__doc__)
