"""The values that the layers hand to each other.

::

    files -> discover -> Source -> plan -> Plan -> decode -> Decoded -> measure -> Cells -> write -> rows

Nothing here opens a file or a database.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

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
    """Bytes; -1 where the file could not be looked at."""
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
    """How the masks of an image are understood."""

    binary_mask: str = "keep"
    """One of `BINARY_MASKS`: whether a mask with one id is one cell, or each of its pieces is."""
    match_nuclei: str = "id"
    """One of `NUCLEUS_MATCHES`: whether a nucleus belongs to the cell of its id, or to the one that holds
    most of it.  Where a mask was split into pieces, whose ids are new, it is always the latter."""


DEFAULT_MASKS: Final = MaskOptions()


class Note(NamedTuple):
    """What people should know of an image that was stored all the same."""

    code: str
    """One of `NOTE_CODES`."""
    text: str
    """One sentence, to be read after the image's name and a colon."""


class Source(NamedTuple):
    """One image as the inputs show it."""

    name: str
    labels: tuple[int, ...]
    """Distinct label ids, ascending; empty for an image without labels."""
    files: tuple[FileStamp, ...]
    """The files found, in the order of `ROLES`."""
    missing: tuple[str, ...] = ()
    """Uris of the files that an image must have and that are not there."""
    nearest: tuple[str, ...] = ()
    """Names of files that lie there, are not read, and may be meant for those that are missing."""


@dataclass(frozen=True)
class MeasurementSettings:
    """What the numbers are computed with.

    Parameters
    ----------
    background_percentile
        Share 0..1 of the background's pixels that lie at or below the background level.
    version
        Version of the measures, `hpastore.kernels.definitions.VERSION`.
    """

    background_percentile: float
    version: int


class StoredImage(NamedTuple):
    """One image as the store remembers it."""

    root: str
    split: str | None
    labels: tuple[int, ...]
    files: tuple[FileStamp, ...]
    settings: MeasurementSettings
    """What its numbers were computed with."""
    gone: bool = False
    """Whether it is marked as gone."""
    measures: frozenset[tuple[str, int]] = frozenset()
    """Names and versions of the measures that users added and that its cells have."""
    masks: MaskOptions = DEFAULT_MASKS
    """How its masks were read."""
    in_pieces: bool = False
    """Whether its cell mask has one id in several pieces; looked up where a run asks for it."""


class RequiredMeasures(NamedTuple):
    """Names and versions of the measures that users added and that all images shall have."""

    of_histograms: frozenset[tuple[str, int]] = frozenset()
    """Functions of what is stored."""
    of_crops: frozenset[tuple[str, int]] = frozenset()
    """Functions of pixels."""


class Change(NamedTuple):
    """A stored image whose files are not those that were read."""

    source: Source
    roles: tuple[str, ...]
    """Which of its files differ, came or went; none where the files are as they were."""
    why: str = ""
    """Why it is read again though its files are as they were."""


class ForeignFiles(NamedTuple):
    """Files in the folders of images and masks whose names match no pattern; hidden files are ignored."""

    files: int = 0
    example: str = ""
    """The first of them by name."""

    def __str__(self) -> str:
        return f"{self.files} {'file' if self.files == 1 else 'files'} of other kinds, such as {self.example}"


NO_FOREIGN_FILES: Final = ForeignFiles()


class Orphan(NamedTuple):
    """Inputs that belong to no image."""

    kind: str
    """One of `ORPHANS`."""
    name: str
    files: int


@dataclass(frozen=True)
class Failure:
    """Why one image was not taken."""

    image_name: str
    uri: str
    """The file that is at fault."""
    code: str
    """One of `FAILURE_CODES`."""
    message: str
    files: tuple[FileStamp, ...] = ()
    """The image's files when they were tried, which is not done again while they stay so; empty
    where planning finds the fault by itself."""


