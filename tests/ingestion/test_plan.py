from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpastore.ingestion.plan import make_plan
from hpastore.ingestion.policy import Policy
from hpastore.kernels.definitions import VERSIONS
from hpastore.kernels.versions import remeasured_settings
from hpastore.model import (
    Change,
    Failure,
    FileStamp,
    Inputs,
    MaskOptions,
    MeasurementSettings,
    Orphan,
    Plan,
    RequiredMeasures,
    Source,
    StoredImage,
)
from hpastore.vocabulary import CELL_MASK, CHANNELS, NUCLEUS_MASK, ROLES

ROOT = Path("/data")
NEEDED = (*CHANNELS, CELL_MASK)
OLDER = dict.fromkeys(VERSIONS, 0)
NOW = MeasurementSettings(0.99, VERSIONS)
OTHER_PERCENTILE = MeasurementSettings(0.5, VERSIONS)
OTHER_VERSION = MeasurementSettings(0.99, OLDER)
OLDER_ENTROPY = MeasurementSettings(0.99, {**VERSIONS, "entropy": 0})
WITHOUT_BRENNER = MeasurementSettings(
    0.99, {name: version for name, version in VERSIONS.items() if name != "brenner"}
)
OF_HISTOGRAMS, OF_CROPS = ("p99", 2), ("offset", 1)
REQUIRED = RequiredMeasures(frozenset({OF_HISTOGRAMS}), frozenset({OF_CROPS}))
BOTH = frozenset({OF_HISTOGRAMS, OF_CROPS})
OLD = "lacks the current version of x, y, width and 15 more"


def files(*roles: str, mtime_ns: int = 1, size: int = 10) -> tuple[FileStamp, ...]:
    return tuple(FileStamp(role, f"train/a_{role}.png", size, mtime_ns) for role in roles or NEEDED)


def altered(role: str, *, size: int = 10, mtime_ns: int = 2) -> tuple[FileStamp, ...]:
    """Files one of which is another."""
    return tuple(f._replace(size=size, mtime_ns=mtime_ns) if f.role == role else f for f in files())


def source(
    name: str = "a", labels: tuple[int, ...] = (0,), stamps: tuple[FileStamp, ...] | None = None
) -> Source:
    stamps = files() if stamps is None else stamps
    present = {stamp.role for stamp in stamps}
    return Source(
        name, labels, stamps, tuple(f"train/{name}_{r}.png" for r in NEEDED if r not in present)
    )


def known(
    root: str = "/data",
    labels: tuple[int, ...] = (0,),
    stamps: tuple[FileStamp, ...] | None = None,
    split: str | None = None,
    settings: MeasurementSettings = NOW,
    *,
    gone: bool = False,
    measures: frozenset[tuple[str, int]] = frozenset(),
) -> StoredImage:
    return StoredImage(
        root, split, labels, files() if stamps is None else stamps, settings, gone, measures
    )


ANY_GONE = Policy(allow_gone=1_000)
PRUNE = Policy(prune=True, allow_gone=1_000)


def planned(
    *sources: Source, split: str | None = None, policy: Policy = ANY_GONE, **stored: StoredImage
) -> Plan:
    return make_plan(Inputs(ROOT, sources, (), split), stored, settings=NOW, policy=policy)


def unchanged(n: int = 1, **rest: object) -> Plan:
    return Plan(unchanged=n, unchanged_files=5 * n, **rest)  # type: ignore[arg-type]  # by name


def tried(code: str = "png", stamps: tuple[FileStamp, ...] | None = None) -> Failure:
    return Failure("a", "train/a_red.png", code, "a is bad", files() if stamps is None else stamps)


# New, changed, relabelled, unchanged


@pytest.mark.parametrize(
    ("said", "stored", "differ"),
    [
        ((), {}, False),
        ((("plate", "P1"),), {"plate": "P1"}, False),
        ((("plate", ""),), {}, False),
        ((("plate", "P1"),), {}, True),
        ((("plate", "P2"),), {"plate": "P1"}, True),
        ((("plate", ""),), {"plate": "P1"}, True),
        ((), {"plate": "P1"}, False),
        ((("plate", "P1"),), {"plate": "P1", "well": "A1"}, False),
    ],
)
def test_an_image_with_other_columns_is_relabelled(
    said: tuple[tuple[str, str], ...], stored: dict[str, str], differ: bool
) -> None:
    image = source()._replace(columns=said)
    todo = planned(image, a=known()._replace(columns=stored))
    assert todo == (Plan(relabelled=(image,), unchanged_files=5) if differ else unchanged())


