"""Stop runs that are more likely an accident: an emptied folder, or a disk that is not mounted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final

from hpastore.ingestion.policy import Policy
from hpastore.model import Inputs, StoredImage
from hpastore.text import count_text, printable
from hpastore.vocabulary import NUCLEUS_MASK

FEW_GONE: Final = 10
"""Up to this many images may always be gone, if others of their root are left."""

GONE_SHARE: Final = 5
"""If more than `FEW_GONE` images would be gone, at most one in this many of a root's may be."""


def reason_to_stop(
    inputs: Inputs, stored: Mapping[str, StoredImage], policy: Policy, gone: Sequence[str]
) -> str | None:
    """Say why a run must not change anything.

    Parameters
    ----------
    inputs : Inputs
    stored : mapping of name to StoredImage
        What the store holds.
    policy : Policy
    gone : sequence of str
        Names of the images that the run would mark as gone.

    Returns
    -------
    str or None
        What is wrong and what to do; None if the run may go on.
    """
    root = str(inputs.root)
    live = {name: image for name, image in stored.items() if image.root == root and not image.gone}
    if not live and _has_rows_only(inputs):
        images = count_text(len(inputs.sources), "image")
        what = f"the folders hold no file of the {images} in the table"
        return "; ".join((what, *inputs.remarks, "see --images and --masks"))
    if len(gone) > policy.allow_gone and _are_too_many(gone, live, policy.origins, root):
        return _describe_gone(inputs, gone, len(live))
    return None if inputs.nuclei else _describe_lost_nuclei(inputs, live)


def _has_rows_only(inputs: Inputs) -> bool:
    """Whether there are rows, but no image for any of them."""
    if not inputs.sources or any(inputs.refused.values()):
        return False
    return not any(source.has_image for source in inputs.sources)


def _are_too_many(
    gone: Sequence[str], live: Mapping[str, StoredImage], origins: Mapping[str, str], root: str
) -> bool:
    """Whether too many images of one root would be gone; a moved root counts by itself."""
    live_by_root = Counter(origins.get(name, root) for name in live)
    gone_by_root = Counter(origins.get(name, root) for name in gone)
    return any(
        count == live_by_root[origin]
        or (count > FEW_GONE and GONE_SHARE * count > live_by_root[origin])
        for origin, count in gone_by_root.items()
    )


def _describe_gone(inputs: Inputs, gone: Sequence[str], live: int) -> str:
    rows = {source.name for source in inputs.sources}
    without_file = sum(name in rows for name in gone)
    without_row = len(gone) - without_file
    reasons = list(inputs.remarks)
    if without_file:
        reasons.append(f"{without_file} {'has' if without_file == 1 else 'have'} no file")
    if without_row:
        reasons.append(f"{without_row} {'has' if without_row == 1 else 'have'} no row in the table")
    hint = "  A root has one table, with the rows of all its images." if without_row else ""
    return (
        f"{len(gone)} of {count_text(live, 'image')} from here would be gone "
        f"({'; '.join(reasons)}); nothing was changed.{hint}  "
        f"If this is intended, give --allow-gone {len(gone)}"
    )


def _describe_lost_nuclei(inputs: Inputs, live: Mapping[str, StoredImage]) -> str | None:
    """Say that images would lose their nuclei, since the inputs have no folder of nucleus masks."""
    masks = [
        file.uri
        for source in inputs.sources
        if source.has_image and source.name in live
        for file in live[source.name].files
        if file.role == NUCLEUS_MASK
    ]
    if not masks:
        return None
    subject = "1 stored image has a nucleus mask"
    if len(masks) > 1:
        subject = f"{count_text(len(masks), 'stored image')} have nucleus masks"
    return (
        f"{subject}, such as {printable(min(masks), None)}, but the inputs have no folder of "
        "nucleus masks; nothing was changed.  Name the folder with --nuclei, or give --nuclei none"
    )
