from __future__ import annotations

import functools
from collections.abc import Iterator

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from hpastore.errors import UsageError
from hpastore.synthetic import fields
from hpastore.synthetic.fields import FAULTS, Field, draw_field
from hpastore.vocabulary import CHANNELS, LABEL_NAMES, NEGATIVE

CLASSES = range(len(LABEL_NAMES))


@functools.cache
def field(index: int = 1, size: int = 256, seed: int = 0, bits: int = 8) -> Field:
    return draw_field(index, size=size, seed=seed, bits=bits)


def sample(n: int = 19, size: int = 256) -> list[Field]:
    return [field(index, size) for index in range(n)]


def arrays(field: Field) -> Iterator[NDArray[np.integer]]:
    yield from (field.channels[channel] for channel in CHANNELS)
    yield from (field.cell_mask, field.nucleus_mask)


def cells(fault: str, of: list[Field] | None = None) -> Iterator[tuple[Field, NDArray[np.bool_]]]:
    """All cells of a fault, each with its field and its pixels."""
    for drawn in sample() if of is None else of:
        for mask_id, found in drawn.faults.items():
            if found == fault:
                yield drawn, drawn.cell_mask == mask_id


def fraction(field: Field, cell: NDArray[np.bool_]) -> float:
    green = field.channels["green"]
    return float(np.mean(green[cell] > np.quantile(green[field.cell_mask == 0], 0.99)))


def is_complete(drawn: Field) -> bool:
    """Whether there is little light beside the mask, as of cells that it lacks."""
    return float(np.quantile(drawn.channels["green"][drawn.cell_mask == 0], 0.99)) < 30


def border(mask: NDArray[np.generic]) -> NDArray[np.generic]:
    return np.concatenate((mask[0], mask[-1], mask[:, 0], mask[:, -1]))


@pytest.fixture
def pure(monkeypatch: pytest.MonkeyPatch) -> dict[int, Field]:
    """The same scene once for each class, which is its only label."""
    drawn = {}
    for label in CLASSES:
        monkeypatch.setattr(fields, "_labels", lambda rng, index, label=label: (label,))
        drawn[label] = draw_field(1, size=512)
    return drawn


def in_nucleus(field: Field) -> float:
    """How much brighter the protein of good cells is in the nucleus than around it."""
    green, good = field.channels["green"], good_cells(field)
    nucleus = field.nucleus_mask > 0
    return float(green[good & nucleus].mean() / green[good & ~nucleus].mean())


def look(field: Field) -> NDArray[np.float64]:
    """How the protein of good cells lies: level, share in the nucleus and at the rim, spots, grain."""
    green, good = field.channels["green"].astype(float), good_cells(field)
    level = green[good].mean()
    core = cv2.erode(good.astype(np.uint8), np.ones((9, 9))) > 0
    grain = np.abs(np.diff(green, axis=1))[good[:, 1:]].mean()
    spots = np.quantile(green[good], 0.999)
    return np.log(
        [level, in_nucleus(field), green[good & ~core].mean() / level, spots / level, grain / level]
    )


def good_cells(field: Field) -> NDArray[np.bool_]:
    return np.isin(field.cell_mask, [k for k, fault in field.faults.items() if fault == ""])


def test_the_same_arguments_draw_the_same_bytes() -> None:
    first, again = draw_field(3, size=128, seed=7), draw_field(3, size=128, seed=7)
    assert [a.tobytes() for a in arrays(first)] == [a.tobytes() for a in arrays(again)]
    assert (first.labels, first.faults) == (again.labels, again.faults)


def test_an_image_does_not_depend_on_those_drawn_before_it() -> None:
    forth = [draw_field(index, size=64) for index in (0, 1, 2)]
    back = [draw_field(index, size=64) for index in (2, 1, 0)][::-1]
    assert [f.channels["green"].tobytes() for f in forth] == [
        f.channels["green"].tobytes() for f in back
    ]


def test_another_seed_or_index_draws_another_image() -> None:
    drawn = [field(1, 64, seed=0), field(1, 64, seed=1), field(2, 64, seed=0)]
    assert len({f.channels["red"].tobytes() for f in drawn}) == 3