def test_what_the_store_does_not_know_is_new() -> None:
    assert planned(source()) == Plan(new=(source(),))


def test_what_it_knows_is_left_alone() -> None:
    found = planned(source(), a=known())
    assert found == unchanged()
    assert found.work == 0


def test_files_of_other_sizes_are_a_change_that_names_them() -> None:
    for stamps, roles in (
        (files(size=11), NEEDED),
        (altered("blue", size=11), ("blue",)),
        (files(*NEEDED, NUCLEUS_MASK), (NUCLEUS_MASK,)),
    ):
        found = source(stamps=stamps)
        assert planned(found, a=known()).changed == (Change(found, roles),)
    with_nuclei = known(stamps=files(*NEEDED, NUCLEUS_MASK))
    assert planned(source(), a=with_nuclei).changed == (Change(source(), (NUCLEUS_MASK,)),)


def test_files_of_other_times_are_doubtful_until_their_bytes_were_compared() -> None:
    touched = source(stamps=altered("green"))
    assert planned(touched, a=known()) == Plan(doubtful=(Change(touched, ("green",)),))
    found, stored = Inputs(ROOT, (touched,), ()), {"a": known()}
    assert make_plan(found, stored, compared={"a": ()}) == unchanged()
    assert make_plan(found, stored, compared={"a": ("green",)}) == Plan(
        changed=(Change(touched, ("green",)),)
    )


def test_files_of_other_names_are_doubtful_too() -> None:
    elsewhere = source(stamps=tuple(f._replace(uri=f"moved/{f.uri}") for f in files()))
    assert planned(elsewhere, a=known()).doubtful == (Change(elsewhere, NEEDED),)


def test_other_labels_need_no_pixel() -> None:
    for labels in ((), (1,), (0, 1)):
        found = planned(source(labels=labels), a=known())
        assert found == Plan(relabelled=(source(labels=labels),), unchanged_files=5)


def test_other_files_and_labels_are_one_change() -> None:
    changed = source(labels=(5,), stamps=altered("red", size=11))
    assert planned(changed, a=known()) == Plan(changed=(Change(changed, ("red",)),))


# Gone, and back


def test_an_image_without_a_row_is_gone() -> None:
    found = planned(a=known())
    assert found == Plan(gone=("a",))
    assert found.work == 1


def test_an_image_without_any_file_is_gone_and_its_row_an_orphan() -> None:
    found = planned(source(stamps=()), a=known())
    assert found == Plan(gone=("a",), orphans=(Orphan("label_without_image", "a", 0),))


def test_an_image_with_a_bad_row_is_gone_only_where_its_files_are() -> None:
    bad = Failure("a", "train.csv", "label", "line 2")
    for left, gone in ((5, ()), (0, ("a",))):
        found = make_plan(
            Inputs(ROOT, (), (bad,), refused={"a": left}), {"a": known()}, policy=ANY_GONE
        )
        assert found == Plan(rejected=(bad,), gone=gone)


def test_other_roots_and_what_a_limit_leaves_out_are_not_gone() -> None:
    assert planned(a=known("/other")) == Plan()
    assert make_plan(Inputs(ROOT, (), (), complete=False), {"a": known()}) == Plan()


def test_an_image_is_gone_whatever_its_split_and_that_of_the_run() -> None:
    for stored in (known(), known(split="train"), known(split="val")):
        assert planned(a=stored, split="train").gone == ("a",)
        assert planned(a=stored).gone == ("a",)


def test_a_nucleus_mask_alone_keeps_no_image() -> None:
    alone = source(stamps=files(NUCLEUS_MASK))
    assert planned(alone, a=known()) == Plan(
        gone=("a",), orphans=(Orphan("label_without_image", "a", 1),)
    )
    with_mask = planned(source(stamps=files(CELL_MASK, NUCLEUS_MASK)), a=known())
    assert (with_mask.gone, [f.code for f in with_mask.rejected]) == ((), ["missing_file"])


def test_a_plan_says_why_it_must_not_be_carried_out() -> None:
    stopped = make_plan(Inputs(ROOT, (), ()), {"a": known()})
    assert stopped.stopped is not None
    assert stopped.gone == ("a",)
    assert planned(a=known()).stopped is None


