from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpastore.kernels.nuclei import match_nuclei, place_nuclei
from tests.gallery import Mask, drawn, many, masks


def plain_placement(cells: Mask, nuclei: Mask) -> list[tuple[int, int, bool, int]]:
    """Id, home, whether it is at home, and the number of cells, of each nucleus, looked at one by one."""
    found = []
    for nucleus in sorted(set(nuclei.ravel().tolist()) - {0}):
        under = cells[nuclei == nucleus].tolist()
        home = min(set(under), key=lambda cell: (-under.count(cell), cell == 0, cell))
        at_home = under.count(nucleus) == under.count(home)
        found.append((nucleus, home, at_home, len(set(under) - {0})))
    return found


def placement(cells: Mask, nuclei: Mask) -> list[tuple[int, int, bool, int]]:
    got = place_nuclei(cells, nuclei)
    return list(zip(*(column.tolist() for column in got), strict=True))


@pytest.mark.parametrize(
    ("cells", "nuclei", "want"),
    [
        ("11.22", "1..2.", [(1, 1, True, 1), (2, 2, True, 1)]),
        ("11.22", "2..1.", [(1, 2, False, 1), (2, 1, False, 1)]),
        ("11.22", "7....", [(7, 1, False, 1)]),
        ("11.22", "..3..", [(3, 0, False, 0)]),
        ("11.22", "..1..", [(1, 0, False, 0)]),
        ("22211", "88888", [(8, 2, False, 2)]),
        ("22.11", "88.88", [(8, 1, False, 2)]),
        ("22.11", "22.22", [(2, 1, True, 2)]),
        ("1....", "11...", [(1, 1, True, 1)]),
        ("1....", "55...", [(5, 1, False, 1)]),
        ("1....", "555..", [(5, 0, False, 1)]),
        ("1....", "111..", [(1, 0, False, 1)]),
        ("ZZ.AA", "Z..ZA", [(300, 300, True, 1), (4_000_000_000, 300, True, 2)]),
        ("11.22", ".....", []),
        (".....", "1..2.", [(1, 0, False, 0), (2, 0, False, 0)]),
    ],
)
def test_a_nucleus_is_at_home_where_most_of_it_lies(
    cells: str, nuclei: str, want: list[tuple[int, int, bool, int]]
) -> None:
    assert placement(drawn(cells), drawn(nuclei)) == want


@many
@given(masks(), st.data())
def test_nuclei_are_placed_as_by_looking_at_each(cells: Mask, data: st.DataObject) -> None:
    ids = st.sampled_from([0, *np.unique(cells).tolist(), 77])
    nuclei = np.array(data.draw(st.lists(ids, min_size=cells.size, max_size=cells.size))).reshape(
        cells.shape
    )
    assert placement(cells, nuclei) == plain_placement(cells, nuclei)
    homes = {nucleus: home for nucleus, home, _, _ in plain_placement(cells, nuclei)}
    want = [[homes.get(nucleus, 0) for nucleus in row] for row in nuclei.tolist()]
    assert match_nuclei(nuclei, place_nuclei(cells, nuclei)).tolist() == want


def test_nuclei_in_one_cell_become_one_and_those_in_none_are_left_out() -> None:
    cells, nuclei = drawn("1111.222.."), drawn("7.88.9..66")
    got = match_nuclei(nuclei, place_nuclei(cells, nuclei))
    np.testing.assert_array_equal(got, drawn("1.11.2...."))


def test_masks_of_different_dtypes_go_together() -> None:
    cells, nuclei = np.array([[1, 200]], np.uint8), np.array([[2**32 - 1, 5]], np.uint32)
    assert placement(cells, nuclei) == [(5, 200, False, 1), (2**32 - 1, 1, False, 1)]
    signed = nuclei.astype(np.int64)
    assert match_nuclei(signed, place_nuclei(cells, signed)).tolist() == [[1, 200]]
