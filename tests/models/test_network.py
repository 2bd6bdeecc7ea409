"""The layers that the networks share: shapes, pools that do not fit, initial weights."""

from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from bench.models import convolutions, hidden


@given(
    sides=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    plan=st.lists(st.sampled_from(["conv", "pool", "ceil"]), min_size=1, max_size=6),
    kernel=st.sampled_from([1, 3, 5]),
)
@settings(max_examples=60, deadline=None)
def test_convolutions_state_their_output_shape_and_omit_pools_that_do_not_fit(
    sides: tuple[int, int], plan: list[str], kernel: int
) -> None:
    parts = {
        "conv": 2,
        "pool": partial(nn.MaxPool2d, 2),
        "ceil": partial(nn.AvgPool2d, 3, stride=2, ceil_mode=True),
    }
    layers, shape = convolutions((1, *sides), [parts[part] for part in plan], kernel=kernel)  # type: ignore[misc]
    height, width = sides
    for part in plan:
        if part != "conv" and min(height, width) > 1:
            height, width = height // 2, width // 2
    assert shape == layers(torch.zeros(1, 1, *sides))[0].shape == (2 if "conv" in plan else 1, height, width)


@pytest.mark.parametrize("side", [1, 2, 3, 8])
@pytest.mark.parametrize("kernel", [1, 3, 5])
@torch.no_grad()
def test_initial_weights_double_the_mean_square_regardless_of_padding(side: int, kernel: int) -> None:
    # He et al. (2015), eq. 10: the ReLU then halves it again.
    torch.manual_seed(0)
    layers, _ = convolutions((256, side, side), [256], kernel=kernel)
    images = torch.randn(64, 256, side, side)
    assert layers[0](images).square().mean().item() == pytest.approx(2, rel=0.1)
    assert hidden(256, 256)(images[..., 0, 0]).square().mean().item() == pytest.approx(2, rel=0.1)