@dataclass(frozen=True)
class Inputs:
    """Everything that the inputs hold.

    Parameters
    ----------
    root
        The folder's real path: absolute, and without symbolic links.
    sources
        By name, ascending.
    failures
        Rows of the table that name no image that could be taken.
    split
        The split given to new images, and to those without one.
    complete
        Whether this is all there is; false where a limit left some out.
    orphans
        What belongs to no image: a mask or an image without a row of the table.
    seen
        Number of files that are an image's by their names.
    refused
        Number of files of each image in `failures`, where it is not in `sources`.
    repeated
        Number of rows that name a label twice.
    nuclei
        Whether there is a folder of nucleus masks, or it was said that there is none.
    foreign
        Files that are no image's by their names.
    near
        Which rows nearly name an image that is there, and what must be changed; None if there are none.
    table
        The real path of the table; None for images without labels.
    remarks
        What is odd about the folders, and may be why images are missing in them: an empty folder, a
        mount point without its file system.
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

    Each image that is found stands in one of `new`, `changed`, `doubtful`, `unmeasured`, `relabelled`,
    `unchanged`, `rejected` and `orphans`; one that is stored may besides be `moved`, `resplit`, `returned`
    or `stale`.

    Parameters
    ----------
    new
        To be decoded and stored.
    changed
        In the store with other files, or measured by an older version; to be decoded and replaced.
    doubtful
        In the store with files of other times, or from another root: only their bytes tell whether
        they changed.  `hpastore.plan` has looked at them and leaves none.
    unmeasured
        In the store as they are, but for a measure of pixels that a user added; to be decoded, and given
        that.
    relabelled
        In the store with other labels; no pixel is read.
    unchanged
        Number of images in the store as they are.
    unchanged_files
        Number of files that are as they were read, those of relabelled images too.
    rejected
        Cannot be taken, and why; those that were tried before are not tried again.
    rejected_before
        How many of `rejected` the store lists already, with the same message.
    gone
        Names of stored images of this root that have left the inputs; to be marked.
    pruned
        If that was asked for, names of those to be deleted: what is gone, and what was before and is
        not back.
    stale
        Names of stored images whose numbers are of another recipe, or that lack a measure of histograms
        that a user added; to be computed from the stored histograms.
    returned
        Names of images that are marked as gone, and are back as they were.
    moved
        Names of images that the store has from another root, and that are unchanged, or rejected with a
        file that is as it was.
    resplit
        Names of images that are given a split: their first one, or another if that was allowed.
    other_split
        Number of images that keep a split which is not the one given, by that split.
    stopped
        Why nothing may be done: too many images would be gone.
    recovered
        Names that the store lists as failures of this root, and that are none any more: the image
        is in the store as its files are, or has left the inputs.
    orphans
        What belongs to no image, rows of the table without any file among them.
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
        """Number of images to do something about; other times, roots and known rejects are none."""
        changes = (*self.changed, *self.doubtful)
        sources = (*self.new, *self.relabelled, *self.unmeasured, *(c.source for c in changes))
        names = {source.name for source in sources}
        names.update(self.gone, self.pruned, self.stale, self.returned, self.resplit)
        return len(names) + len(self.rejected) - self.rejected_before


@dataclass(frozen=True)
class Decoded:
    """One image in memory.

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
        The largest level of all channels, as the files hold it.
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
        (K,) int64 arrays by the names of `hpastore.kernels.definitions.SHAPE_MEASURES`;
        ``nucleus_area`` is absent without a nucleus mask.
    rles
        K compressed COCO counts strings.
    channels
        By the names of `CHANNELS`.
    custom
        (K,) arrays of the measures that users added, by name and channel; NaN is NULL, and the channel is
        None for a measure of the cell as a whole.
    custom_versions
        Versions of those measures, by name.
    """

    mask_ids: npt.NDArray[np.int64]
    shape: Mapping[str, npt.NDArray[np.int64]]
    rles: tuple[str, ...]
    channels: Mapping[str, ChannelStats]
    custom: Mapping[tuple[str, str | None], npt.NDArray[np.float64]] = field(default_factory=dict)
    custom_versions: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Touched:
    """One image whose files have other times, and the bytes that are stored."""

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
        How its masks were understood.
    notes
        What people should know of it.
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
    """One label, or several for a multi-hot target; ascending."""
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
    """One image as an export names it, with its annotations by mask id, then label."""

    name: str
    width: int
    height: int
    annotations: tuple[Annotation, ...]
