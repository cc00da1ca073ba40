"""What may be wrong with a store: its database, its schema, and rows that are not as they must be."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, exists, func, select, text

from hpastore.errors import DamagedError, StoreError, UnavailableError
from hpastore.kernels import rle
from hpastore.reading import MAX_PIXELS
from hpastore.schema.row_info import covered_tables
from hpastore.schema.tables import (
    Base,
    Cell,
    CellChannel,
    CellOverride,
    FailureFile,
    Image,
    ImageChannel,
    ImageFile,
    ImageLabel,
    Label,
    StoredSettings,
)
from hpastore.store import arrays, decoding, migrate
from hpastore.store.engine import Store
from hpastore.store.integrity import checksums
from hpastore.store.readonly import is_writable
from hpastore.vocabulary import CELL_MASK, CHANNELS, LABEL_NAMES

LONGEST_LOG: Final = 2**30
"""Bytes of a SQLite log beyond which readers are slow, and something keeps it from being folded in."""

OLDEST_POSTGRESQL: Final = 13

NETWORK_FILE_SYSTEMS: Final = re.compile(
    r"(fuse\.)?(nfs4?|cifs|smb[f23]s?|9p|afs|sshfs|lustre|gpfs|ceph(-fuse)?|glusterfs|beegfs|orangefs|pvfs2|panfs"
    r"|davfs2?|rclone|s3fs|gcsfuse|juicefs|acfs|ocfs2|gfs2|vboxsf|prl_fs|vmhgfs(-fuse)?)"
)
"""On which several machines, or a machine and its guests, do not share memory and may not share locks."""

_RESTORE: Final = "restore a backup"

_AGAIN: Final = (
    "restore a backup; or take the image out of the table, 'hpastore ingest ROOT --prune', put it back and "
    "ingest again"
)

_HINTS: Final[Mapping[str, str]] = {
    "measurement_settings": _RESTORE,
    "clean_set": f"make it anew, or {_RESTORE}",
    "cell_override": f"decide again, or {_RESTORE}",
    "image": _AGAIN,
}
"""What to do where a checksum does not match, by the table that has it."""


@dataclass(frozen=True)
class Finding:
    """Something that is wrong with a store.

    Parameters
    ----------
    where
        The image, cell, clean set, or part of the database.
    what
        What is wrong with it.
    hint
        What to do.
    """

    where: str
    what: str
    hint: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}; {self.hint}"


def doctor(store: Store, *, deep: bool = False) -> list[Finding]:
    """Look for what is wrong with a store.

    Parameters
    ----------
    store : Store
        May be in use: each check sees one state of it.
    deep : bool
        Whether every stored value is compared with its checksum, and every histogram with the masks.

    Returns
    -------
    list of Finding
        Empty if nothing is wrong.  Of a damaged file it is only that: what else is read may be anything.

    Raises
    ------
    UnavailableError
        If the database cannot be reached.
    """
    damage = _look(store, partial(_damage, deep=deep)) if store.is_sqlite else []
    if damage:
        return damage
    checks: list[Callable[[Connection], Iterable[Finding]]] = [
        _file if store.is_sqlite else _server,
        lambda _: _schema(store),
        _orphans,
        _labels,
        _settings,
        _counts,
        _files,
        _overrides,
        _decided_masks,
        _names,
        _moments,
        partial(_pictures, deep=deep),
        *([_checksums] if deep else []),
    ]
    return [finding for check in checks for finding in _look(store, check)]


def _look(store: Store, check: Callable[[Connection], Iterable[Finding]]) -> list[Finding]:
    try:
        return store.read(lambda connection: list(check(connection)))
    except UnavailableError:
        raise
    except DamagedError as error:
        return [_finding(error)]
    except StoreError as error:
        return [Finding("database", f"cannot be read: {error.reason}", _RESTORE)]


def _finding(error: DamagedError) -> Finding:
    return Finding(error.where, error.reason, _RESTORE)


def _damage(connection: Connection, *, deep: bool) -> Iterator[Finding]:
    """What SQLite finds in its own file."""
    for (said,) in connection.exec_driver_sql(f"PRAGMA {'integrity' if deep else 'quick'}_check"):
        if said != "ok":
            yield Finding("database", f"the file is damaged: {said}", _RESTORE)


def _file(connection: Connection) -> Iterator[Finding]:
    """How a SQLite file is kept."""
    path = Path(str(connection.engine.url.database))
    mode = connection.exec_driver_sql("PRAGMA journal_mode").scalar_one()
    if mode != "wal" and is_writable(path):
        what = f"its journal mode is {mode}, in which who reads and who writes wait for each other"
        yield Finding("database", what, "'hpastore db upgrade' sets it to wal")
    log = Path(f"{path}-wal")
    if log.exists() and log.stat().st_size > LONGEST_LOG:
        what = f"{log.name} has {log.stat().st_size} bytes"
        hint = "end what has the store open for long; the last to close it folds them in"
        yield Finding("database", what, hint)
    mounts = Path("/proc/self/mountinfo")  # of Linux alone
    kind = file_system(path, mounts.read_text()) if mounts.exists() else None
    if kind and NETWORK_FILE_SYSTEMS.fullmatch(kind):
        what = f"it is on a network file system ({kind}), where SQLite cannot keep two processes apart"
        yield Finding("database", what, "move it to a disk of this machine, or use PostgreSQL")


def file_system(path: Path, mounts: str) -> str | None:
    """Name the kind of file system that a file is on.

    Parameters
    ----------
    path : Path
    mounts : str
        As ``/proc/self/mountinfo`` has them; of two at one place, the later one hides the other.
    """
    kinds = {}
    for line in mounts.splitlines():
        of_mount, _, of_system = line.partition(" - ")
        place = re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), of_mount.split()[4])
        kinds[place] = of_system.split()[0]
    real = Path(os.path.realpath(path))
    return next((kinds[str(parent)] for parent in real.parents if str(parent) in kinds), None)


def _server(connection: Connection) -> Iterator[Finding]:
    """What PostgreSQL knows of itself and of our tables."""
    version = int(connection.exec_driver_sql("SHOW server_version_num").scalar_one()) // 10_000
    if version < OLDEST_POSTGRESQL:
        yield Finding("database", f"PostgreSQL {version} is older than {OLDEST_POSTGRESQL}", "upgrade it")
    ours = {table.name for table in Base.metadata.sorted_tables}
    for sql, what, hint in _SERVER:
        for table, name in connection.execute(text(sql)):
            if table in ours:
                yield Finding(f"{name} of {table}", what, hint.format(table=table, name=name))


_SERVER: Final = (
    (
        """SELECT owner.relname, named.relname FROM pg_index
           JOIN pg_class AS owner ON owner.oid = indrelid JOIN pg_class AS named ON named.oid = indexrelid
           WHERE owner.relnamespace = CAST(current_schema() AS regnamespace) AND NOT indisvalid""",
        "the index is not valid",
        "REINDEX INDEX {name}",
    ),
    (
        """SELECT relname, conname FROM pg_constraint JOIN pg_class ON pg_class.oid = conrelid
           WHERE connamespace = CAST(current_schema() AS regnamespace) AND NOT convalidated""",
        "the constraint was never checked",
        "ALTER TABLE {table} VALIDATE CONSTRAINT {name}",
    ),
    (
        """SELECT table_name, column_name FROM information_schema.columns
           WHERE table_schema = current_schema() AND data_type = 'text'
           AND collation_name IS DISTINCT FROM 'C'""",
        "text is not sorted by its bytes, as it is in the other databases",
        "give the column the collation C; 'hpastore db upgrade' makes views anew that are in the way",
    ),
)
"""What PostgreSQL may say of a table and something of it."""


def _schema(store: Store) -> Iterator[Finding]:
    for sentence in migrate.check(store):
        yield Finding("schema", sentence, f"undo it, or {_RESTORE}")


def _orphans(connection: Connection) -> Iterator[Finding]:
    """Rows that refer to nothing."""
    for table in Base.metadata.sorted_tables:
        for key in sorted(table.foreign_keys, key=lambda key: key.parent.name):
            lost = key.parent.is_not(None) & ~exists().where(key.column == key.parent)
            statement = select(func.count()).select_from(table).where(lost)
            if count := connection.execute(statement).scalar_one():
                what = f"{count} rows refer to a row of {key.column.table.name} that is not there"
                yield Finding(table.name, what, _RESTORE)


def _labels(connection: Connection) -> Iterator[Finding]:
    """The 19 classes, and the labels of images, which are told twice."""
    classes = connection.execute(select(Label.id, Label.name).order_by(Label.id))
    if [tuple(row) for row in classes] != list(enumerate(LABEL_NAMES)):
        yield Finding("label", "its rows are not the 19 classes", _RESTORE)
    rows = select(ImageLabel.image_id, ImageLabel.label_id).order_by(*ImageLabel.__table__.c)
    by_image = groupby(connection.execute(rows), lambda row: row[0])
    labels = {key: [label for _, label in found] for key, found in by_image}
    images = select(Image.id, Image.name, Image.labels, Image.label_count).order_by(Image.name)
    for key, name, said, count in connection.execute(images):
        mine = labels.get(key, [])
        if said != "|".join(map(str, mine)) or count != len(mine):
            what = f"its row says labels {said!r} and {count} of them, and image_label has {mine}"
            yield Finding(f"image {name}", what, _AGAIN)


def _settings(connection: Connection) -> Iterator[Finding]:
    current = connection.execute(
        select(func.count()).select_from(StoredSettings).where(StoredSettings.current)
    ).scalar_one()
    images = connection.execute(select(func.count()).select_from(Image)).scalar_one()
    if current > 1 or (images and not current):
        yield Finding("measurement_settings", f"{current} rows are marked as current, not 1", _RESTORE)


def _counts(connection: Connection) -> Iterator[Finding]:
    """Numbers of rows."""
    cells = _number(Cell, Cell.image_id == Image.id)
    statement = select(Image.name, Image.cell_count, cells).where(Image.cell_count != cells)
    for name, said, count in connection.execute(statement.order_by(Image.name)):
        yield Finding(f"image {name}", f"it has {count} cells, and its row says {said}", _AGAIN)
    channels = _number(ImageChannel, ImageChannel.image_id == Image.id)
    statement = select(Image.name, channels).where(channels != len(CHANNELS)).order_by(Image.name)
    for name, count in connection.execute(statement):
        yield Finding(f"image {name}", f"it has {count} channels of {len(CHANNELS)}", _AGAIN)
    levels = _number(CellChannel, CellChannel.cell_id == Cell.id)
    statement = select(Image.name, Cell.mask_id, levels).join(Cell).where(levels != len(CHANNELS))
    for name, mask_id, count in connection.execute(statement.order_by(Image.name, Cell.mask_id)):
        yield Finding(f"cell {name}:{mask_id}", f"it has {count} channels of {len(CHANNELS)}", _AGAIN)


def _number(table: checksums.Model, where: Any) -> Any:
    return select(func.count()).select_from(table).where(where).scalar_subquery()


def _files(connection: Connection) -> Iterator[Finding]:
    """Files that an image cannot have been read without."""
    for role in (*CHANNELS, CELL_MASK):
        named = exists().where(ImageFile.image_id == Image.id, ImageFile.role == role)
        for name in connection.execute(select(Image.name).where(~named).order_by(Image.name)).scalars():
            yield Finding(f"image {name}", f"no {role} file is recorded", _AGAIN)


def _overrides(connection: Connection) -> Iterator[Finding]:
    """What was decided about cells, against the cells that it is attached to."""
    o = CellOverride
    same = (o.image_name == Image.name) & (o.mask_id == Cell.mask_id)
    columns = (o.image_name, o.mask_id, Image.name, Cell.mask_id)
    statement = select(*columns).join(Cell, Cell.id == o.cell_id).join(Image).where(~same)
    for name, mask_id, other, other_id in connection.execute(statement.order_by(o.id)):
        what = f"it is attached to {other}:{other_id}"
        yield Finding(f"override of {name}:{mask_id}", what, f"decide again, or {_RESTORE}")


def _decided_masks(connection: Connection) -> Iterator[Finding]:
    """The masks that cells are known again by."""
    o = CellOverride
    statement = select(o.image_name, o.mask_id, o.height, o.width, o.rle).order_by(o.id)
    for name, mask_id, height, width, counts in connection.execute(statement):
        if _extents([counts], height, width) == [None]:
            yield Finding(f"override of {name}:{mask_id}", "its mask is none", f"decide again, or {_RESTORE}")


def _names(connection: Connection) -> Iterator[Finding]:
    """Texts that paths are made of."""
    images = connection.execute(select(Image.name, Image.root).order_by(Image.name)).all()
    overrides = connection.execute(select(CellOverride.image_name, CellOverride.mask_id).distinct())
    checks: list[Callable[[], object]] = [partial(decoding.image_name, name) for name, _ in images]
    checks += [partial(decoding.image_name, name, f"override of {name}:{i}") for name, i in overrides]
    checks += [partial(decoding.file_path, name, root, "") for name, root in images]
    uris = select(Image.name, ImageFile.uri).join(ImageFile, ImageFile.image_id == Image.id)
    checks += [partial(decoding.file_path, name, "", uri) for name, uri in connection.execute(uris)]
    tried = select(FailureFile.image_name, FailureFile.uri)
    checks += [partial(decoding.file_path, name, "", uri) for name, uri in connection.execute(tried)]
    for check in checks:
        try:
            check()
        except DamagedError as error:
            yield _finding(error)


def _moments(connection: Connection) -> Iterator[Finding]:
    yield from map(_finding, decoding.damaged_moments(connection))


def _pictures(connection: Connection, *, deep: bool) -> Iterator[Finding]:
    """Masks against the columns that tell of them, and histograms against masks."""
    for first, last in checksums.pages(connection):
        within = Image.id.between(first, last)
        cells = {
            key: of_image[()] for key, of_image in checksums.stored_blocks(connection, Cell, within).items()
        }
        sizes = select(Image.id, Image.name, Image.height, Image.width).where(within).order_by(Image.id)
        for key, name, height, width in connection.execute(sizes).all():
            yield from _masks(name, cells.get(key, {}), height, width)
        if not deep:
            continue
        columns = (ImageChannel.channel, ImageChannel.histogram)
        histograms = select(Image.id, Image.name, Image.height, Image.width, *columns)
        found: Any = connection.execute(histograms.join(ImageChannel).where(within))
        for key, name, height, width, channel, packed in found:
            if not _counts_of(packed, height * width, cells.get(key, {}).get("area", ())):
                what = f"the histogram of {channel} does not count the pixels of its masks"
                yield Finding(f"image {name}", what, _AGAIN)


def _masks(name: str, cells: checksums.Columns, height: int, width: int) -> Iterator[Finding]:
    stored = list(zip(*(cells.get(column, ()) for column in rle.Extents._fields), strict=True))
    measured = _extents(cells.get("rle", ()), height, width)
    for mask_id, told, found in zip(cells.get("mask_id", ()), stored, measured, strict=True):
        if told != found:
            names = ", ".join(rle.Extents._fields)
            what = f"its {names} are {told}, by its mask {found}" if found else "its mask is none"
            yield Finding(f"cell {name}:{mask_id}", what, _AGAIN)


def _extents(counts: Sequence[Any], height: int, width: int) -> list[tuple[int, ...] | None]:
    """Area and box of each mask; None for one that is no mask, which is looked for if there is any."""
    if height * width > MAX_PIXELS:
        return [None] * len(counts)
    try:
        return list(zip(*(column.tolist() for column in rle.extents(counts, height, width)), strict=True))
    except (ValueError, TypeError):
        if len(counts) == 1:
            return [None]
        return [found for one in counts for found in _extents([one], height, width)]


def _counts_of(packed: Any, pixels: int, areas: Sequence[int]) -> bool:
    """Whether a histogram's rows count the background's pixels and each cell's."""
    try:
        counts = arrays.counted(packed, len(areas), pixels).sum(axis=1).tolist()
    except (ValueError, TypeError):
        return False
    return bool(counts == [pixels - sum(areas), *areas])


def _checksums(connection: Connection) -> Iterator[Finding]:
    for found in checksums.compare_all(connection):
        hint = _HINTS[found.table.name]
        if found.stored is None:
            yield Finding(found.name, "its checksum was never computed", hint)
        elif found.stored != found.computed:
            covered = [table.name for table in covered_tables(found.table)]
            where = f"its row, or its rows of {', '.join(covered)}" if covered else "its row"
            yield Finding(found.name, f"a stored value has changed: {where}", hint)
