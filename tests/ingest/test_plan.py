from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from hpastore.ingest.plan import plan
from hpastore.model import CELL_MASK, CHANNELS, NUCLEUS_MASK, Failure, FileStamp, Found, Known, Plan, Source

ROOT = Path("/data")
NEEDED = (*CHANNELS, CELL_MASK)


def files(*roles: str, mtime_ns: int = 1, size: int = 10) -> tuple[FileStamp, ...]:
    return tuple(FileStamp(role, f"train/a_{role}.png", size, mtime_ns) for role in roles or NEEDED)


def source(
    name: str = "a", labels: tuple[int, ...] = (0,), stamps: tuple[FileStamp, ...] | None = None
) -> Source:
    stamps = files() if stamps is None else stamps
    present = {stamp.role for stamp in stamps}
    return Source(name, labels, stamps, tuple(f"train/{name}_{r}.png" for r in NEEDED if r not in present))


def known(
    root: str = "/data",
    labels: tuple[int, ...] = (0,),
    stamps: tuple[FileStamp, ...] | None = None,
    split: str | None = None,
) -> Known:
    return Known(root, split, labels, files() if stamps is None else stamps)


def planned(*sources: Source, **stored: Known) -> Plan:
    return plan(Found(ROOT, sources, ()), stored)


def test_what_the_store_does_not_know_is_new() -> None:
    assert planned(source()) == Plan((source(),), (), (), 0, ())


def test_what_it_knows_is_left_alone() -> None:
    found = planned(source(), a=known())
    assert found == Plan((), (), (), 1, ())
    assert found.work == 0


def test_other_files_are_a_change() -> None:
    for stamps in (files(mtime_ns=2), files(size=11), files(*NEEDED, NUCLEUS_MASK)):
        assert planned(source(stamps=stamps), a=known()).changed == (source(stamps=stamps),)
    without = source()
    assert planned(without, a=known(stamps=files(*NEEDED, NUCLEUS_MASK))).changed == (without,)


def test_other_labels_need_no_pixel() -> None:
    for labels in ((), (1,), (0, 1)):
        assert planned(source(labels=labels), a=known()).relabelled == (source(labels=labels),)


def test_other_files_and_labels_are_one_change() -> None:
    changed = source(labels=(5,), stamps=files(mtime_ns=2))
    assert planned(changed, a=known()) == Plan((), (changed,), (), 0, ())


def test_an_image_that_is_gone_is_left_alone() -> None:
    assert planned(a=known()) == Plan((), (), (), 0, ())


def test_missing_files_are_named() -> None:
    (failure,) = planned(source(stamps=files("red", "green", "yellow"))).rejected
    assert failure == Failure(
        "a",
        "train/a_blue.png",
        "missing_file",
        "a: train/a_blue.png and train/a_cell_mask.png are missing; "
        "add it, or remove the image's row from the table",
    )


def test_an_image_without_any_file_is_said_so() -> None:
    (failure,) = planned(source(stamps=())).rejected
    assert (failure.code, failure.uri) == ("missing_file", "train/a_red.png")
    assert failure.message.startswith("a: every file is missing; ")


def test_an_image_that_lost_a_file_is_rejected_and_kept() -> None:
    found = planned(source(stamps=files(*CHANNELS)), a=known())
    assert [failure.code for failure in found.rejected] == ["missing_file"]
    assert found.work == 0


def test_another_roots_image_of_the_same_name_is_a_conflict() -> None:
    (failure,) = planned(source(stamps=files(mtime_ns=2)), a=known("/other")).rejected
    assert failure.code == "conflict"
    assert failure.message == "a: the store has another image of this name, from /other; rename one of them"


def test_the_same_files_under_another_root_are_no_conflict() -> None:
    assert planned(source(), a=known("/other")) == Plan((), (), (), 1, (), moved=("a",))
    assert planned(source(labels=(4,)), a=known("/other")).relabelled == (source(labels=(4,)),)


