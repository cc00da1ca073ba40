"""Images that decode without a fault and are wrong all the same."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from hpastore.errors import RejectedError
from hpastore.ingestion.discover import discover
from hpastore.ingestion.layout import Layout
from hpastore.ingestion.quality import Prepared, prepare_masks, quality_notes
from hpastore.ingestion.run import ingest
from hpastore.ingestion.worker import Task, measure_source
from hpastore.kernels.image import measure
from hpastore.model import DEFAULT_MASKS, Cells, Decoded, MaskOptions, Measured, Note
from hpastore.reading import decode_mask, to_uint8
from hpastore.store.engine import Store
from hpastore.synthetic.fields import draw_field
from hpastore.vocabulary import CELL_MASK, CHANNELS, FAILURE_CODES, NOTE_CODES, NUCLEUS_MASK
from tests.gallery import drawn
from tests.world import Array, decoded, rows, write_image, write_table

COMPONENTS = MaskOptions(binary_mask="components")
OVERLAP = MaskOptions(match_nuclei="overlap")
BOTH = MaskOptions("components", "overlap")
PATHS = {CELL_MASK: Path("a.npz"), NUCLEUS_MASK: Path("nuclei/a.npz")}


def take(
    image: Decoded, masks: MaskOptions = DEFAULT_MASKS
) -> tuple[Prepared, Cells, tuple[Note, ...]]:
    prepared = prepare_masks(image, masks, PATHS)
    cells = measure(prepared.decoded, 0.99)
    return prepared, cells, quality_notes(prepared, cells, PATHS)


def picture(cells: str, nuclei: str | None = None) -> Decoded:
    return decoded(0, drawn(cells), None if nuclei is None else drawn(nuclei))


def field(index: int, *, size: int, seed: int) -> Decoded:
    made = draw_field(index, size=size, seed=seed)
    channels = {name: to_uint8(channel) for name, channel in made.channels.items()}
    return Decoded(channels, 8, made.cell_mask, made.nucleus_mask, ())


def notes(
    cells: str, nuclei: str | None = None, masks: MaskOptions = DEFAULT_MASKS
) -> dict[str, str]:
    found = take(picture(cells, nuclei), masks)[2]
    assert {note.code for note in found} <= set(NOTE_CODES)
    return {note.code: note.text for note in found}


def refusal(cells: str, nuclei: str, masks: MaskOptions = DEFAULT_MASKS) -> str:
    with pytest.raises(RejectedError) as caught:
        take(picture(cells, nuclei), masks)
    assert caught.value.code == "nucleus_ids"
    assert caught.value.code in FAILURE_CODES
    assert caught.value.path == PATHS[NUCLEUS_MASK]
    return caught.value.reason


# Nuclei and the ids of their cells


@pytest.mark.parametrize(
    ("cells", "nuclei"),
    [
        ("111.222.333", ".1...2..33."),
        ("111.222.333", ".11.22...3."),  # one protrudes to the background
        ("111.222.333", ".1........."),
        ("111.222....", ".1...2..9.."),  # of a cell that was left out
        ("...........", ".1...2....."),
        (".1.........", "11........."),
    ],
)
def test_nuclei_in_the_cells_of_their_ids_need_no_word(cells: str, nuclei: str) -> None:
    assert not {"stray_nuclei", "empty_nucleus_mask"} & notes(cells, nuclei).keys()


@pytest.mark.parametrize(
    ("cells", "nuclei", "share"),
    [
        ("111.222.333.444", ".7...4...1.....", "3 of 3"),
        ("111.222.333.444", ".1...3...2.....", "2 of 3"),
        ("111.222........", ".......11....22", "2 of 2"),
        ("111.222........", ".9.............", "1 of 1"),
        ("111.222........", ".9...2....333..", "1 of 2"),
    ],
)
def test_nuclei_elsewhere_reject_the_image_where_they_are_most_of_them(
    cells: str, nuclei: str, share: str
) -> None:
    found = (
        f"nuclei outside the cells with their ids: {share}; give each nucleus the id of its cell"
    )
    remedy = ", or ingest with --match-nuclei overlap"
    outside, number = map(int, share.split(" of "))
    if 2 * outside > number:
        assert refusal(cells, nuclei) == found + remedy
    else:
        assert notes(cells, nuclei)["stray_nuclei"] == found + remedy


def test_a_nucleus_that_is_matched_by_overlap_is_measured_for_the_cell_that_holds_it() -> None:
    text = "111.222.333.444", ".7...4...1....."
    image = picture(*text)
    _, cells, found = take(image, OVERLAP)
    assert found == ()
    assert cells.shape["nucleus_area"].tolist() == [1, 1, 1, 0]
    right = take(picture(text[0], ".1...2...3....."))[1]
    for channel in ("green", "blue"):
        for name, want in right.channels[channel].measures.items():
            np.testing.assert_array_equal(cells.channels[channel].measures[name], want)
    with pytest.raises(RejectedError):
        take(image)


def test_two_nuclei_of_a_cell_are_parts_of_one_and_one_in_no_cell_is_counted() -> None:
    prepared, cells, _ = take(picture("1111.222...", "7.88.9...66"), OVERLAP)
    assert cells.shape["nucleus_area"].tolist() == [3, 1]
    assert prepared.decoded.nucleus_mask is not None
    assert notes("1111.222...", "7.88.9...66", OVERLAP) == {
        "nuclei_without_cell": "nuclei outside all cells: 1 of 4; they are left out"
    }


def test_nuclei_that_have_the_right_ids_are_the_same_by_overlap() -> None:
    image = field(2, size=256, seed=3)
    by_id, by_overlap = take(image)[0], take(image, OVERLAP)[0]
    np.testing.assert_array_equal(by_id.decoded.nucleus_mask, by_overlap.decoded.nucleus_mask)


def test_an_empty_mask_of_nuclei_is_noted_where_there_are_cells() -> None:
    text = "its nucleus mask is empty; its cells are stored without nuclei"
    assert notes("11.", "...") == {"empty_nucleus_mask": text}
    assert notes("11.", "...", BOTH) == {"empty_nucleus_mask": text}
    assert notes("...", "...").keys() == {"empty_mask"}


@pytest.mark.parametrize("masks", [DEFAULT_MASKS, OVERLAP])
@pytest.mark.parametrize("nuclei", [".1...1.....", ".Z...Z.....", ".2...2.....", ".Z........Z"])
def test_a_binary_mask_of_the_nuclei_of_several_cells_rejects_the_image(
    nuclei: str, masks: MaskOptions
) -> None:
    if nuclei.endswith("Z"):
        nuclei = ".Z...Z....Z"
    reason = refusal("111.222....", nuclei, masks)
    assert reason.startswith("is binary: the nuclei of 2 cells have the same id, ")
    assert reason.endswith("ingest with --binary-mask components")
    assert take(picture("111.222....", nuclei), COMPONENTS)[1].shape["nucleus_area"].tolist() == [
        1,
        1,
    ]


def test_one_nucleus_that_reaches_into_the_next_cell_is_not_binary() -> None:
    assert notes("111222", ".111..") == {"no_background": notes("111222")["no_background"]}
    assert notes("111222", ".99...", OVERLAP).keys() == {"no_background"}


# Masks of one id


def test_one_id_in_several_pieces_is_noted() -> None:
    text = "its cell mask has one id, 1, in 2 pieces, stored as one cell; if the pieces are cells, ingest with "
    assert notes("11.11") == {"binary_mask": f"{text}--binary-mask components"}
    assert notes("11.22") == notes("11...") == {}


@pytest.mark.parametrize(("mask_id", "noted"), [(1, False), (7, False), (255, True), (65535, True)])
def test_the_white_of_a_binary_mask_is_noted_though_it_is_one_piece(
    mask_id: int, noted: bool
) -> None:
    found = take(decoded(0, mask_id * drawn("11.")))[2]
    text = f"its cell mask has one id, {mask_id}, as binary masks have, stored as one cell; "
    text += "if it shows several cells, "
    assert list(found) == ([Note("binary_mask", f"{text}give each its own id")] if noted else [])


def test_the_pieces_of_one_id_become_cells_where_that_is_asked_for() -> None:
    _, cells, found = take(picture("ZZ.Z\n....\nZ..."), COMPONENTS)
    assert found == ()
    assert cells.mask_ids.tolist() == [1, 2, 3]
    assert cells.shape["area"].tolist() == [2, 1, 1]


@pytest.mark.parametrize("text", ["11.22", ".....", "1.1.2"])
def test_a_mask_of_no_or_several_ids_is_not_split(text: str) -> None:
    image = picture(text)
    assert take(image, COMPONENTS)[0].decoded.cell_mask is image.cell_mask


@pytest.mark.parametrize("nuclei", [".A..A..", ".9..7..", ".1..2.."])
def test_nuclei_of_a_mask_that_was_split_are_matched_by_overlap(nuclei: str) -> None:
    _, cells, found = take(picture("AAA.AAA", nuclei), COMPONENTS)
    assert cells.mask_ids.tolist() == [1, 2]
    assert cells.shape["nucleus_area"].tolist() == [1, 1]
    assert found == ()


def test_nuclei_of_a_binary_mask_of_cells_are_refused_with_the_cause() -> None:
    assert refusal("111.111.111", ".7...8...9.") == (
        "nuclei outside the cells with their ids: 3 of 3, since the cell mask has one id in 3 pieces"
        "; ingest with --binary-mask components"
    )


def test_a_mask_of_too_many_pieces_is_refused() -> None:
    specks = np.zeros((514, 514), np.uint8)
    specks[::2, ::2] = 1
    with pytest.raises(RejectedError, match="more than 65,535 pieces, the maximum") as caught:
        take(decoded(0, specks), COMPONENTS)
    assert caught.value.code == "too_many_cells"


# Ids that are no cells'


def test_ids_in_many_pieces_are_noted_with_their_numbers() -> None:
    found = notes("1.2.1.2.1.2.1.2.")
    assert found["mask_in_pieces"].startswith(
        "the 2 ids of its cell mask are in 8 pieces, as after a resize"
    )
    assert "nearest neighbour" in found["mask_in_pieces"]
    assert notes("1.2.1.2.1.2.1...") == {}


def test_ids_of_nuclei_in_many_cells_are_noted() -> None:
    cells, nuclei = "111.222.333.444", "111.12..12..2.2"
    text = notes(cells, nuclei, OVERLAP)["mask_in_pieces"]
    assert text.startswith(
        "the 2 ids of its nucleus mask are in up to 3 cells each, as after a resize that blends"
    )
    assert "mask_in_pieces" not in notes(cells, "111.12..1......", OVERLAP)


@pytest.mark.parametrize("factor", [0.5, 0.75, 1.5, 2])
@pytest.mark.parametrize("size", [64, 512])
def test_masks_that_were_resized_with_interpolation_are_noted_and_with_nearest_neighbour_not(
    size: int, factor: float
) -> None:
    for seed in range(5):
        mask = draw_field(seed, size=size, seed=seed).cell_mask
        blended = cv2.resize(mask, None, fx=factor, fy=factor, interpolation=cv2.INTER_LINEAR)
        assert [note.code for note in take(decoded(0, blended))[2]] == ["mask_in_pieces"]
        nearest = cv2.resize(mask, None, fx=factor, fy=factor, interpolation=cv2.INTER_NEAREST)
        assert take(decoded(0, nearest))[2] == ()


@pytest.mark.parametrize("size", [64, 128, 512])
@pytest.mark.parametrize("masks", [DEFAULT_MASKS, OVERLAP])
def test_a_drawn_sample_needs_no_word(size: int, masks: MaskOptions) -> None:
    for seed in range(10):
        assert take(field(seed, size=size, seed=seed), masks)[2] == ()


# Levels


@pytest.mark.parametrize(
    ("bits", "largest", "remedy"),
    [
        (16, 1, "save the channels with 8 bits"),
        (16, 255, "save the channels with 8 bits"),
        (16, 256, "scale the levels to 16 bits"),
        (16, 4095, "scale the levels to 16 bits"),
        (16, 4096, None),
        (16, 65535, None),
        (16, 0, None),
        (8, 200, None),
    ],
)
def test_few_levels_in_16_bits_are_noted_with_the_largest(
    bits: int, largest: int, remedy: str | None
) -> None:
    image = replace(picture("11.22"), bit_depth=bits, largest_level=largest)
    dark = f"the highest level of its 16-bit channels is {largest} of 65535, so its cells are dark"
    want = [] if remedy is None else [Note("few_levels", f"{dark}; {remedy}")]
    assert list(take(image)[2]) == want


@pytest.mark.parametrize(("bright", "noted"), [((), True), (("red",), False), (CHANNELS, False)])
def test_one_channel_of_many_levels_is_enough(
    tmp_path: Path, bright: tuple[str, ...], noted: bool
) -> None:
    write_image(tmp_path, "a", bits=16)
    write_table(tmp_path, {"a": "0"})
    for channel in set(CHANNELS) - set(bright):
        path = str(tmp_path / "train" / f"a_{channel}.png")
        pixels = cv2.imread(path, cv2.IMREAD_UNCHANGED)
        assert pixels is not None
        cv2.imwrite(path, pixels // 16)
    (source,) = discover(Layout(tmp_path)).sources
    result = measure_source(Task(source, {}), tmp_path, 0.99)
    assert isinstance(result, Measured)
    assert [note.code for note in result.notes] == (["few_levels"] if noted else [])


# From the files to the store


def nuclei_apart(root: Path) -> None:
    """An image whose three cells and nuclei are numbered 1, 3, 5 and 5, 1, 3."""
    write_image(root, "a", nuclei=True)
    write_table(root, {"a": "0"})
    path = root / "hpa_nuclei_mask" / "a.npz"
    with np.load(path) as file:
        nuclei: Array = file["arr_0"]
    np.savez_compressed(path, np.array([0, 5, 0, 1, 0, 3], np.uint16)[nuclei])


def test_an_image_whose_nuclei_are_numbered_apart_is_a_failure(
    store: Store, tmp_path: Path
) -> None:
    nuclei_apart(tmp_path)
    assert ingest(store, tmp_path, executor="serial").rejected == 1
    (failure,) = rows(store, "SELECT code, uri, message FROM failure")
    assert (failure["code"], failure["uri"]) == ("nucleus_ids", "hpa_nuclei_mask/a.npz")
    assert "nuclei outside the cells with their ids: 3 of 3; " in failure["message"]
    assert rows(store, "SELECT * FROM image") == []


def test_the_options_of_a_task_say_how_its_masks_are_understood(tmp_path: Path) -> None:
    nuclei_apart(tmp_path)
    (source,) = discover(Layout(tmp_path)).sources
    result = measure_source(Task(source, {}, masks=OVERLAP), tmp_path, 0.99)
    assert isinstance(result, Measured)
    assert (result.masks, result.notes) == (OVERLAP, ())
    assert (result.cells.shape["nucleus_area"] > 0).all()


# Real files


@pytest.mark.parametrize("folder", ["hpa", "public/nf1", "public/hpa1728"])
def test_real_images_need_no_word(hpa_data: Path, folder: str) -> None:
    found = discover(Layout(hpa_data / folder))
    for source in found.sources:
        result = measure_source(Task(source, {}), found.root, 0.99)
        assert isinstance(result, Measured)
        assert result.notes == ()


@pytest.mark.parametrize("part", [0, *(pytest.param(n, marks=pytest.mark.full) for n in (1, 2, 3))])
def test_real_masks_need_no_word_and_resized_ones_do(hpa_data: Path, part: int) -> None:
    paths = sorted((hpa_data / "manual" / "hpa_cell_mask").iterdir())[part::4]
    assert paths
    for path in paths:
        mask = decode_mask(path.read_bytes(), path)[::4, ::4].astype(np.uint16)
        assert take(decoded(0, mask))[2] == ()
        blended = cv2.resize(mask, None, fx=1.5, fy=1.5, interpolation=cv2.INTER_LINEAR)
        assert [note.code for note in take(decoded(0, blended))[2]] == ["mask_in_pieces"]


def test_a_real_binary_mask_is_noted(hpa_data: Path) -> None:
    path = hpa_data / "odd" / "binary_cellmask.png"
    (note,) = take(decoded(0, decode_mask(path.read_bytes(), path)))[2]
    assert note.code == "binary_mask"