@pytest.mark.parametrize("size", [64, 100, 256, 1024])
def test_a_field_has_the_promised_shapes_and_types(size: int) -> None:
    drawn = field(1, size)
    assert tuple(drawn.channels) == CHANNELS
    assert {a.shape for a in arrays(drawn)} == {(size, size)}
    assert [a.dtype for a in arrays(drawn)] == [np.uint8] * 4 + [np.uint16] * 2


@pytest.mark.parametrize("start", [0, 5, 40])
def test_any_19_images_in_a_row_show_every_class(start: int) -> None:
    shown = {label for index in range(start, start + 19) for label in field(index, 64).labels}
    assert shown == set(CLASSES)


def test_labels_are_distinct_and_ascending_and_negative_stands_alone() -> None:
    labels = [field(index, 64).labels for index in range(95)]
    assert all(list(one) == sorted(set(one)) for one in labels)
    assert all(one == (NEGATIVE,) for one in labels if NEGATIVE in one)
    assert 0.4 < np.mean([len(one) == 1 for one in labels]) < 0.65


def test_any_two_classes_look_different(pure: dict[int, Field]) -> None:
    looks = np.array([look(pure[label]) for label in CLASSES])
    apart = np.abs(looks[:, None] - looks).max(2) + 9 * np.eye(len(looks))
    assert apart.min() > 0.15


def test_proteins_of_the_nucleus_shine_there_and_those_of_the_cytoplasm_around_it(
    pure: dict[int, Field],
) -> None:
    nuclear = [name for name in LABEL_NAMES if name.startswith("Nucl")]
    cytoplasmic = set(LABEL_NAMES) - {*nuclear, "Negative"}
    brighter = {name: in_nucleus(pure[label]) for label, name in enumerate(LABEL_NAMES)}
    assert min(brighter[name] for name in nuclear) > 1.3
    assert max(brighter[name] for name in cytoplasmic) < min(brighter[name] for name in nuclear)


def test_every_cell_has_an_entry_in_the_truth_and_every_entry_a_cell() -> None:
    for drawn in sample():
        assert set(np.unique(drawn.cell_mask)) - {0} == set(drawn.faults)
        assert set(drawn.faults.values()) <= {"", *FAULTS}


def test_nineteen_images_hold_every_fault_and_more_good_cells_than_planted_ones() -> None:
    found = [fault for drawn in sample() for fault in drawn.faults.values()]
    assert set(found) == {"", *FAULTS}
    assert found.count("") > len(found) - found.count("") - found.count("border_cut")


def test_a_nucleus_lies_inside_the_cell_whose_id_it_has() -> None:
    for drawn in sample():
        nucleus = drawn.nucleus_mask > 0
        assert np.array_equal(drawn.nucleus_mask[nucleus], drawn.cell_mask[nucleus])


def test_good_cells_have_a_nucleus_but_for_a_few_and_a_third_touches_the_border() -> None:
    found = [(bool(d.nucleus_mask[cell].any()), bool(border(cell).any())) for d, cell in cells("")]
    assert 0.9 < np.mean([nucleus for nucleus, _ in found]) <= 1
    assert 0.25 < np.mean([touches for _, touches in found]) < 0.42


def test_cells_without_nucleus_are_dim_there_and_the_mask_may_hold_a_small_one() -> None:
    faulty, good = (list(cells(fault, sample(38))) for fault in ("no_nucleus", ""))
    brightest = [
        [float(d.channels["blue"][cell].max()) for d, cell in some] for some in (faulty, good)
    ]
    assert np.median(brightest[0]) < 0.5 * np.median(brightest[1])
    areas = [[int((d.nucleus_mask[cell] > 0).sum()) for d, cell in some] for some in (faulty, good)]
    assert {area > 0 for area in areas[0]} == {False, True}
    assert max(areas[0]) < max(areas[1])


def test_cells_cut_by_the_border_touch_it() -> None:
    assert all(border(cell).any() for _, cell in cells("border_cut"))


