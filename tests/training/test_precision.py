"""The choice of float32 or bfloat16 by a trial."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from bench.attacks import ATTACKS
from bench.core.errors import UserError
from bench.core.intervals import wilson
from bench.core.threat import Threat
from bench.data import Dataset, load
from bench.models import build
from bench.runs import plan
from bench.runs.config import RunConfig
from bench.runs.job import resolve
from bench.training import precision
from bench.training.compiled import COMPILED
from bench.training.loop import train
from bench.training.precision import Choice, choose, kept_trials
from bench.training.recipe import make_recipe
from bench.training.validation import accuracy
from defenses import Defense, Objective, get

RECIPE = make_recipe("paper,batch_size=10")
THREAT = Threat("linf", "0.1")
#: Epochs that make a training of 55 images in batches of 10 worth a trial.
LONG = 100


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load("digits", train_size=55, test_size=10)


def network(dataset: Dataset) -> Any:
    return build("cnn6", input_shape=dataset.shape, num_classes=dataset.num_classes, seed=0)


def chosen(dataset: Dataset, defense: Defense | None = None, epochs: int = LONG) -> Choice:
    return choose(
        defense or get("standard").make({}), network(dataset), dataset.train, RECIPE, THREAT, epochs, "cnn6"
    )


def pretend(monkeypatch: pytest.MonkeyPatch, **seconds: float) -> list[int]:
    """Let every trial find these seconds; returns a list that grows by each."""
    trials: list[int] = []

    def trial(*_: Any) -> dict[str, float]:
        trials.append(1)
        return seconds

    monkeypatch.setattr(precision, "_step_seconds", trial)
    return trials


class UnderAutocast(Defense):
    """Its loss is another one in bfloat16."""

    name = "under_autocast"
    family = "test"

    def objective(self, training: Any) -> Objective:
        class Loss(Objective):
            def loss(self, classifier: Any, images: Tensor, labels: Tensor) -> Tensor:
                loss = self.cross_entropy(classifier(images), labels)
                return loss * 2 if torch.is_autocast_enabled("cpu") else loss

        return Loss(training)

    def forward_units(self) -> float:
        return 3


class FailsUnderAutocast(UnderAutocast):
    """It does not run in bfloat16."""

    def objective(self, training: Any) -> Objective:
        class Loss(Objective):
            def loss(self, classifier: Any, images: Tensor, labels: Tensor) -> Tensor:
                if torch.is_autocast_enabled("cpu"):
                    raise RuntimeError("not implemented for 'BFloat16'")
                return self.cross_entropy(classifier(images), labels)

        return Loss(training)


def test_a_short_training_stays_in_float32_without_a_trial(
    digits: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    trials = pretend(monkeypatch, fp32=1.0, bf16=0.1)
    assert chosen(digits, epochs=2) == Choice("fp32", {})
    assert not trials


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        ({"fp32": 1.0, "bf16": 0.5}, "bf16"),
        ({"fp32": 1.0, "bf16": 0.9}, "fp32"),
        ({"fp32": 1.0, "bf16": 2.0}, "fp32"),
        ({"fp32": 1.0}, "fp32"),
    ],
)
def test_bfloat16_is_chosen_where_it_is_clearly_faster(
    seconds: dict[str, float], expected: str, digits: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend(monkeypatch, **seconds)
    assert chosen(digits) == Choice(expected, seconds)


def test_a_trial_is_kept_and_a_damaged_file_costs_another_one(
    digits: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trials = pretend(monkeypatch, fp32=1.0, bf16=0.5)
    assert chosen(digits) == chosen(digits)
    assert len(trials) == 1
    line = "cnn6 with {}, batches of 10 of 1x8x8: bf16 2.0 times as fast as fp32"
    assert kept_trials() == [line.format("standard")]
    for strength in (1.0, 2.0):
        chosen(digits, get("prs").make({"ham": strength}))
    assert len(trials) == 3
    assert kept_trials() == [line.format("standard"), line.format("prs")]
    for damage in ("", "[1]", '{"a": {"network": "x", "defense": "y", "step_seconds": {"fp32": -1}}}'):
        (tmp_path / "cache" / "regionbench" / "precision.json").write_text(damage)
        before = len(trials)
        assert chosen(digits).precision == "bf16"
        assert len(trials) == before + 1


@pytest.mark.parametrize(("compiled", "expected"), [(0.3, COMPILED), (0.48, "bf16"), (None, "bf16")])
def test_compiling_is_chosen_where_it_is_tried_and_clearly_faster(
    compiled: float | None, expected: str, digits: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = {"fp32": 1.0, "bf16": 0.5} | ({COMPILED: compiled} if compiled else {})
    trials = pretend(monkeypatch, **seconds)
    assert chosen(digits).precision == "bf16"
    monkeypatch.setattr(precision, "_worth_compiling", lambda *_: True)
    assert chosen(digits) == Choice(expected, seconds)
    assert chosen(digits).precision == expected
    assert len(trials) == 2
    outcome = f"{1 / compiled:.1f} times as fast as fp32" if compiled else "does not work"
    (line,) = kept_trials()
    assert line.endswith(f": bf16 2.0 times as fast as fp32, {COMPILED} {outcome}")
    monkeypatch.setattr(precision, "_worth_compiling", lambda *_: False)
    assert chosen(digits).precision == "bf16"


def test_compiling_is_tried_for_long_trainings_on_a_cuda_device() -> None:
    assert precision._worth_compiling(torch.device("cuda"), precision.LONG)
    assert not precision._worth_compiling(torch.device("cuda"), precision.LONG / 2)
    assert not precision._worth_compiling(torch.device("cpu"), precision.LONG)


def test_a_place_that_cannot_be_written_costs_a_trial_each_time(
    digits: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trials = pretend(monkeypatch, fp32=1.0, bf16=0.5)
    (tmp_path / "cache").write_text("a file")
    assert chosen(digits) == chosen(digits)
    assert len(trials) == 2


def test_a_trial_times_both_and_leaves_everything_as_it_was(digits: Dataset) -> None:
    classifier, state = network(digits), torch.get_rng_state()
    before = {name: value.clone() for name, value in classifier.state_dict().items()}
    defense = get("at").make({"steps": 2})
    choice = choose(defense, classifier, digits.train, RECIPE, THREAT, LONG)
    assert choice.step_seconds.keys() == {"fp32", "bf16"}
    assert all(torch.equal(value, before[name]) for name, value in classifier.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("defense", [UnderAutocast, FailsUnderAutocast])
def test_bfloat16_is_left_out_where_it_fails_or_gives_another_loss(
    defense: type[Defense], digits: Dataset
) -> None:
    choice = chosen(digits, defense.make({}))
    assert choice.precision == "fp32"
    assert choice.step_seconds.keys() == {"fp32"}


def settings(out: Path, **changed: Any) -> RunConfig:
    given = {
        "defense": "standard",
        "train_size": 60,
        "test_size": 12,
        "recipe": "paper,batch_size=10",
        "epochs": LONG,
        "trials": 0,
        "out": out,
        "tracking": "none",
    }
    return RunConfig.make({**given, **changed})


def test_a_run_says_the_precision_it_chose_and_is_continued_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trials = pretend(monkeypatch, fp32=1.0, bf16=0.5)
    job = resolve(settings(tmp_path / "runs"))
    assert job.plan.precision == "bf16"
    assert "--precision bf16" in job.config.command()
    assert job.name == resolve(settings(tmp_path / "runs", precision="bf16")).name
    assert "--precision" not in resolve(settings(tmp_path / "runs", epochs=2)).config.command()

    # Where a run has begun, the machine that goes on with it does not choose again.
    pretend(monkeypatch, fp32=1.0, bf16=2.0)
    (tmp_path / "cache" / "regionbench" / "precision.json").unlink()
    job.folder.mkdir(parents=True)
    assert resolve(settings(tmp_path / "runs")).folder == job.folder
    assert resolve(settings(tmp_path / "elsewhere")).plan.precision == "fp32"
    compiled = resolve(settings(tmp_path / "compiled", precision=COMPILED))
    compiled.folder.mkdir(parents=True)
    assert resolve(settings(tmp_path / "compiled")).folder == compiled.folder
    assert len(trials) == 1


def test_a_network_that_cannot_be_compiled_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    plug_in = {"model": "tests.networks:plug_in", "precision": COMPILED}
    with pytest.raises(UserError, match="compiles networks of this package"):
        resolve(settings(tmp_path / "runs", **plug_in))
    assert not (tmp_path / "runs").exists()


def test_a_device_is_named_with_its_number(monkeypatch: pytest.MonkeyPatch) -> None:
    set_devices: list[int] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", set_devices.append)
    assert plan.pick_device("cuda:1") == torch.device("cuda:1")
    assert set_devices == [1]
    assert plan.pick_device("auto") == plan.pick_device("cuda") == torch.device("cuda")
    assert plan.pick_device("cpu") == torch.device("cpu")
    with pytest.raises(UserError, match="of 2 usable CUDA devices, the last is cuda:1"):
        plan.pick_device("cuda:2")
    with pytest.raises(UserError, match="expected one of auto, cpu, cuda, cuda:N, got 'cuda:x'"):
        plan.pick_device("cuda:x")


def test_no_device_is_numbered_where_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match="cuda:0: no CUDA device is usable here"):
        plan.pick_device("cuda:0")
    assert plan.pick_device("auto") == torch.device("cpu")


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.parametrize(("name", "model"), [("standard", "cnn6"), ("at", "cnn6"), ("jacobian", "lenet")])
def test_bfloat16_moves_no_accuracy_beyond_its_interval(name: str, model: str) -> None:
    data = load("digits")
    results = []
    for choice in ("fp32", "bf16"):
        classifier = build(model, input_shape=data.shape, num_classes=data.num_classes, seed=0)
        defense = get(name).make({"steps": 5} if name == "at" else {})
        train(defense, classifier, data, make_recipe("paper"), THREAT, epochs=15, seed=0, precision=choice)
        images, labels = data.test.batch(slice(0, len(data.test)))
        attacked = ATTACKS["pgd20"](classifier, images, labels, THREAT, torch.Generator().manual_seed(0))
        results.append((accuracy(classifier, data.test), float((attacked.step < 0).float().mean())))
    for full, low in zip(*results, strict=True):
        least, most = wilson(round(full * len(data.test)), len(data.test))
        assert least <= low <= most
