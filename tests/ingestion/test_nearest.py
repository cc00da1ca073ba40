from __future__ import annotations

from collections.abc import Iterator

import pytest

from hpastore.ingestion.nearest import nearest
from hpastore.vocabulary import CHANNELS


@pytest.mark.parametrize("channel", CHANNELS)
@pytest.mark.parametrize(
    "ending", [".tif", ".tiff", ".jpg", ".jpeg", ".PNG", ".TIF", ".ome.tif", ".png.gz"]
)
def test_a_channel_with_another_ending_is_found(channel: str, ending: str) -> None:
    others = {f"x-1_{other}.png" for other in CHANNELS if other != channel} | {
        f"x-2_{channel}{ending}"
    }
    assert nearest(f"x-1_{channel}.png", others) is None
    assert (
        nearest(f"x-1_{channel}.png", others | {f"x-1_{channel}{ending}"})
        == f"x-1_{channel}{ending}"
    )


@pytest.mark.parametrize("name", ["x_Red.png", "x_RED.tif"])
def test_a_channel_in_other_case_is_found(name: str) -> None:
    assert nearest("x_red.png", {name}) == name


@pytest.mark.parametrize(
    "name",
    [
        *("x.tif", "x.png", "x.NPZ", "x.ome.tiff", "x_mask.png", "x_mask.tif", "x_masks.tif"),
        *("x_cell_mask.npz", "x_cell_mask.npy", "x_cellmask.tif", "x_cp_masks.png", "x_seg.npy"),
        *("x_nuclei_mask.npz", "x_label.tif", "x_labels.png"),
    ],
)
def test_a_mask_with_another_ending_is_found(name: str) -> None:
    assert nearest("x.npz", {"y.npz", "x.y", "xx.tif", name}) == name
    assert nearest("x.npz", {"y.npz", "x.y", "xx.tif"}) is None


def test_an_image_whose_name_holds_points_is_not_taken_for_a_shorter_one() -> None:
    assert nearest("x.2.npz", {"x.tif"}) is None
    assert nearest("x.2.npz", {"x.2.tif"}) == "x.2.tif"


def test_the_file_itself_is_not_near_to_it() -> None:
    assert nearest("x.npz", {"x.npz"}) is None
    assert nearest("x_red.png", {"x_red.png"}) is None


class Counted(frozenset[str]):
    """Names that count how often they are looked at."""

    looks = 0

    def __contains__(self, name: object) -> bool:
        self.looks += 1
        return super().__contains__(name)

    def __iter__(self) -> Iterator[str]:
        raise AssertionError("all names were looked at")


@pytest.mark.parametrize("expected", ["x_red.png", "x.npz"])
def test_a_folder_is_not_listed_for_each_missing_file(expected: str) -> None:
    names = Counted(f"{n}.npz" for n in range(1000))
    assert nearest(expected, names) is None
    assert 0 < names.looks < 100
