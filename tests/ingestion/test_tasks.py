from __future__ import annotations

from hpastore.ingestion.policy import Policy
from hpastore.ingestion.store_state import StoreState
from hpastore.ingestion.tasks import make_tasks
from hpastore.ingestion.worker import Task
from hpastore.kernels.definitions import VERSIONS
from hpastore.model import (
    Change,
    FileStamp,
    MaskOptions,
    MeasurementSettings,
    Plan,
    RequiredMeasures,
    Source,
    StoredImage,
)
from hpastore.vocabulary import ROLES

SETTINGS = MeasurementSettings(0.99, VERSIONS)
FILES = tuple(FileStamp(role, role, 1, 1) for role in ROLES)
STORED = StoredImage("/data", None, (0,), FILES, SETTINGS)
COMPONENTS = MaskOptions("components")
HASHES = {"a": {"red": "0" * 64}}


def source(name: str = "a") -> Source:
    return Source(name, (0,), FILES)


def state(
    images: dict[str, StoredImage],
    policy: Policy | None = None,
    required: RequiredMeasures | None = None,
) -> StoreState:
    return StoreState(images, {}, SETTINGS, required or RequiredMeasures(), policy or Policy())


def doubtful(image: StoredImage, policy: Policy | None = None) -> Task:
    """The task of an image whose times differ."""
    required = RequiredMeasures(of_crops=frozenset({("shift", 1)}))
    todo = Plan(doubtful=(Change(source(), ("red",)),))
    (task,) = make_tasks(todo, state({"a": image}, policy, required), HASHES, "/data")
    assert (task.source, task.stored) == (source(), HASHES["a"])
    return task


MEASURED = STORED._replace(measures=frozenset({("shift", 1)}))


def test_tasks_are_in_the_order_of_the_names() -> None:
    todo = Plan(
        new=(source("d"),),
        unmeasured=(source("c"),),
        changed=(Change(source("b"), ("red",)),),
        doubtful=(Change(source("a"), ("red",)),),
    )
    images = dict.fromkeys("abc", STORED)
    tasks = make_tasks(todo, state(images), HASHES, "/data")
    assert [task.source.name for task in tasks] == ["a", "b", "c", "d"]
    assert [bool(task.stored) for task in tasks] == [True, False, False, False]


def test_new_and_changed_images_are_read_as_the_policy_says_and_unmeasured_ones_as_before() -> None:
    todo = Plan(
        new=(source("a"),), changed=(Change(source("b"), ("red",)),), unmeasured=(source("c"),)
    )
    images = dict.fromkeys("bc", STORED._replace(masks=COMPONENTS))
    policy = Policy(match_nuclei="overlap")
    masks = [task.masks for task in make_tasks(todo, state(images, policy), {}, "/data")]
    assert masks == [
        MaskOptions("keep", "overlap"),
        MaskOptions("components", "overlap"),
        COMPONENTS,
    ]


def test_a_doubtful_image_is_measured_only_if_its_numbers_are_outdated() -> None:
    assert not doubtful(MEASURED).outdated
    assert doubtful(STORED).outdated
    older = MeasurementSettings(0.99, {**VERSIONS, "brenner": 0})
    assert doubtful(MEASURED._replace(settings=older)).outdated
    stale = MeasurementSettings(0.5, {**VERSIONS, "entropy": 0})
    assert not doubtful(MEASURED._replace(settings=stale)).outdated
    assert doubtful(MEASURED, Policy(match_nuclei="overlap")).outdated
    assert not doubtful(STORED, Policy(kept=frozenset("a"))).outdated


def test_an_image_that_only_lacks_a_measure_keeps_its_masks() -> None:
    split = STORED._replace(masks=COMPONENTS)
    assert doubtful(split).masks == COMPONENTS
    assert doubtful(split, Policy(match_nuclei="overlap")).masks == MaskOptions(
        "components", "overlap"
    )


def test_only_a_live_image_of_another_root_can_be_a_conflict() -> None:
    elsewhere = MEASURED._replace(root="/other")
    assert doubtful(MEASURED).other_root is None
    assert doubtful(elsewhere).other_root == "/other"
    assert doubtful(elsewhere._replace(gone=True)).other_root is None
