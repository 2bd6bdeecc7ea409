from bench.charts.outlines import bands, pieces


def test_gaps_part_a_line() -> None:
    assert pieces([0, 1, None, 3, 4], [5, 6, 7, None, 8]) == [[(0, 5), (1, 6)], [(4, 8)]]
    assert pieces([], []) == []


def test_steps_turn_at_the_next_place() -> None:
    assert pieces([0, 1, 2], [5, 6, 7], step=True) == [[(0, 5), (1, 5), (1, 6), (2, 6), (2, 7)]]


def test_a_band_goes_along_its_upper_ends_and_back_along_its_lower_ones() -> None:
    outlines = bands([0, 1, 2, 3], [0, 1, None, 3], [5, 6, 7, 8])
    assert outlines == [[(0, 5), (1, 6), (1, 1), (0, 0)], [(3, 8), (3, 3)]]
