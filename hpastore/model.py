"""The values that the layers hand to each other.

::

    files -> discover -> Source -> plan -> Plan
    Plan -> decode -> Decoded -> measure -> Cells -> write -> rows

Nothing here opens a file or a database.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple

from hpastore.text import count_text
from hpastore.vocabulary import NUCLEUS_MASK

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


class FileStamp(NamedTuple):
    """One file as the folder shows it, before it is read.

    A named tuple, not a dataclass: 100,000 of them are made and compared by each re-ingest.
    """

    role: str
    uri: str
    """Path relative to the root, with forward slashes; absolute where it lies outside the root."""
    size: int
    """Bytes; -1 if the file could not be accessed."""
    mtime_ns: int
    """Modification time, nanoseconds since 1970."""


class FileRecord(NamedTuple):
    """One file as it was read: its stamp and the hash of the bytes that were decoded."""

    role: str
    uri: str
    size: int
    mtime_ns: int
    sha256: str


class MaskOptions(NamedTuple):
    """How the masks of an image are read."""

    binary_mask: str = "keep"
    """One of `BINARY_MASKS`: whether a mask with one id is one cell, or each piece is a cell."""
    match_nuclei: str = "id"
    """One of `NUCLEUS_MATCHES`: whether a nucleus belongs to the cell with its id, or to the cell
    that holds most of it.  A mask that was split into pieces has new ids, so it is always the
    latter."""


DEFAULT_MASKS: Final = MaskOptions()

NO_COLUMNS: Final[Mapping[str, str]] = MappingProxyType({})


class Note(NamedTuple):
    """A remark on an image that was stored although something about it looks wrong."""

    code: str
    """One of `NOTE_CODES`."""
    text: str
    """One sentence; it follows the image's name and a colon."""


class Source(NamedTuple):
    """One image as the table and the folders show it."""

    name: str
    labels: tuple[int, ...]
    """Distinct label ids, ascending; empty for an image without labels."""
    files: tuple[FileStamp, ...]
    """The files found, in the order of `ROLES`."""
    missing: tuple[str, ...] = ()
    """Uris of required files that do not exist."""
    nearest: tuple[str, ...] = ()
    """Names of unread files in the same folders that may be meant for the missing ones."""
    columns: tuple[tuple[str, str], ...] = ()
    """Names, ascending, and values of the columns that the run keeps or drops; an empty value
    where the table says nothing, or for a column to drop.  Other columns stay as they are stored.
    """

    @property
    def has_image(self) -> bool:
        """Whether it has a channel or a cell mask; a nucleus mask alone is no image."""
        return bool(self.files) and self.files[0].role != NUCLEUS_MASK  # in the order of the roles

    def columns_after(self, stored: Mapping[str, str]) -> dict[str, str]:
        """Give the columns that an image has after the run, by name, from those it has now."""
        columns = {**stored, **dict(self.columns)}
        return {name: value for name, value in sorted(columns.items()) if value}


@dataclass(frozen=True)
class MeasurementSettings:
    """What the stored numbers were computed with.

    Parameters
    ----------
    background_percentile
        Share 0..1 of the background's pixels that lie at or below the background level.
    measures
        Version of each built-in measure by its name; a measure that is not there was not computed.
    levels
        How levels of 16 bit become 0..255.
    """

    background_percentile: float
    measures: Mapping[str, int]
    levels: str = "257"


class StoredImage(NamedTuple):
    """One image as the store has it."""

    root: str
    split: str | None
    labels: tuple[int, ...]
    files: tuple[FileStamp, ...]
    settings: MeasurementSettings
    """What its numbers were computed with."""
    gone: bool = False
    """Whether it is marked as gone."""
    measures: frozenset[tuple[str, int]] = frozenset()
    """Names and versions of the custom measures that its cells have."""
    masks: MaskOptions = DEFAULT_MASKS
    """How its masks were read."""
    in_pieces: bool = False
    """Whether its cell mask has one id in several pieces; read only with ``--binary-mask``."""
    columns: Mapping[str, str] = NO_COLUMNS
    """What it has of the columns that the run keeps or drops, by name."""


class RequiredMeasures(NamedTuple):
    """Names and versions of the installed custom measures; every image must have them."""

    of_histograms: frozenset[tuple[str, int]] = frozenset()
    """Functions of the stored histograms."""
    of_crops: frozenset[tuple[str, int]] = frozenset()
    """Functions of pixels."""


class Change(NamedTuple):
    """A stored image that must be read again, usually since its files differ."""

    source: Source
    roles: tuple[str, ...]
    """Roles of the files that differ, were added or were removed; empty if no file differs."""
    why: str = ""
    """Why it is read again although no file differs."""