def test_another_split_is_recorded_if_one_is_given() -> None:
    found = Found(ROOT, (source(),), (), "dev")
    assert plan(found, {"a": known(split="train")}).moved == ("a",)
    assert plan(found, {"a": known(split="dev")}).moved == ()
    assert planned(source(), a=known(split="train")).moved == ()


def test_an_image_that_is_as_stored_again_has_recovered() -> None:
    found = plan(Found(ROOT, (source(),), ()), {"a": known()}, {"a"})
    assert found == Plan((), (), (), 1, (), recovered=("a",))


def test_a_failure_that_left_the_inputs_has_recovered_unless_only_some_were_looked_at() -> None:
    assert plan(Found(ROOT, (), ()), {}, {"b"}).recovered == ("b",)
    assert plan(Found(ROOT, (), (), complete=False), {}, {"b"}).recovered == ()
    still = Failure("b", "train.csv", "name", "line 2")
    assert plan(Found(ROOT, (), (still,)), {}, {"b"}).recovered == ()
    assert plan(Found(ROOT, (source("b"),), ()), {}, {"b"}).recovered == ()


def test_an_image_is_rejected_once_however_many_rows_are_bad() -> None:
    twice = (Failure("b", "train.csv", "label", "line 3"), Failure("b", "train.csv", "label", "line 4"))
    assert plan(Found(ROOT, (), twice), {}).rejected == (twice[1],)


def test_failures_of_the_table_are_handed_on() -> None:
    failure = Failure("b", "train.csv", "label", "line 3")
    assert plan(Found(ROOT, (source(),), (failure,)), {}).rejected == (failure,)


names = st.sampled_from("abcdef")
labels = st.lists(st.integers(0, 2), unique=True, max_size=2).map(lambda ids: tuple(sorted(ids)))
stamps = st.builds(
    lambda roles, mtime_ns: files(*[r for r in (*NEEDED, NUCLEUS_MASK) if r in roles], mtime_ns=mtime_ns),
    st.sets(st.sampled_from((*NEEDED, NUCLEUS_MASK)), min_size=1) | st.just(set(NEEDED)),
    st.integers(1, 2),
)
sources = st.lists(st.builds(source, names, labels, stamps | st.just(())), unique_by=lambda s: s.name).map(
    lambda found: tuple(sorted(found))
)
roots = st.sampled_from(["/data", "/other"])
stores = st.dictionaries(names, st.builds(Known, roots, st.none(), labels, stamps))


def done(todo: Plan, stored: dict[str, Known]) -> dict[str, Known]:
    """What a store knows after a plan was carried out."""
    looked_at = (*todo.new, *todo.changed, *todo.relabelled)
    left = {name: image._replace(root=str(ROOT)) for name, image in stored.items() if name in todo.moved}
    return {**stored, **left, **{s.name: Known(str(ROOT), None, s.labels, s.files) for s in looked_at}}


@given(sources, stores)
def test_planning_is_idempotent(found: tuple[Source, ...], stored: dict[str, Known]) -> None:
    first = plan(Found(ROOT, found, ()), stored)
    again = plan(Found(ROOT, found, ()), done(first, stored))
    assert again == Plan((), (), (), first.unchanged + first.work, first.rejected)


@given(sources, stores)
def test_every_source_is_in_exactly_one_place(found: tuple[Source, ...], stored: dict[str, Known]) -> None:
    todo = plan(Found(ROOT, found, ()), stored)
    placed = [s.name for s in (*todo.new, *todo.changed, *todo.relabelled)]
    placed += [failure.image_name for failure in todo.rejected]
    assert len(set(placed)) == len(placed)
    assert set(placed) <= {s.name for s in found}
    assert len(placed) + todo.unchanged == len(found)
    assert not {s.name for s in todo.new} & set(stored)
    assert {s.name for s in (*todo.changed, *todo.relabelled)} <= set(stored)


@given(sources, stores)
def test_planning_changes_nothing_and_depends_on_nothing_else(
    found: tuple[Source, ...], stored: dict[str, Known]
) -> None:
    before = dict(stored)
    first = plan(Found(ROOT, found, ()), stored)
    assert stored == before
    assert plan(Found(ROOT, found, ()), dict(reversed(stored.items()))) == first