def test_an_image_that_is_marked_as_gone_is_no_work() -> None:
    assert planned(a=known(gone=True)) == Plan()


def test_an_image_that_is_back_as_it_was_has_returned() -> None:
    found = planned(source(), a=known(gone=True))
    assert found == unchanged(returned=("a",))
    assert found.work == 1


def test_an_image_that_is_back_otherwise_is_relabelled_or_changed() -> None:
    gone = known(gone=True)
    assert planned(source(labels=(7,)), a=gone) == Plan(
        relabelled=(source(labels=(7,)),), unchanged_files=5
    )
    changed = source(stamps=altered("red", size=11))
    assert planned(changed, a=gone) == Plan(changed=(Change(changed, ("red",)),))


def test_pruning_takes_what_is_gone_and_was_before_of_this_root() -> None:
    stored = {
        "a": known(),
        "b": known(gone=True),
        "c": known("/other", gone=True),
        "d": known(split="train", gone=True),
        "e": known(gone=True),
        "f": known(gone=True),
        "g": known(gone=True, settings=OTHER_PERCENTILE),
    }
    back, half = source("e"), source("f", stamps=files("red"))
    found = Inputs(ROOT, (back, half), ())
    todo = make_plan(found, stored, settings=NOW, policy=PRUNE)
    pruned = ("a", "b", "d", "g")
    assert (todo.gone, todo.pruned, todo.stale, todo.work) == (("a",), pruned, (), 6)
    assert make_plan(found, stored, settings=NOW).pruned == ()
    assert make_plan(found, stored, settings=NOW).stale == ("g",)
    assert make_plan(Inputs(ROOT, (), (), complete=False), stored, policy=PRUNE).pruned == ()


# Stale


def test_numbers_of_another_percentile_are_stale_whatever_their_root() -> None:
    stored = {
        "a": known(settings=OTHER_PERCENTILE),
        "b": known("/other", settings=OTHER_PERCENTILE),
    }
    todo = make_plan(Inputs(ROOT, (source(),), ()), stored, settings=NOW)
    assert todo == unchanged(stale=("a", "b"))
    assert todo.work == 2
    relabelled = make_plan(Inputs(ROOT, (source(labels=(4,)),), ()), stored, settings=NOW)
    assert (len(relabelled.relabelled), relabelled.stale, relabelled.work) == (1, ("a", "b"), 2)


def test_a_changed_image_is_not_stale_besides() -> None:
    changed = source(stamps=altered("red", size=11))
    todo = planned(changed, a=known(settings=OTHER_PERCENTILE))
    assert todo == Plan(changed=(Change(changed, ("red",)),))


def test_measures_of_another_version_need_the_pixels_again() -> None:
    old = known(settings=OTHER_VERSION)
    assert planned(source(), a=old) == Plan(changed=(Change(source(), (), OLD),))
    touched = Inputs(ROOT, (source(stamps=altered("red")),), ())
    assert make_plan(touched, {"a": old}, settings=NOW).doubtful
    assert make_plan(touched, {"a": old}, settings=NOW, compared={"a": ()}).changed == (
        Change(touched.sources[0], (), OLD),
    )
    assert planned(a=known("/other", settings=OTHER_VERSION)) == Plan(stale=("a",))


def test_a_measure_of_pixels_makes_no_other_stale() -> None:
    lacking = "lacks the current version of brenner"
    todo = planned(source(), a=known(settings=WITHOUT_BRENNER))
    assert todo == Plan(changed=(Change(source(), (), lacking),))
    for elsewhere in (known("/other", settings=WITHOUT_BRENNER), known(gone=True)):
        assert planned(a=elsewhere) == Plan()


def test_a_measure_of_histograms_is_stale_and_needs_no_pixels() -> None:
    older = known(settings=OLDER_ENTROPY)
    assert planned(source(), a=older) == unchanged(stale=("a",))
    assert planned(a=older._replace(root="/other")) == Plan(stale=("a",))


def test_other_levels_need_the_pixels_for_all_measures_of_channels() -> None:
    other = known(settings=replace(NOW, levels="p99.9"))
    ((_, _, why),) = planned(source(), a=other).changed
    assert (
        why
        == "lacks the current version of intensity_min, intensity_max, intensity_mean and 13 more"
    )
    assert planned(a=other._replace(root="/other")) == Plan()


# Measures that users added


def lacking(
    *sources: Source, failed: dict[str, Failure] | None = None, **stored: StoredImage
) -> Plan:
    return make_plan(
        Inputs(ROOT, sources, ()), stored, failed, failed or (), NOW, required=REQUIRED
    )


