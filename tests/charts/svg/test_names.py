"""Where names stand beside points."""

from hypothesis import given
from hypothesis import strategies as st

from bench.charts.svg.names import Text, place_names

INSIDE = (0.0, 0.0, 400.0, 250.0)
places = st.lists(
    st.tuples(st.floats(0, 400), st.floats(0, 250), st.text("abc", min_size=1, max_size=9), st.just("")),
    max_size=12,
)


def box(text: Text) -> tuple[float, float, float, float]:
    """Letters of 14 pixels in DejaVu Sans are 8.2 wide on average, those of x-height 8 high."""
    width = 8.2 * len(text.text)
    left = text.x - {"start": 0.0, "middle": width / 2, "end": width}[text.anchor]
    return left, text.y - 8, left + width, text.y


@given(places)
def test_no_name_touches_another_or_leaves_the_drawing(wanted: list[tuple[float, float, str, str]]) -> None:
    boxes = [box(text) for text in place_names(wanted, [(x, y) for x, y, *_ in wanted], [], INSIDE)]
    for at, (left, top, right, bottom) in enumerate(boxes):
        assert left >= -1e-6
        assert right <= 400 + 1e-6
        assert top >= 0
        assert bottom <= 250
        for x, y, end, down in boxes[:at]:
            assert end <= left or right <= x or down <= top or bottom <= y


def test_a_name_without_room_beside_its_point_stands_at_its_corner() -> None:
    around = [(190.0, 100.0), (210.0, 100.0), (200.0, 90.0), (200.0, 112.0)]
    (text,) = place_names([(200.0, 100.0, "at", "m0 g1")], around, [], INSIDE)
    assert (text.anchor, text.of) == ("start", "m0 g1")
    assert text.x > 200
    assert text.y != 104


def test_names_that_look_alike_once_cut_are_left_out() -> None:
    wanted = [
        (50.0, 50.0, "x" * 30 + "a", ""),
        (50.0, 150.0, "x" * 30 + "b", ""),
        (300.0, 50.0, "at", ""),
        (300.0, 150.0, "at", ""),
    ]
    assert [text.text for text in place_names(wanted, [], [], INSIDE)] == ["at", "at"]