def test_overexposed_cells_are_brighter_than_good_ones_and_some_saturate() -> None:
    found = {
        fault: [
            (drawn.channels["green"][cell].mean(), fraction(drawn, cell))
            for drawn, cell in cells(fault)
        ]
        for fault in ("overexposed", "")
    }
    level = {fault: np.median([mean for mean, _ in some]) for fault, some in found.items()}
    assert level["overexposed"] > 1.8 * level[""]
    assert any(
        (drawn.channels["green"][cell] == 255).mean() > 0.05 for drawn, cell in cells("overexposed")
    )


def test_cells_that_do_not_express_are_dark_and_others_stand_out_of_the_background() -> None:
    pictures = [drawn for drawn in sample() if NEGATIVE not in drawn.labels and is_complete(drawn)]
    assert len(pictures) > 10
    dark = [fraction(*cell) for cell in cells("not_expressing", pictures)]
    good = [fraction(*cell) for cell in cells("", pictures)]
    assert np.median(dark) < 0.05
    assert np.quantile(good, 0.1) > 0.15
    assert np.median(good) > 0.6


def test_cells_of_negative_images_are_dark() -> None:
    pictures = [drawn for drawn in sample(38) if NEGATIVE in drawn.labels]
    assert len(pictures) == 2
    assert max(fraction(*cell) for cell in cells("", pictures)) < 0.05


def test_bleached_cells_are_faint_in_all_channels() -> None:
    for channel in CHANNELS:
        means = [
            np.median([drawn.channels[channel][cell].mean() for drawn, cell in cells(fault)])
            for fault in ("bleached", "")
        ]
        assert means[0] < 0.75 * means[1], channel


def test_defocused_cells_have_less_detail_than_good_ones() -> None:
    def detail(drawn: Field, cell: NDArray[np.bool_]) -> float:
        blue = drawn.channels["blue"].astype(float)
        return float((np.diff(blue, axis=1)[cell[:, 1:]] ** 2).mean())

    fields = sample(114)  # cells differ, and 38 fields have 14 that are out of focus
    blurred = [detail(*cell) for cell in cells("defocused", fields)]
    assert np.median(blurred) < 0.35 * np.median([detail(*cell) for cell in cells("", fields)])


def test_both_halves_of_a_split_cell_carry_the_fault() -> None:
    halves = [list(drawn.faults.values()).count("split") for drawn in sample()]
    assert set(halves) == {0, 2}


def test_merged_cells_hold_two_nuclei() -> None:
    for drawn, cell in cells("merged"):
        nuclei = (cell & (drawn.nucleus_mask > 0)).astype(np.uint8)
        assert cv2.connectedComponents(nuclei)[0] - 1 == 2


@pytest.mark.parametrize("size", [64, 256, 512])
def test_at_least_a_tenth_of_the_field_is_background(size: int) -> None:
    assert min(np.mean(drawn.cell_mask == 0) for drawn in sample(size=size)) > 0.1


@pytest.mark.parametrize(("size", "seeds"), [(64, 30), (256, 15), (1024, 3)])
def test_image_0_has_one_label_and_a_good_cell(size: int, seeds: int) -> None:
    for seed in range(seeds):
        drawn = field(0, size, seed)
        assert len(drawn.labels) == 1
        assert NEGATIVE not in drawn.labels
        assert "" in drawn.faults.values()


def test_16_bits_round_to_the_8_bit_image_and_are_not_multiples_of_257() -> None:
    shallow, deep = field(1, bits=8), field(1, bits=16)
    for channel in CHANNELS:
        grey = deep.channels[channel]
        assert grey.dtype == np.uint16
        assert np.array_equal((grey.astype(int) + 128) // 257, shallow.channels[channel])
        assert np.mean(grey % 257 == 0) < 0.5
    assert np.array_equal(deep.cell_mask, shallow.cell_mask)
    assert deep.faults == shallow.faults


@pytest.mark.parametrize("wrong", [{"size": 63}, {"bits": 12}])
def test_a_size_or_depth_that_cannot_be_drawn_is_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(UsageError, match="64 pixels"):
        draw_field(0, **wrong)