def test_an_image_without_a_measure_of_pixels_is_read_again_wherever_it_was_if_it_is_here() -> None:
    for stored in (
        known(),
        known("/other"),
        known(gone=True),
        known(labels=(4,)),
        known(measures=frozenset({OF_HISTOGRAMS})),
        known(measures=frozenset({OF_HISTOGRAMS, ("offset", 2)})),
        known(settings=OTHER_PERCENTILE, measures=frozenset({OF_HISTOGRAMS})),
    ):
        stale = ("a",) if stored.settings != NOW else ()
        todo = lacking(source(), a=stored)
        assert todo == Plan(unmeasured=(source(),), stale=stale)
        assert todo.work == 1
    assert lacking(source(), a=known(measures=BOTH)) == unchanged()
    for elsewhere in (known("/other"), known(gone=True)):
        assert lacking(a=elsewhere._replace(measures=frozenset({OF_HISTOGRAMS}))) == Plan()


def test_an_image_without_a_measure_of_histograms_is_stale_wherever_it_is() -> None:
    crops = frozenset({OF_CROPS})
    for measures in (crops, crops | {("p99", 1)}):
        here, there = (
            known(measures=measures),
            known("/other", measures=measures, settings=OTHER_VERSION),
        )
        todo = lacking(source(), a=here, b=there, c=known(gone=True, measures=measures))
        assert todo == unchanged(stale=("a", "b", "c"))
    relabelled = source(labels=(4,))
    todo = lacking(relabelled, a=known(measures=crops))
    assert todo == Plan(relabelled=(relabelled,), unchanged_files=5, stale=("a",))


def test_what_is_measured_anyway_lacks_nothing() -> None:
    changed = source(stamps=altered("red", size=11))
    assert lacking(changed, a=known()) == Plan(changed=(Change(changed, ("red",)),))
    assert lacking(source(), a=known(settings=OTHER_VERSION)) == Plan(
        changed=(Change(source(), (), OLD),)
    )


def test_a_touched_image_without_a_measure_is_doubtful_until_its_bytes_were_compared() -> None:
    touched = Inputs(ROOT, (source(stamps=altered("red")),), ())
    assert make_plan(touched, {"a": known(measures=BOTH)}, settings=NOW, required=REQUIRED).doubtful
    same = make_plan(touched, {"a": known()}, settings=NOW, required=REQUIRED, compared={"a": ()})
    assert same == Plan(unmeasured=touched.sources)


def test_measures_that_nobody_has_installed_any_more_make_nothing_stale() -> None:
    assert planned(source(), a=known(measures=BOTH)) == unchanged()


def test_an_image_that_was_measured_in_vain_is_left_until_its_failure_is_forgotten() -> None:
    failed = {"a": tried("measure")}
    known_reject = Plan(rejected=(failed["a"],), rejected_before=1, stale=("a",))
    assert lacking(source(), failed=failed, a=known()) == known_reject
    assert lacking(source(), failed=failed, a=known(measures=BOTH)) == unchanged(recovered=("a",))
    forgotten = {"a": tried("measure", stamps=())}
    assert lacking(source(), failed=forgotten, a=known()) == Plan(unmeasured=(source(),))


# Rejected


def test_missing_files_are_named() -> None:
    (failure,) = planned(source(stamps=files("red", "green", "yellow"))).rejected
    assert failure == Failure(
        "a",
        "train/a_blue.png",
        "missing_file",
        "a: train/a_blue.png and train/a_cell_mask.png are missing; "
        "add them, or remove the image's row from the table",
    )
    assert (
        "blue.png is missing; add it,"
        in planned(source(stamps=files("red", "green", "yellow", CELL_MASK))).rejected[0].message
    )


def test_an_image_that_lost_a_file_is_rejected_and_kept() -> None:
    found = planned(source(stamps=files(*CHANNELS)), a=known())
    assert [failure.code for failure in found.rejected] == ["missing_file"]
    assert (found.work, found.gone) == (1, ())
    listed = {"a": found.rejected[0]}
    again = make_plan(Inputs(ROOT, (source(stamps=files(*CHANNELS)),), ()), {"a": known()}, listed)
    assert (again.rejected, again.rejected_before, again.work) == (found.rejected, 1, 0)


