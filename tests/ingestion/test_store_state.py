from __future__ import annotations

from pathlib import Path

from hpastore.ingestion.discover import discover
from hpastore.ingestion.layout import Layout
from hpastore.ingestion.policy import Policy
from hpastore.ingestion.run import ingest
from hpastore.ingestion.store_state import StoreState, read_state
from hpastore.model import Inputs
from hpastore.store.engine import Store
from hpastore.vocabulary import ROLES
from tests.world import dataset, name_of, write_image

A, B, C = map(name_of, range(3))


def current(store: Store, inputs: Inputs, policy: Policy | None = None) -> StoreState:
    return read_state(store, None, policy or Policy()).with_roots(store, inputs, ())


def spoil(root: Path, name: str) -> None:
    (root / "train" / f"{name}_red.png").write_bytes(b"no picture")


def test_the_store_is_read_as_it_was_ingested(store: Store, tmp_path: Path) -> None:
    root = dataset(tmp_path, 3)
    spoil(root, B)
    ingest(store, Layout(root, split="train"), executor="serial")
    state = read_state(store, None, Policy())
    assert sorted(state.images) == [A, C]
    image = state.images[A]
    assert (image.root, image.split, image.labels) == (str(root), "train", (0,))
    assert image.files == next(s.files for s in discover(Layout(root)).sources if s.name == A)
    assert state.rejected[B].failure.code == "not_png"
    assert state.settings.background_percentile == 0.99
    assert read_state(store, 0.5, Policy()).settings.background_percentile == 0.5


def test_pieces_are_read_only_for_a_run_that_may_split_masks(store: Store, tmp_path: Path) -> None:
    root = dataset(tmp_path, 2)
    mask = (read_mask(root, A) > 0).astype("uint8")
    write_image(root, A, mask=mask)
    ingest(store, root, executor="serial")
    usual = read_state(store, None, Policy())
    splits = read_state(store, None, Policy(binary_mask="components"))
    assert [usual.images[name].in_pieces for name in (A, B)] == [False, False]
    assert [splits.images[name].in_pieces for name in (A, B)] == [True, False]


def read_mask(root: Path, name: str):  # type: ignore[no-untyped-def]  # an array
    import numpy as np

    with np.load(root / "hpa_cell_mask" / f"{name}.npz") as file:
        return file["arr_0"]


def test_a_moved_root_takes_its_images_and_its_rejected_ones_along(
    store: Store, tmp_path: Path
) -> None:
    root = dataset(tmp_path / "old", 3)
    spoil(root, C)
    ingest(store, root, executor="serial")
    moved = root.rename(tmp_path / "new")
    inputs = discover(Layout(moved))
    state = current(store, inputs)
    assert {image.root for image in state.images.values()} == {str(moved)}
    rejection = state.rejected[C]
    assert (rejection.root, str(root) in rejection.failure.message) == (str(moved), False)
    assert f"{moved}/train/{C}_red.png" in rejection.failure.message
    assert state.policy.origins == {A: str(root), B: str(root)}
    assert state.compare(inputs).work == 0


def test_images_stay_in_another_root_whose_files_still_exist(store: Store, tmp_path: Path) -> None:
    root = dataset(tmp_path / "one", 2)
    ingest(store, root, executor="serial")
    copy = dataset(tmp_path / "two", 2)
    state = current(store, discover(Layout(copy)))
    assert state.policy.kept == {A, B}
    assert {image.root for image in state.images.values()} == {str(root)}


def test_only_files_of_the_same_size_are_compared_by_their_bytes(
    store: Store, tmp_path: Path
) -> None:
    root = dataset(tmp_path, 3)
    ingest(store, root, executor="serial")
    for name in (A, B):
        (root / "train" / f"{name}_red.png").touch()
    with (root / "train" / f"{B}_red.png").open("r+b") as file:
        file.write(b"\0")
    (root / "train" / f"{C}_red.png").write_bytes(b"another size")
    inputs = discover(Layout(root))
    state = current(store, inputs)
    todo = state.compare(inputs)
    assert [change.source.name for change in todo.doubtful] == [A, B]
    assert state.compare_bytes(store, inputs, todo) == {A: (), B: ("red",)}
    assert ROLES[0] == "red"


def test_a_failure_is_tried_again_once_its_file_can_be_read(store: Store, tmp_path: Path) -> None:
    root = dataset(tmp_path, 2)
    red = root / "train" / f"{A}_red.png"
    pixels = red.read_bytes()
    red.unlink()
    red.mkdir()
    ingest(store, root, executor="serial")
    inputs = discover(Layout(root))
    assert [failure.image_name for failure in current(store, inputs).compare(inputs).rejected] == [
        A
    ]
    red.rmdir()
    red.write_bytes(pixels)
    inputs = discover(Layout(root))
    assert [source.name for source in current(store, inputs).compare(inputs).new] == [A]