class ForeignFiles(NamedTuple):
    """Files in the folders whose names match no expected pattern; hidden files are ignored."""

    files: int = 0
    example: str = ""
    """The first of them by name."""

    def __str__(self) -> str:
        return f"{count_text(self.files, 'file')} of other kinds, such as {self.example}"


NO_FOREIGN_FILES: Final = ForeignFiles()


class Orphan(NamedTuple):
    """Inputs that belong to no image."""

    kind: str
    """One of `ORPHANS`."""
    name: str
    files: int


@dataclass(frozen=True)
class Failure:
    """Why one image was rejected."""

    image_name: str
    uri: str
    """The file at fault."""
    code: str
    """One of `FAILURE_CODES`."""
    message: str
    files: tuple[FileStamp, ...] = ()
    """The image's files when they were tried; the image is tried again only after they change.
    Empty if planning found the fault without reading a file."""


@dataclass(frozen=True)
class Inputs:
    """What `hpastore.ingestion.discover` found: the images, and all that is odd about the inputs.

    Parameters
    ----------
    root
        The folder's real path: absolute, and without symbolic links.
    sources
        The images, by name, ascending.
    failures
        Images that are rejected for their name or their row in the table.
    split
        The split for new images and for images without a split.
    complete
        Whether these are all images; false if a limit left some out.
    orphans
        Files without an image, and images without a row in the table.
    seen
        Number of files whose names are those of an image's files.
    refused
        Number of files of each image in `failures`.
    repeated
        Number of rows that name a label twice.
    nuclei
        Whether there is a folder of nucleus masks, or the user gave ``none``.
    foreign
        Files whose names are not those of an image's files.
    near
        A message about rows that nearly name an existing image; None if there are none.
    table
        The real path of the table; None for images without labels.
    remarks
        Why images may be missing in the folders: an empty folder, a disk that is not mounted.
    """

    root: Path
    sources: tuple[Source, ...]
    failures: tuple[Failure, ...]
    split: str | None = None
    complete: bool = True
    orphans: tuple[Orphan, ...] = ()
    seen: int = 0
    refused: Mapping[str, int] = field(default_factory=dict)
    repeated: int = 0
    nuclei: bool = True
    foreign: ForeignFiles = NO_FOREIGN_FILES
    near: str | None = None
    table: Path | None = None
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Plan:
    """What ingest will do.

    Each image of the inputs is in exactly one of `new`, `changed`, `doubtful`, `unmeasured`,
    `relabelled`, `unchanged`, `rejected` and `orphans`.  A stored image may also be in `moved`,
    `resplit`, `returned` or `stale`.

    Parameters
    ----------
    new
        Images to decode and store.
    changed
        Stored images to decode and replace: their files differ, or they lack the current version
        of a built-in measure that needs pixels.
    doubtful
        Stored images whose files have other times or another root: only their bytes tell whether
        they changed.  `hpastore.plan` compares the bytes and leaves none.
    unmeasured
        Stored images that lack a custom measure of pixels; to decode, and to add the measure.
    relabelled
        Stored images with other labels, or with other values in the columns that the run keeps or
        drops; no pixel is read.
    unchanged
        Number of stored images without any change.
    unchanged_files
        Number of files without any change, including those of relabelled images.
    rejected
        Images that cannot be stored, and why; those that were tried before are not tried again.
    rejected_before
        How many of `rejected` the store lists already, with the same message.
    gone
        Names of stored images of this root that are missing in the inputs; to mark as gone.
    pruned
        Names of images to delete if the user requested it: those in `gone`, and those marked
        before.
    stale
        Names of stored images with another background percentile, or without the current version
        of a measure, built-in or custom, that follows from histograms; to compute from these.
    returned
        Names of images that are marked as gone and are back without a change.
    moved
        Names of images that are stored from another root, and are unchanged, or rejected with at
        least one unchanged file.
    resplit
        Names of images that get a split: their first one, or another if the user allowed it.
    other_split
        Number of images that keep a split other than the requested one, by that split.
    stopped
        Why ingest refuses to do anything, such as too many images that would be gone; else None.
    recovered
        Names of listed failures of this root that are resolved: the image is stored with these
        files, or is no longer in the inputs.
    orphans
        Inputs that belong to no image, including rows of the table without any file.
    """

    new: tuple[Source, ...] = ()
    changed: tuple[Change, ...] = ()
    doubtful: tuple[Change, ...] = ()
    unmeasured: tuple[Source, ...] = ()
    relabelled: tuple[Source, ...] = ()
    unchanged: int = 0
    unchanged_files: int = 0
    rejected: tuple[Failure, ...] = ()
    rejected_before: int = 0
    gone: tuple[str, ...] = ()
    pruned: tuple[str, ...] = ()
    stale: tuple[str, ...] = ()
    returned: tuple[str, ...] = ()
    moved: tuple[str, ...] = ()
    recovered: tuple[str, ...] = ()
    orphans: tuple[Orphan, ...] = ()
    resplit: tuple[str, ...] = ()
    other_split: Mapping[str, int] = field(default_factory=dict)
    stopped: str | None = None

    @property
    def work(self) -> int:
        """Number of images that ingest has to work on.

        Images with other times or another root, and images that were rejected before, do not count.
        """
        sources = (*self.new, *self.relabelled, *self.unmeasured)
        names = {source.name for source in sources}
        names.update(change.source.name for change in (*self.changed, *self.doubtful))
        names.update(self.gone, self.pruned, self.stale, self.returned, self.resplit)
        return len(names) + len(self.rejected) - self.rejected_before