def test_what_was_tried_in_vain_is_tried_again_only_when_its_files_change() -> None:
    for stored in ({}, {"a": known(stamps=files(size=9))}):
        again = make_plan(Inputs(ROOT, (source(),), ()), stored, {"a": tried()})
        assert again == Plan(rejected=(tried(),), rejected_before=1)
        assert again.work == 0
        for other in (files(mtime_ns=2), files(size=11), files(*ROLES), ()):
            assert (
                make_plan(Inputs(ROOT, (source(),), ()), stored, {"a": tried(stamps=other)}).work
                == 1
            )


def test_an_image_that_is_as_stored_is_unchanged_whatever_was_tried() -> None:
    assert make_plan(Inputs(ROOT, (source(),), ()), {"a": known()}, {"a": tried()}) == unchanged()


def test_an_image_is_rejected_once_however_many_rows_are_bad() -> None:
    twice = (
        Failure("b", "train.csv", "label", "line 3"),
        Failure("b", "train.csv", "label", "line 4"),
    )
    assert make_plan(Inputs(ROOT, (), twice), {}).rejected == (twice[1],)


def test_failures_of_the_table_are_handed_on() -> None:
    failure = Failure("b", "train.csv", "label", "line 3")
    assert make_plan(Inputs(ROOT, (source(),), (failure,)), {}).rejected == (failure,)


def test_a_new_name_that_equals_a_stored_one_but_for_case_is_refused() -> None:
    todo = planned(source("A"), source("b"), a=known("/other"))
    assert todo == Plan(
        new=(source("b"),),
        rejected=(
            Failure(
                "A",
                "train/a_red.png",
                "duplicate",
                "A: the store has a, which differs only in case; rename one of them",
            ),
        ),
    )


def test_an_image_may_be_renamed_in_case_only() -> None:
    assert planned(source("A"), a=known()) == Plan(new=(source("A"),), gone=("a",))
    assert planned(source("A"), a=known(gone=True)) == Plan(new=(source("A"),))


# Failures that are none any more


def test_an_image_that_is_as_stored_again_has_recovered() -> None:
    found = make_plan(Inputs(ROOT, (source(),), ()), {"a": known()}, {"a": tried()}, ["a"])
    assert found == unchanged(recovered=("a",))


def test_a_failure_that_left_the_inputs_has_recovered_unless_only_some_were_looked_at() -> None:
    failed = {"b": Failure("b", "", "png", "", files())}
    assert make_plan(Inputs(ROOT, (), ()), {}, failed, ["b"]).recovered == ("b",)
    assert make_plan(Inputs(ROOT, (), ()), {}, failed).recovered == ()
    assert make_plan(Inputs(ROOT, (), (), complete=False), {}, failed, ["b"]).recovered == ()
    still = Failure("b", "train.csv", "name", "line 2")
    assert make_plan(Inputs(ROOT, (), (still,)), {}, failed, ["b"]).recovered == ()
    for stamps in (files(), files(mtime_ns=2), files("red")):
        assert (
            make_plan(Inputs(ROOT, (source("b", stamps=stamps),), ()), {}, failed, ["b"]).recovered
            == ()
        )
    assert make_plan(Inputs(ROOT, (source("b", stamps=()),), ()), {}, failed, ["b"]).recovered == (
        "b",
    )


# Other roots and splits


def test_another_roots_image_of_the_same_name_is_a_conflict() -> None:
    (failure,) = planned(source(stamps=files(size=11)), a=known("/other")).rejected
    assert failure == Failure(
        "a",
        "train/a_red.png",
        "conflict",
        "a: the store has another image with this name, from /other; rename one of the two.  If that root "
        "no longer exists: ingest with --moved-from /other if it has moved here, else run "
        "hpastore forget /other",
        files(size=11),
    )


def test_only_bytes_tell_whether_another_roots_image_of_the_same_sizes_is_a_conflict() -> None:
    other = source(stamps=files(mtime_ns=2))
    found, stored = Inputs(ROOT, (other,), ()), {"a": known("/other")}
    assert make_plan(found, stored) == Plan(doubtful=(Change(other, NEEDED),))
    assert make_plan(found, stored, compared={"a": ()}) == unchanged(moved=("a",))
    (failure,) = make_plan(found, stored, compared={"a": ("red",)}).rejected
    assert failure.code == "conflict"


