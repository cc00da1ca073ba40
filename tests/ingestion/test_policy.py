from __future__ import annotations

import sys
from pathlib import Path

import pytest

from hpastore.errors import UsageError
from hpastore.ingestion.layout import Layout
from hpastore.ingestion.policy import Policy, choose_policy
from hpastore.kernels.definitions import VERSIONS
from hpastore.model import FileStamp, MaskOptions, MeasurementSettings, StoredImage
from hpastore.vocabulary import NUCLEUS_MASK, ROLES

LAYOUT = Layout(Path("/data"))


def stored(masks: MaskOptions, *, in_pieces: bool = True, nuclei: bool = True) -> StoredImage:
    files = tuple(FileStamp(role, role, 1, 1) for role in ROLES if nuclei or role != NUCLEUS_MASK)
    settings = MeasurementSettings(0.99, VERSIONS)
    return StoredImage("/data", None, (), files, settings, masks=masks, in_pieces=in_pieces)


def test_masks_are_read_as_before_unless_the_user_gives_an_option() -> None:
    before = MaskOptions("components", "overlap")
    assert Policy().masks() == MaskOptions("keep", "id")
    assert Policy().masks(before) == before
    assert Policy(binary_mask="keep").masks(before) == MaskOptions("keep", "overlap")
    assert Policy(match_nuclei="id").masks(before) == MaskOptions("components", "id")


@pytest.mark.parametrize(
    ("policy", "image", "reason"),
    [
        (Policy(), stored(MaskOptions("components", "overlap")), ""),
        (
            Policy(binary_mask="components"),
            stored(MaskOptions()),
            "its mask must be read with --binary-mask components",
        ),
        (Policy(binary_mask="components"), stored(MaskOptions(), in_pieces=False), ""),
        (Policy(binary_mask="components"), stored(MaskOptions("components")), ""),
        (
            Policy(binary_mask="keep"),
            stored(MaskOptions("components"), in_pieces=False),
            "its mask must be read with --binary-mask keep",
        ),
        (
            Policy(match_nuclei="overlap"),
            stored(MaskOptions()),
            "its nuclei must be matched by overlap",
        ),
        (Policy(match_nuclei="overlap"), stored(MaskOptions(), nuclei=False), ""),
    ],
)
def test_an_image_is_read_again_only_if_its_ids_would_change(
    policy: Policy, image: StoredImage, reason: str
) -> None:
    assert policy.reread_reason(image) == reason


@pytest.mark.parametrize(
    ("policy", "changes"),
    [
        (Policy(), False),
        (Policy(binary_mask="keep", match_nuclei="id"), False),
        (Policy(binary_mask="components"), True),
        (Policy(match_nuclei="overlap"), True),
    ],
)
def test_only_components_and_overlap_change_ids(policy: Policy, changes: bool) -> None:
    assert policy.changes_ids is changes


def test_all_images_may_be_gone_or_as_many_as_the_user_gives() -> None:
    def allowed(given: int | str) -> int:
        return choose_policy(LAYOUT, prune=False, resplit=False, allow_gone=given).allow_gone

    assert (allowed(0), allowed(7), allowed("all")) == (0, 7, sys.maxsize)


@pytest.mark.parametrize("given", [-1, "some", "7"])
def test_a_number_of_gone_images_that_makes_no_sense_is_refused(given: int | str) -> None:
    with pytest.raises(
        UsageError, match=r"invalid --allow-gone .* \(give a number of images, or all\)"
    ):
        choose_policy(LAYOUT, prune=False, resplit=False, allow_gone=given)


def test_another_split_needs_its_name() -> None:
    with pytest.raises(UsageError, match="--resplit needs the split to give: --split NAME"):
        choose_policy(LAYOUT, prune=False, resplit=True, allow_gone=0)
    layout = Layout(Path("/data"), split="train")
    assert choose_policy(layout, prune=False, resplit=True, allow_gone=0).resplit
