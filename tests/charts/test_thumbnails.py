import numpy as np
import pytest

from bench.charts.histograms import SIDE, thumbnails


@pytest.mark.parametrize(("side", "left"), [(1, 1), (SIDE, SIDE), (SIDE + 1, 33), (2 * SIDE, SIDE)])
def test_pictures_keep_every_kth_row_and_column_and_no_more_than_a_tile_shows(side, left):
    pictures = np.arange(3 * side * side, dtype=float).reshape(3, side, side)
    found = thumbnails(pictures)
    assert found.shape == (3, left, left)
    assert found[0, 0].tolist() == pictures[0, 0, :: -(-side // SIDE)].tolist()


def test_the_longer_side_counts_for_both():
    assert thumbnails(np.zeros((2, 3, 10, 2 * SIDE))).shape == (2, 3, 5, SIDE)
