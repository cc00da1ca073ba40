"""Every file is accounted for, whatever lies in the folders; else the program says that it is broken."""

from __future__ import annotations

import csv
import itertools
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpastore.errors import InputError
from hpastore.ingestion import run
from hpastore.ingestion.discover import discover
from hpastore.ingestion.file_counts import FileCounter, FileCounts
from hpastore.ingestion.layout import CHANNEL_ENDINGS, Layout
from hpastore.ingestion.run import ingest, plan
from hpastore.ingestion.summary import Summary
from hpastore.model import Change, Failure, FileStamp, Inputs, Orphan, Plan, Source
from hpastore.store.engine import Store
from hpastore.text import printable
from hpastore.vocabulary import CHANNELS, ORPHANS
from tests.conftest import Figure, Trials
from tests.world import dataset, name_of, rows, write_image, write_table

A, B, C = map(name_of, range(3))


def source(name: str, files: int) -> Source:
    stamps = tuple(FileStamp(f"{name}{i}", f"{name}{i}", 1, 1) for i in range(files))
    return Source(name, (0,), stamps)


SOURCES = tuple(map(source, "abcde", (5, 6, 5, 5, 3)))
INPUTS = Inputs(Path("/data"), SOURCES, (), seen=5 + 6 + 5 + 5 + 3 + 2, refused={"x": 1, "z": 0})
PLAN = Plan(
    new=SOURCES[:1],
    changed=(Change(SOURCES[1], ()),),
    doubtful=(Change(SOURCES[2], ()),),
    unchanged=1,
    unchanged_files=5,
    rejected=tuple(
        Failure(n, "", c, "") for n, c in {"e": "missing_file", "x": "label", "z": "name"}.items()
    ),
    orphans=(Orphan("spare_file", "a", 1), Orphan("label_without_image", "y", 0)),
)


def test_files_are_counted_as_the_results_come() -> None:
    counter = FileCounter(INPUTS, PLAN)
    counter.add_taken("a", stored=True)
    counter.add_rejected(Failure("b", "", "png", ""))
    counter.add_taken("c", stored=False)
    counts = counter.result()
    assert counts == FileCounts(
        26, 5, 10, {"missing_file": 3, "label": 1, "png": 6}, {"spare_file": 1}, 0, 1
    )
    assert str(counts) == (
        "26 files = 5 stored + 10 unchanged + 10 rejected (1 label, 3 missing_file, 6 png) "
        "+ 1 orphan (1 spare_file); 1 row of the table has no image"
    )


def test_files_that_a_stopped_run_did_not_process_are_left() -> None:
    counter = FileCounter(INPUTS, PLAN)
    counter.add_taken("a", stored=True)
    counts = counter.result()
    assert (counts.stored, counts.left) == (5, 11)
    assert str(counts).endswith("+ 11 not processed; 1 row of the table has no image")


@pytest.mark.parametrize("seen", [25, 27])
def test_counts_that_do_not_add_up_are_a_bug(seen: int) -> None:
    counter = FileCounter(
        Inputs(Path("/data"), SOURCES, (), seen=seen, refused={"x": 1, "z": 0}), PLAN
    )
    with pytest.raises(AssertionError, match=f"file counts do not add up: {seen} files = 0 stored"):
        counter.result()


def test_an_image_is_counted_once() -> None:
    counter = FileCounter(INPUTS, PLAN)
    counter.add_taken("a", stored=True)
    with pytest.raises(KeyError):
        counter.add_taken("a", stored=True)
    with pytest.raises(KeyError):
        counter.add_rejected(Failure("a", "", "png", ""))