def test_a_conflict_is_looked_at_again_when_the_other_image_is_not_there_any_more() -> None:
    found, failed = Inputs(ROOT, (source(),), ()), {"a": tried("conflict")}
    assert make_plan(found, {"a": known("/other", stamps=files(size=9))}, failed).rejected == (
        failed["a"],
    )
    assert make_plan(found, {}, failed).new == (source(),)
    assert make_plan(found, {"a": known(stamps=files(size=9))}, failed).changed == (
        Change(source(), NEEDED),
    )


def test_the_same_files_under_another_root_are_no_conflict() -> None:
    assert planned(source(), a=known("/other")) == unchanged(moved=("a",))
    relabelled = source(labels=(4,))
    assert planned(relabelled, a=known("/other")) == Plan(
        relabelled=(relabelled,), unchanged_files=5
    )


def test_a_rejected_image_moves_with_its_root() -> None:
    half, spoilt = source(stamps=files("red")), source(stamps=altered("red", size=9))
    assert planned(half, a=known("/other")).moved == ("a",)
    for stored, moved in (
        (known("/other"), ("a",)),
        (known(), ()),
        (known("/other", gone=True), ()),
        (known("/other", stamps=files(mtime_ns=5)), ()),
    ):
        todo = make_plan(
            Inputs(ROOT, (spoilt,), ()), {"a": stored}, {"a": tried(stamps=spoilt.files)}
        )
        assert (len(todo.rejected), todo.moved, todo.work) == (1, moved, 0)
        todo = make_plan(
            Inputs(ROOT, (spoilt,), ()), {"a": stored}, {"a": tried("conflict", spoilt.files)}
        )
        assert todo.moved == ()


def test_a_gone_image_of_another_root_is_in_nobodys_way() -> None:
    other = source(stamps=files(size=11))
    assert planned(other, a=known("/other", gone=True)) == Plan(changed=(Change(other, NEEDED),))


def test_an_image_keeps_its_split_unless_it_has_none_or_it_is_to_be_changed() -> None:
    first = planned(source(), a=known(), split="val")
    assert (first.resplit, first.unchanged, first.work) == (("a",), 1, 1)
    other = planned(source(), a=known(split="train"), split="val")
    assert (other.resplit, other.other_split, other.work) == ((), {"train": 1}, 0)
    changed = planned(source(), a=known(split="train"), split="val", policy=Policy(resplit=True))
    assert (changed.resplit, changed.other_split, changed.work) == (("a",), {}, 1)
    for same in (
        planned(source(), a=known(split="val"), split="val"),
        planned(source(), a=known(split="val")),
    ):
        assert (same.resplit, same.other_split, same.work) == ((), {}, 0)


def test_a_namesake_in_another_root_keeps_its_split() -> None:
    namesake = source(stamps=files(size=11))
    todo = planned(namesake, a=known("/other"), split="val", policy=Policy(resplit=True))
    assert (todo.resplit, todo.other_split) == ((), {})


# How masks are read


@pytest.mark.parametrize(
    ("masks", "in_pieces", "policy", "why"),
    [
        (MaskOptions(), True, Policy(binary_mask="components"), "--binary-mask components"),
        (MaskOptions(), False, Policy(binary_mask="components"), ""),
        (MaskOptions("components"), False, Policy(binary_mask="components"), ""),
        (MaskOptions("components"), False, Policy(), ""),
        (MaskOptions("components"), False, Policy(binary_mask="keep"), "--binary-mask keep"),
        (MaskOptions(), False, Policy(match_nuclei="overlap"), "matched by overlap"),
        (MaskOptions("keep", "overlap"), False, Policy(), ""),
        (MaskOptions("keep", "overlap"), False, Policy(match_nuclei="id"), "matched by id"),
    ],
)
def test_an_image_is_read_again_if_its_masks_are_to_be_read_otherwise(
    masks: MaskOptions, in_pieces: bool, policy: Policy, why: str
) -> None:
    image = source(stamps=files(*ROLES))
    stored = known(stamps=image.files)._replace(masks=masks, in_pieces=in_pieces)
    todo = planned(image, a=stored, policy=policy)
    assert (len(todo.changed), todo.unchanged) == ((1, 0) if why else (0, 1))
    assert all(why in change.why for change in todo.changed)


def test_nuclei_need_no_other_reading_where_there_are_none() -> None:
    assert planned(source(), a=known(), policy=Policy(match_nuclei="overlap")) == unchanged()


