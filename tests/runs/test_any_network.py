"""`bench run` trains any module; what needs a linear head says so before the training."""

import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bench.core.errors import UserError
from bench.core.progress import Progress
from bench.core.record import load_record
from bench.results.restore import restore
from bench.runs.config import RunConfig
from bench.runs.job import resolve
from bench.runs.run import run
from bench.tracking import NullTracker


class Headless(nn.Module):
    """Batch norm, dropout, a lazy layer and squared distances to a center of each class."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.BatchNorm2d(1), nn.Flatten(), nn.Dropout(0.1), nn.LazyLinear(8))
        self.centers = nn.Parameter(torch.randn(num_classes, 8))

    def forward(self, images: Tensor) -> Tensor:
        return -(self.body(images)[:, None] - self.centers).square().sum(dim=2)


class Several(Headless):
    def forward(self, images: Tensor) -> Any:
        return (super().forward(images), images) if self.training else super().forward(images)


class Detached(Headless):
    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images).detach()


class Frozen(nn.Sequential):
    def __init__(self, num_classes: int) -> None:
        super().__init__(nn.Flatten(), nn.Linear(64, num_classes).requires_grad_(False))


class Linear(nn.Sequential):
    def __init__(self, num_classes: int) -> None:
        super().__init__(nn.Flatten(), nn.Linear(64, num_classes))


@pytest.fixture(autouse=True)
def _others(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("others")
    for network in (Headless, Several, Detached, Frozen, Linear):
        setattr(module, network.__name__, network)
    monkeypatch.setitem(sys.modules, "others", module)


def settings(out: Path, **changed: Any) -> RunConfig:
    few = {"epochs": 1, "trials": 0, "train_size": 60, "test_size": 20, "tracking": "none", "out": str(out)}
    return RunConfig.make({"defense": "standard", "model": "others:Headless", **few, **changed})


@pytest.mark.usefixtures("still_clock", "blank_pictures")
def test_any_module_is_trained_recorded_and_restored(tmp_path: Path) -> None:
    config = settings(tmp_path, metrics="clean_accuracy", recipe="paper,averaging=ema")
    (path,) = run(config, NullTracker(), Progress())
    record = load_record(path)
    assert (record.model, record.feature_site) == ("others:Headless", "none")
    assert record.metrics["clean_accuracy"].value is not None
    restored = restore(path, trust=True)
    images, labels = restored.dataset.test.batch(slice(None))
    right = (restored.classifier(images).argmax(dim=1) == labels).double().mean()
    assert float(right) == record.metrics["clean_accuracy"].value


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            {"defense": "prs"},
            "prs trains the features of the network: the network's last operation is no linear",
        ),
        ({"defense": "mr+at"}, "mr trains the features of the network"),
        ({"defense": "mr", "model": "others:Linear"}, "nothing before its last layer can be trained"),
        ({"metrics": "clean_accuracy,prs_ratio"}, "--metrics prs_ratio: the network's last operation"),
        ({"probe_every": 1}, "--probe-every reads decision regions"),
        ({"model": "others:Several"}, "expected logits of shape (4, 10), the network gave tuple"),
        ({"model": "others:Detached"}, "no gradient reaches a weight of the network"),
        ({"model": "others:Frozen"}, "no weights that require gradients, so there is nothing to train"),
    ],
)
def test_what_cannot_be_trained_or_measured_is_refused_before_the_training(
    changed: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=re.escape(message)):
        resolve(settings(tmp_path, **changed))
    assert not list(tmp_path.iterdir())


def test_a_whole_battery_says_what_it_will_leave_out(tmp_path: Path) -> None:
    with pytest.warns(
        UserWarning, match="prs_ratio, inclusion_ratio, region_health/live_units will be left out"
    ):
        resolve(settings(tmp_path))
