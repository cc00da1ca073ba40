"""What the user's options allow a run to do to stored images."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from hpastore.errors import UsageError
from hpastore.ingestion.layout import Layout
from hpastore.model import DEFAULT_MASKS, MaskOptions, StoredImage
from hpastore.vocabulary import NUCLEUS_MASK

ALL: Final = "all"
"""Given as `allow_gone`: any number of images may be gone."""


@dataclass(frozen=True)
class Policy:
    """What a run may do to stored images.

    Parameters
    ----------
    prune
        Whether images that are gone are deleted, and not only marked.
    allow_gone
        How many images may be gone, even if they are more than a fifth of the root's, or all.
    resplit
        Whether images that have another split than the requested one get it.
    binary_mask, match_nuclei
        How masks are read; None is as they were read before.
    keep_columns, drop_columns
        Names of the columns of the table that the images of this run get, or lose.
    kept
        Names of images of these inputs that stay in another root, where their files still exist.
    origins
        The former root of each image of a root that has just moved here.
    """

    prune: bool = False
    allow_gone: int = 0
    resplit: bool = False
    binary_mask: str | None = None
    match_nuclei: str | None = None
    keep_columns: tuple[str, ...] = ()
    drop_columns: tuple[str, ...] = ()
    kept: frozenset[str] = frozenset()
    origins: Mapping[str, str] = field(default_factory=dict)

    @property
    def changes_ids(self) -> bool:
        """Whether nuclei and the pieces of binary masks get other ids than their files have."""
        return self.match_nuclei == "overlap" or self.binary_mask == "components"

    def masks(self, stored: MaskOptions = DEFAULT_MASKS) -> MaskOptions:
        """Say how an image's masks are read if the image is decoded again."""
        return MaskOptions(
            self.binary_mask or stored.binary_mask, self.match_nuclei or stored.match_nuclei
        )

    def reread_reason(self, stored: StoredImage) -> str:
        """Say why an image must be read again although no file differs; empty if it need not be.

        Only masks whose cells or nuclei would get other ids must be read again.
        """
        before = stored.masks
        after = self.masks(before)
        splits = stored.in_pieces or before.binary_mask != "keep"
        if after.binary_mask != before.binary_mask and splits:
            return f"its mask must be read with --binary-mask {after.binary_mask}"
        has_nuclei = any(file.role == NUCLEUS_MASK for file in stored.files)
        if has_nuclei and after.match_nuclei != before.match_nuclei:
            return f"its nuclei must be matched by {after.match_nuclei}"
        return ""


def choose_policy(layout: Layout, *, prune: bool, resplit: bool, allow_gone: int | str) -> Policy:
    """Make the policy of a run from the user's options.

    Raises
    ------
    UsageError
        If an option makes no sense.
    """
    if resplit and layout.split is None:
        raise UsageError("--resplit needs the split to give: --split NAME")
    allowed = sys.maxsize if allow_gone == ALL else allow_gone
    if not isinstance(allowed, int) or allowed < 0:
        raise UsageError(f"invalid --allow-gone {allow_gone!r} (give a number of images, or all)")
    return Policy(
        prune,
        allowed,
        resplit,
        layout.binary_mask,
        layout.match_nuclei,
        tuple(layout.keep_columns),
        tuple(layout.drop_columns),
    )