def test_an_image_whose_nuclei_were_refused_is_tried_again_where_they_are_matched() -> None:
    failed = {"a": tried("nucleus_ids")}
    for policy, new in ((Policy(), ()), (Policy(match_nuclei="overlap"), (source(),))):
        assert make_plan(Inputs(ROOT, (source(),), ()), {}, failed, policy=policy).new == new


# Any plan

names = st.sampled_from("abcdefA")
labels = st.lists(st.integers(0, 2), unique=True, max_size=2).map(lambda ids: tuple(sorted(ids)))
stamps = st.builds(
    lambda roles, mtime_ns, size: files(
        *[r for r in ROLES if r in roles], mtime_ns=mtime_ns, size=size
    ),
    st.sets(st.sampled_from(ROLES), min_size=1) | st.just(set(NEEDED)),
    st.integers(1, 2),
    st.integers(10, 11),
)
said = st.sampled_from([(), (("plate", ""),), (("plate", "P1"),), (("plate", "P2"),)])
sources = st.lists(
    st.builds(
        lambda image, columns: image._replace(columns=columns),
        st.builds(source, names, labels, stamps | st.just(())),
        said,
    ),
    unique_by=lambda s: s.name,
).map(lambda found: tuple(sorted(found)))
roots = st.sampled_from(["/data", "/other"])
recipes = st.sampled_from([NOW, OTHER_PERCENTILE, OTHER_VERSION, OLDER_ENTROPY, WITHOUT_BRENNER])
splits = st.sampled_from([None, "train"])
had = st.frozensets(st.sampled_from([OF_HISTOGRAMS, OF_CROPS, ("p99", 1), ("old", 1)]))
images = st.builds(
    lambda image, columns: image._replace(columns=columns),
    st.builds(StoredImage, roots, splits, labels, stamps, recipes, st.booleans(), had),
    st.sampled_from([{}, {"plate": "P1"}, {"plate": "P2", "well": "A1"}]),
)
stores = st.dictionaries(names, images)
codes = st.sampled_from(["png", "conflict"])
failed = st.dictionaries(names, st.builds(tried, codes, stamps)).map(
    lambda tries: {name: replace(failure, image_name=name) for name, failure in tries.items()}
)
bytes_differ = st.dictionaries(names, st.booleans())


@st.composite
def found(draw: st.DrawFn) -> Inputs:
    taken = draw(sources)
    others = draw(st.sets(names)) - {s.name for s in taken}
    bad = tuple(Failure(name, "train.csv", "label", "line 2") for name in sorted(others))
    return Inputs(
        ROOT, taken, bad, draw(splits), refused={f.image_name: draw(st.integers(0, 5)) for f in bad}
    )


def compared(todo: Plan, differ: dict[str, bool]) -> dict[str, tuple[str, ...]]:
    """What comes of comparing bytes: each doubtful image differs in all its files or in none."""
    return {
        c.source.name: c.roles if differ.get(c.source.name, False) else () for c in todo.doubtful
    }


def done(todo: Plan, found: Inputs, stored: dict[str, StoredImage]) -> dict[str, StoredImage]:
    """What a store knows after a plan was carried out."""
    after = dict(stored)
    after |= {name: of_histograms(after[name]) for name in todo.stale}
    for name in (*todo.moved, *todo.returned):
        after[name] = after[name]._replace(root=str(ROOT), gone=False)
    for s in (*todo.relabelled, *todo.unmeasured):
        columns = s.columns_after(after[s.name].columns)
        after[s.name] = after[s.name]._replace(
            root=str(ROOT), gone=False, labels=s.labels, columns=columns
        )
    after |= {s.name: measured(after[s.name]) for s in todo.unmeasured}
    after |= {name: after[name]._replace(split=found.split) for name in todo.resplit}
    for s in (*todo.new, *(c.source for c in todo.changed)):
        split = (after[s.name].split if s.name in after else None) or found.split
        columns = s.columns_after(after[s.name].columns if s.name in after else {})
        after[s.name] = StoredImage(
            str(ROOT), split, s.labels, s.files, NOW, measures=BOTH, columns=columns
        )
    by_name = {s.name: s for s in found.sources}
    kept = after.keys() & by_name.keys() - {f.image_name for f in todo.rejected}
    after |= {n: after[n]._replace(files=by_name[n].files) for n in kept if by_name[n].files}
    after |= {name: after[name]._replace(gone=True) for name in todo.gone}
    return {name: image for name, image in after.items() if name not in todo.pruned}


def measured(stored: StoredImage) -> StoredImage:
    return stored._replace(measures=stored.measures | BOTH)


