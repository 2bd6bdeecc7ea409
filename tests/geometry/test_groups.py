import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from bench.core.progress import Progress
from bench.core.randomness import make_generator
from bench.data import Split
from bench.geometry.groups import batches, draw, in_own_row

masks = arrays(bool, st.integers(0, 30))


@given(masks, st.one_of(st.none(), st.integers(1, 30)), st.integers(0, 5))
def test_a_draw_takes_as_many_qualified_positions_as_there_are_each_once(mask, count, seed):
    chosen = draw(mask, count, make_generator(seed))
    assert len(chosen) == min(mask.sum(), mask.sum() if count is None else count)
    assert (np.diff(chosen) > 0).all()
    assert mask[chosen].all()


def test_a_draw_depends_on_its_generator_alone_and_reaches_every_position():
    mask = np.ones(10, dtype=bool)
    draws = [draw(mask, 3, make_generator(seed)) for seed in range(100)]
    assert np.array_equal(draws[7], draw(mask, 3, make_generator(7)))
    assert set(np.concatenate(draws)) == set(range(10))


@given(
    arrays(np.uint64, (12, 2), elements=st.integers(0, 1)), arrays(np.int64, 12, elements=st.integers(0, 2))
)
def test_rows_are_compared_with_that_of_their_own_class(patterns, labels):
    rows = np.array([[0, 0], [0, 1], [1, 1]], dtype=np.uint64)
    expected = [tuple(pattern) == tuple(rows[label]) for pattern, label in zip(patterns, labels, strict=True)]
    assert in_own_row(patterns, labels, rows).tolist() == expected


def test_batches_give_the_chosen_images_in_order():
    pixels = torch.arange(10, dtype=torch.uint8).view(10, 1, 1, 1)
    split, index = Split(pixels, torch.zeros(10, dtype=torch.long)), np.array([1, 4, 5, 9, 2])
    parts = list(batches(split, index, 2, Progress(), "toy"))
    assert [len(part) for part in parts] == [2, 2, 1]
    assert torch.equal(torch.cat(parts).flatten(), torch.tensor([1, 4, 5, 9, 2]) / 255)