@dataclass(frozen=True)
class Decoded:
    """One decoded image in memory.

    Parameters
    ----------
    channels
        (H, W) uint8 by the names of `CHANNELS`.
    bit_depth
        8 or 16, of the files.
    cell_mask
        (H, W) of any integer dtype, 0 is background.
    nucleus_mask
        The same for nuclei, or None; a nucleus has the id of its cell.
    files
        The files that were read, in the order of `ROLES`.
    largest_level
        The highest grey level of all channels, before 16 bits are brought to 0..255.
    """

    channels: Mapping[str, npt.NDArray[np.uint8]]
    bit_depth: int
    cell_mask: npt.NDArray[np.integer]
    nucleus_mask: npt.NDArray[np.integer] | None
    files: tuple[FileRecord, ...]
    largest_level: int = 0


@dataclass(frozen=True)
class ChannelStats:
    """One channel of one image.

    Parameters
    ----------
    background_level
        Grey level; None where no pixel lies outside every cell.
    histogram
        The packed joint histogram, see `hpastore.kernels.histogram.pack`.
    measures
        (K,) arrays by the names of `hpastore.kernels.definitions.CHANNEL_MEASURES`; NaN is NULL.
    """

    background_level: float | None
    histogram: bytes
    measures: Mapping[str, npt.NDArray[np.float64]]


@dataclass(frozen=True)
class Cells:
    """All cells of one image, measured; K cells in ascending mask id.

    Parameters
    ----------
    mask_ids
        (K,) int64.
    shape
        (K,) arrays by the names of `hpastore.kernels.definitions.SHAPE_MEASURES`: float64 for real
        ones, where NaN is NULL, and int64 for others; ``nucleus_area`` is absent without a nucleus
        mask.
    rles
        K compressed COCO counts strings.
    channels
        By the names of `CHANNELS`.
    custom
        (K,) arrays of the custom measures, by name and channel; NaN is NULL, and the channel is
        None for a measure of the cell as a whole.
    custom_versions
        Versions of the custom measures, by name.
    """

    mask_ids: npt.NDArray[np.int64]
    shape: Mapping[str, npt.NDArray[np.int64 | np.float64]]
    rles: tuple[str, ...]
    channels: Mapping[str, ChannelStats]
    custom: Mapping[tuple[str, str | None], npt.NDArray[np.float64]] = field(default_factory=dict)
    custom_versions: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Touched:
    """One image whose files have other times than the stored ones, but the same bytes."""

    source: Source
    files: tuple[FileRecord, ...]


@dataclass(frozen=True)
class Measured:
    """One image, ready to be written.

    Parameters
    ----------
    source
    files
        The files that were read.
    width, height
        Pixels.
    bit_depth
        8 or 16, of the channels.
    cells
    masks
        How its masks were read.
    notes
        Remarks on its quality.
    """

    source: Source
    files: tuple[FileRecord, ...]
    width: int
    height: int
    bit_depth: int
    cells: Cells
    masks: MaskOptions = DEFAULT_MASKS
    notes: tuple[Note, ...] = ()


class Annotation(NamedTuple):
    """One cell as an export names it; boxes are half-open, in pixels."""

    mask_id: int
    labels: tuple[int, ...]
    """Ascending; a format writes one annotation for each, or one with all of them."""
    x: int
    y: int
    width: int
    height: int
    area: int
    rle: str
    """Compressed COCO counts string."""
    fraction: float | None
    """Of the green channel."""


class AnnotatedImage(NamedTuple):
    """One image as an export names it, with its cells by mask id."""

    name: str
    width: int
    height: int
    channels: tuple[str, ...]
    """Those that it has."""
    annotations: tuple[Annotation, ...]