def test_an_ingest_that_loses_a_file_says_so(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = dataset(tmp_path, 2)
    write_table(root, {A: "0"})
    monkeypatch.setattr(run, "discover", lambda *given: replace(discover(*given), orphans=()))
    with pytest.raises(
        AssertionError, match=r"file counts do not add up: 10 files = 5 stored \+ 0 unchanged"
    ):
        ingest(store, root, executor="serial")


def test_an_ingest_accounts_for_every_file(store: Store, tmp_path: Path) -> None:
    root = dataset(tmp_path, 6, nuclei=True)
    ingest(store, Layout(root, limit=1), executor="serial")
    (root / "train" / f"{name_of(1)}_red.png").write_bytes(b"no picture")
    (root / "train" / f"{name_of(2)}_red.png").unlink()
    table = {name_of(i): "0" for i in range(5)} | {name_of(3): "99", "nobody": "0"}
    write_table(root, table)
    shutil.copy(root / "hpa_cell_mask" / f"{A}.npz", root / "hpa_cell_mask" / "alone.npz")
    shutil.copy(root / "hpa_cell_mask" / f"{A}.npz", root / "hpa_cell_mask" / f"{A}.npy")
    (root / "train" / "notes.txt").write_text("no image's")
    done = ingest(store, root, executor="serial")
    assert done.files == FileCounts(
        seen=6 * 6 - 1 + 2,
        stored=6,
        unchanged=6,
        rejected={"not_png": 6, "missing_file": 5, "label": 6},
        orphans={"image_without_label": 6, "mask_without_image": 1, "spare_file": 1},
        rows=1,
    )
    assert plan(store, root).orphans == (
        Orphan("image_without_label", name_of(5), 6),
        Orphan("mask_without_image", "alone", 1),
        Orphan("spare_file", A, 1),
        Orphan("label_without_image", "nobody", 0),
    )
    again = ingest(store, root, executor="serial")
    assert (again.files.stored, again.files.unchanged) == (0, 12)
    assert (again.files.rejected, again.files.orphans) == (done.files.rejected, done.files.orphans)


def test_a_stopped_run_accounts_for_what_it_left(store: Store, tmp_path: Path) -> None:
    root, asked = dataset(tmp_path, 4), itertools.count()
    done = ingest(store, root, executor="serial", stop=lambda: next(asked) >= 2)
    assert (done.new, done.files.stored, done.files.left) == (2, 10, 10)


def test_a_touched_image_is_unchanged_and_a_relabelled_one_too(
    store: Store, tmp_path: Path
) -> None:
    root = dataset(tmp_path, 3)
    ingest(store, root, executor="serial")
    (root / "train" / f"{A}_red.png").touch()
    write_table(root, {A: "0", B: "5", C: "0|16"})
    done = ingest(store, root, executor="serial")
    assert (done.relabelled, done.unchanged, done.files) == (1, 2, FileCounts(15, 0, 15, {}, {}))


# Any folder

STEMS = (
    *(
        "a",
        "A",
        "b",
        "cell-1",
        "a_red",
        "a b",
        "-x",
        "",
        "naïve",
        "nai\u0308ve",
        "x\x1b[31m",
        "\udcff",
    ),
    *("n" * 128, "n" * 129, "n" * 130),
)
ENDINGS = (
    *CHANNEL_ENDINGS,
    ".npz",
    ".npy",
    "_cellmask.png",
    "_nucleimask.png",
    ".txt",
    "_pink.png",
    ".PNG",
)
KINDS = ("good", "good", "good", "junk", "empty", "folder", "dangling", "loop", "link")
FOLDERS = ("train", "hpa_cell_mask", "hpa_nuclei_mask", "")


@dataclass(frozen=True)
class Mess:
    """Files in folders, which folder is for what, and the rows of a table."""

    files: dict[tuple[str, str, str], str]
    whole: frozenset[str]
    images: str
    masks: str
    nuclei: str
    rows: list[tuple[str, str]] | None
    limit: int | None


def messes() -> st.SearchStrategy[Mess]:
    folder, stem = st.sampled_from(FOLDERS), st.sampled_from(STEMS)
    file = st.tuples(folder, stem, st.sampled_from(ENDINGS))
    printable_stem = stem.filter(lambda name: "\udcff" not in name)
    row = st.tuples(printable_stem, st.sampled_from(["0", "0", "3|3", "99", ""]))
    return st.builds(
        Mess,
        st.dictionaries(file, st.sampled_from(KINDS), max_size=12),
        st.frozensets(st.sampled_from(STEMS[:6]), max_size=3),
        folder,
        folder,
        folder,
        st.none() | st.lists(row, min_size=1, max_size=6),
        st.none() | st.none() | st.integers(0, 3),
    )


def lay(mess: Mess, root: Path, good: Path) -> Layout:
    """Make the folders and the table."""
    for folder in FOLDERS:
        (root / folder).mkdir(parents=True, exist_ok=True)
    for name in mess.whole:
        for channel in CHANNELS:
            shutil.copyfile(
                good / "train" / f"good_{channel}.png", root / mess.images / f"{name}_{channel}.png"
            )
        shutil.copyfile(good / "hpa_cell_mask" / "good.npz", root / mess.masks / f"{name}.npz")
    for (folder, stem, ending), kind in mess.files.items():
        path = root / folder / (stem + ending)
        if not (path.is_symlink() or path.exists()):
            place(path, kind, good / "train" / "good_red.png")
    if mess.rows is not None:
        with (root / "rows.csv").open("w", newline="") as table:
            csv.writer(table).writerows([("ID", "Label"), *mess.rows])
    table_of = "none" if mess.rows is None else root / "rows.csv"
    folders = (root / mess.images, root / mess.masks, root / mess.nuclei)
    return Layout(root, table_of, *folders, limit=mess.limit)


def place(path: Path, kind: str, good: Path) -> None:
    if kind == "folder":
        path.mkdir()
    elif kind in ("dangling", "loop", "link"):
        path.symlink_to({"dangling": "nothing", "loop": path.name, "link": str(good)}[kind])
    else:
        path.write_bytes({"good": good.read_bytes(), "junk": b"junk", "empty": b""}[kind])


def count(mess: Mess, root: Path) -> int:
    """Count the files that are an image's by their names, the slow way."""
    return sum(
        path.name.endswith(tuple(of_folder))
        for folder, of_folder in endings_of(mess).items()
        for path in shown(root / folder)
    )


def has_image(mess: Mess, root: Path, name: str) -> bool:
    """Whether a row's image has a channel or a cell mask."""
    channels = [root / mess.images / f"{name}{ending}" for ending in CHANNEL_ENDINGS]
    masks = [root / mess.masks / f"{name}{ending}" for ending in (".npz", ".npy", "_cellmask.png")]
    return any(path.exists() for path in (*channels, *masks))


def shown(folder: Path) -> list[Path]:
    """List a folder without hidden files."""
    return [path for path in folder.iterdir() if not path.name.startswith(".")]


def meets(mess: Mess, root: Path) -> bool:
    """Whether a row names an image that has a file, or there is nothing that could be named."""
    files = [
        path for path in shown(root / mess.images) if path.is_file() and path.name != "rows.csv"
    ]
    if mess.rows is None:
        listed = shown(root / mess.images)
        return not files or any(path.name.endswith(CHANNEL_ENDINGS) for path in listed)
    stems = {
        printable(path.name[: -len(ending)])
        for folder, of_folder in endings_of(mess).items()
        for path in shown(root / folder)
        for ending in of_folder
        if path.name.endswith(ending)
    }
    return not files or not stems.isdisjoint(printable(name) for name, _ in mess.rows)


def endings_of(mess: Mess) -> dict[str, set[str]]:
    endings: dict[str, set[str]] = {}
    endings.setdefault(mess.images, set()).update(CHANNEL_ENDINGS)
    endings.setdefault(mess.masks, set()).update((".npz", ".npy", "_cellmask.png"))
    nuclei = endings.setdefault(mess.nuclei, set())
    nuclei.update(
        ("_nucleimask.png",) if mess.nuclei == mess.masks else (".npz", ".npy", "_nucleimask.png")
    )
    return endings


def adds_up(done: Summary) -> bool:
    files = done.files
    parts = (files.stored, files.unchanged, *files.rejected.values(), *files.orphans.values())
    return sum(parts) == files.seen and set(files.orphans) <= set(ORPHANS)


@pytest.mark.soak
def test_all_files_of_any_folder_are_accounted_for(
    store: Store, database: str, tmp_path: Path, trials: Trials, figure: Figure
) -> None:
    write_image(tmp_path / "good", "good")
    numbers, seen, most = itertools.count(), 0, trials(quick=15, full=60, soak=5000)

    @settings(max_examples=most, deadline=None, database=None)
    @given(messes())
    def check(mess: Mess) -> None:
        nonlocal seen
        root = tmp_path / f"mess-{next(numbers)}"
        layout = lay(mess, root, tmp_path / "good")
        if mess.rows is not None and not any("".join(row).strip() for row in mess.rows):
            with pytest.raises(InputError, match="has a header but no rows"):
                ingest(store, layout, executor="serial")
            shutil.rmtree(root)
            return
        if not meets(mess, root):
            with pytest.raises(
                InputError, match=r"no row matches an image in|no files match the expected names"
            ):
                ingest(store, layout, executor="serial")
            shutil.rmtree(root)
            return
        found, todo = discover(layout), plan(store, layout)
        if todo.stopped:
            assert not any(has_image(mess, root, source.name) for source in found.sources)
            with pytest.raises(InputError, match=r"no file of the \d+ images? in the table"):
                ingest(store, layout, executor="serial")
            shutil.rmtree(root)
            return
        done = ingest(store, layout, executor="serial", allow_gone="all")
        assert adds_up(done), done
        assert done.files == ingest(store, layout, executor="serial").files or done.files.stored
        if mess.limit is None:
            assert done.files.seen == count(mess, root)
            in_orphans = sum(orphan.files for orphan in todo.orphans)
            assert sum(done.files.orphans.values()) == in_orphans
        assert done.rejected >= len(todo.rejected)
        assert len({*(s.name for s in found.sources), *(f.image_name for f in found.failures)}) == (
            done.new
            + done.changed
            + done.relabelled
            + done.unchanged
            + done.rejected
            + done.files.rows
        )
        assert plan(store, layout).work == 0
        seen += done.files.seen
        shutil.rmtree(root)

    check()
    assert all(
        row["image_name"].isprintable() for row in rows(store, "SELECT image_name FROM failure")
    )
    figure(f"{database}: {seen} files of {next(numbers)} messy folders, each accounted for")
