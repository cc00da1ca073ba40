from __future__ import annotations

from pathlib import Path

import pytest

from hpastore.ingestion.policy import Policy
from hpastore.ingestion.safeguard import reason_to_stop
from hpastore.kernels.definitions import VERSIONS
from hpastore.model import FileStamp, Inputs, MeasurementSettings, Source, StoredImage
from hpastore.vocabulary import CELL_MASK, CHANNELS, NUCLEUS_MASK

ROOT = Path("/data")
SETTINGS = MeasurementSettings(0.99, VERSIONS)


def files(*roles: str) -> tuple[FileStamp, ...]:
    return tuple(FileStamp(role, f"train/{role}.png", 1, 1) for role in roles)


CHANNELS_AND_MASK = files(*CHANNELS, CELL_MASK)


def stored(n: int, root: str = "/data", *, gone: bool = False) -> dict[str, StoredImage]:
    """N images, named after their root."""
    image = StoredImage(root, None, (0,), CHANNELS_AND_MASK, SETTINGS, gone)
    return {f"{root}-{i:03}": image for i in range(n)}


def inputs(names: list[str], **rest: object) -> Inputs:
    sources = tuple(Source(name, (0,), CHANNELS_AND_MASK) for name in names)
    return Inputs(ROOT, sources, (), **rest)  # type: ignore[arg-type]  # by name


def reason(images: dict[str, StoredImage], gone: int, policy: Policy | None = None) -> str | None:
    """Why a run stops that misses the last images of the root."""
    live = [name for name, image in images.items() if image.root == "/data" and not image.gone]
    present = live[: len(live) - gone]
    return reason_to_stop(inputs(present), images, policy or Policy(), live[len(present) :])


@pytest.mark.parametrize(
    ("gone", "live", "stops"),
    [
        (0, 1, False),
        (1, 1, True),
        (1, 2, False),
        (3, 3, True),
        (10, 11, False),
        (11, 12, True),
        (11, 54, True),
        (11, 55, False),
        (20, 100, False),
        (21, 100, True),
    ],
)
def test_more_than_a_fifth_and_more_than_ten_or_all_stop_a_run(
    gone: int, live: int, stops: bool
) -> None:
    assert (reason(stored(live), gone) is not None) is stops
    assert reason(stored(live), gone, Policy(allow_gone=gone)) is None
    if stops:
        assert reason(stored(live), gone, Policy(allow_gone=gone - 1)) is not None


def test_images_of_other_roots_and_images_marked_before_do_not_count() -> None:
    others = stored(100, "/other")
    before = {f"before-{name}": image for name, image in stored(100, gone=True).items()}
    assert reason(stored(12) | others | before, 11) is not None
    assert reason(others | before, 0) is None


def test_the_images_of_a_moved_root_count_by_themselves() -> None:
    moved = {f"moved-{name}": image for name, image in stored(5).items()}
    images = stored(100) | moved
    assert reason(images, 5) is None
    assert reason(images, 5, Policy(origins=dict.fromkeys(moved, "/before"))) is not None


def test_the_reason_counts_what_is_missing_and_says_what_to_do() -> None:
    images = stored(3)
    rows = tuple(Source(name, (0,), ()) for name in list(images)[:2])
    found = Inputs(ROOT, rows, (), remarks=("/data/train is empty",))
    assert reason_to_stop(found, images, Policy(), list(images)) == (
        "3 of 3 images from here would be gone (/data/train is empty; 2 have no file; 1 has no row in the "
        "table); nothing was changed.  A root has one table, with the rows of all its images.  If this is "
        "intended, give --allow-gone 3"
    )


def test_one_image_is_counted_in_the_singular() -> None:
    text = reason(stored(1), 1)
    assert text is not None
    assert text.startswith("1 of 1 image from here would be gone (1 has no row in the table)")


def test_rows_without_any_file_stop_a_run_into_an_empty_store() -> None:
    rows = Inputs(ROOT, (Source("a", (0,), ()),), (), remarks=("/data/train is empty",))
    assert reason_to_stop(rows, {}, Policy(), []) == (
        "the folders hold no file of the 1 image in the table; /data/train is empty; see --images and --masks"
    )
    assert reason_to_stop(Inputs(ROOT, (), ()), {}, Policy(), []) is None


@pytest.mark.parametrize(
    ("n", "subject"),
    [(1, "1 stored image has a nucleus mask"), (2, "2 stored images have nucleus masks")],
)
def test_images_do_not_lose_their_nuclei_because_a_folder_is_missing(n: int, subject: str) -> None:
    with_nuclei = (*CHANNELS_AND_MASK, *files(NUCLEUS_MASK))
    images = {name: image._replace(files=with_nuclei) for name, image in stored(n).items()}
    found = inputs(list(images), nuclei=False)
    assert reason_to_stop(found, images, Policy(), []) == (
        f"{subject}, such as train/nucleus_mask.png, but the inputs have no folder of nucleus masks; "
        "nothing was changed.  Name the folder with --nuclei, or give --nuclei none"
    )
    assert reason_to_stop(inputs(list(images)), images, Policy(), []) is None
    assert reason_to_stop(found, stored(n), Policy(), []) is None