def of_histograms(stored: StoredImage) -> StoredImage:
    """After what follows from histograms was computed."""
    settings = remeasured_settings(stored.settings, NOW)
    return stored._replace(settings=settings, measures=stored.measures | {OF_HISTOGRAMS})


policies = st.builds(Policy, st.booleans(), st.just(1_000), st.booleans())


@given(found(), stores, failed, bytes_differ, policies)
def test_after_a_plan_was_carried_out_there_is_no_work(
    found: Inputs,
    stored: dict[str, StoredImage],
    failed: dict[str, Failure],
    differ: dict[str, bool],
    policy: Policy,
) -> None:
    draft = make_plan(found, stored, failed, settings=NOW, policy=policy, required=REQUIRED)
    differing = compared(draft, differ)
    first = make_plan(
        found, stored, failed, failed, NOW, differing, policy=policy, required=REQUIRED
    )
    sources = (*first.new, *first.relabelled, *first.unmeasured, *(c.source for c in first.changed))
    written = {s.name for s in sources}
    left = {n: f for n, f in failed.items() if n not in {*first.recovered, *written}}
    left |= {failure.image_name: failure for failure in first.rejected}
    again = make_plan(
        found, done(first, found, stored), left, left, NOW, policy=policy, required=REQUIRED
    )
    assert again == Plan(
        unchanged=first.unchanged + len(written),
        unchanged_files=again.unchanged_files,
        rejected=first.rejected,
        rejected_before=len(first.rejected),
        orphans=first.orphans,
        other_split=again.other_split,
        stopped=again.stopped,
    )
    assert again.work == 0
    assert not (policy.resplit and again.other_split)


def test_a_rejected_image_that_moves_here_gets_its_first_split_with_the_move() -> None:
    cut = source("a", stamps=files("red", "green"))
    todo = planned(cut, split="train", a=known(root="/other"))
    assert (todo.moved, todo.resplit) == (("a",), ("a",))
    assert [failure.code for failure in todo.rejected] == ["missing_file"]


@given(found(), stores, failed)
def test_every_image_that_is_found_is_in_exactly_one_place(
    found: Inputs, stored: dict[str, StoredImage], failed: dict[str, Failure]
) -> None:
    todo = make_plan(found, stored, failed, settings=NOW, required=REQUIRED)
    placed = [s.name for s in (*todo.new, *todo.relabelled, *todo.unmeasured)]
    placed += [c.source.name for c in (*todo.changed, *todo.doubtful)]
    placed += [failure.image_name for failure in todo.rejected]
    placed += [orphan.name for orphan in todo.orphans]
    assert len(set(placed)) == len(placed)
    there = {s.name for s in found.sources} | {f.image_name for f in found.failures}
    assert set(placed) <= there
    assert len(placed) + todo.unchanged == len(there)
    assert not {s.name for s in todo.new} & set(stored)
    assert {c.source.name for c in (*todo.changed, *todo.doubtful)} <= set(stored)
    assert {s.name for s in todo.unmeasured} <= set(stored)
    assert {*todo.gone, *todo.stale, *todo.returned, *todo.moved} <= set(stored)
    assert not set(todo.returned) & set(placed)
    assert set(todo.moved) & set(placed) <= {failure.image_name for failure in todo.rejected}
    assert not set(todo.gone) & {
        s.name for s in found.sources if {f.role for f in s.files} - {NUCLEUS_MASK}
    }


@given(found(), stores, failed)
def test_planning_changes_nothing_and_depends_on_nothing_else(
    found: Inputs, stored: dict[str, StoredImage], failed: dict[str, Failure]
) -> None:
    before = dict(stored)
    first = make_plan(found, stored, failed, failed, NOW)
    assert stored == before
    assert make_plan(found, dict(reversed(stored.items())), failed, failed, NOW) == first


@pytest.mark.parametrize("labels", [(0,), (3,)])
def test_twenty_thousand_images_are_one_plan(labels: tuple[int, ...]) -> None:
    every = [f"image-{i}" for i in range(20_000)]
    found = Inputs(ROOT, tuple(source(name) for name in sorted(every)), ())
    todo = make_plan(found, {name: known(labels=labels) for name in every}, settings=NOW)
    assert (todo.unchanged, len(todo.relabelled)) == (
        (20_000, 0) if labels == (0,) else (0, 20_000)
    )
    assert todo.unchanged_files == 100_000
