"""Stacked networks answer as each does alone."""

import pytest
import torch

from bench.models import build
from benchmarks.together import CLASSES, SETTINGS, SHAPE, Stacked, Steps, check


@pytest.mark.parametrize("setting", SETTINGS.values(), ids=SETTINGS)
def test_stacked_steps_have_the_gradients_of_single_ones(setting: tuple[str, dict[str, object]]) -> None:
    cpu = torch.device("cpu")
    alone, stacked = (Steps("cnn6(width=0.25)", 4, 3, setting, cpu, stacked=each) for each in (False, True))
    check(alone, stacked)
    alone(), stacked()  # one optimizer step
    check(alone, stacked)
    alone()
    with pytest.raises(SystemExit, match="gradients differ"):
        check(alone, stacked)


def test_batch_norm_keeps_the_statistics_of_each_network() -> None:
    def networks() -> list[torch.nn.Module]:
        return [
            build("tests.networks:normalized", input_shape=SHAPE, num_classes=CLASSES, seed=seed).train()
            for seed in range(2)
        ]

    alone, stacked = networks(), Stacked(networks())
    images = torch.rand(2, 5, *SHAPE, generator=torch.Generator().manual_seed(0))
    expected = torch.cat([network(some) for network, some in zip(alone, images, strict=True)])
    torch.testing.assert_close(stacked(images.flatten(0, 1)), expected)
    for name, moved in stacked.buffers_of.items():
        torch.testing.assert_close(moved, torch.stack([dict(each.named_buffers())[name] for each in alone]))
