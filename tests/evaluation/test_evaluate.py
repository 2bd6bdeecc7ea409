"""An evaluation: resuming, networks from elsewhere, and the record."""

import copy
import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import bench
from bench.core.classifier import WrappedClassifier
from bench.core.errors import UserError
from bench.core.record import Score, load_record
from bench.core.threat import Threat
from bench.data import Dataset, Split, load
from bench.evaluation.battery import Battery, make_battery
from bench.evaluation.estimate import estimate
from bench.models import build
from metrics import get as get_metric
from metrics.accuracy.autoattack import AutoAttack
from metrics.accuracy.clean_accuracy import CleanAccuracy
from metrics.accuracy.robust_accuracy import RobustAccuracy
from metrics.accuracy.worst_case import WorstCase
from metrics.base import Metric
from metrics.evaluation import Arrays, Evaluation, NotMeasurable
from metrics.regions.inclusion_ratio import InclusionRatio
from metrics.regions.prs_ratio import PRSRatio


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load("digits", train_size=100, test_size=30)


def network(dataset: Dataset) -> Any:
    return build("cnn6(width=0.25)", input_shape=dataset.shape, num_classes=dataset.num_classes, seed=0)


def battery(*metrics: Metric, images: int | None = 20) -> Battery:
    return Battery(
        "small", images, metrics or (CleanAccuracy(), PRSRatio(), RobustAccuracy("fgsm"), WorstCase()), ""
    )


class Counting(Metric):
    """A metric that counts its runs, and can be made to fail."""

    def __init__(self, name: str, breaks: bool = False) -> None:
        self.name, self.breaks, self.calls = name, breaks, 0

    def measure(self, evaluation: Evaluation) -> Arrays:
        self.calls += 1
        if self.breaks:
            raise KeyboardInterrupt
        evaluation.classifier(evaluation.images[:7])
        return {"right": np.array([True, False])}

    def reduce(self, arrays: Mapping[str, np.ndarray]) -> dict[str, Score]:
        return {self.name: self.proportion(arrays["right"])}


class Writing(Counting):
    """A metric that writes into what it is given."""

    def __init__(self, name: str, write: Callable[[Evaluation], object]) -> None:
        super().__init__(name)
        self.write = write

    def measure(self, evaluation: Evaluation) -> Arrays:
        self.write(evaluation)
        return super().measure(evaluation)


@pytest.mark.parametrize(
    ("write", "what"),
    [
        (lambda evaluation: evaluation.images.mul_(0.5), "the images"),
        (
            lambda evaluation: np.multiply(evaluation.images.numpy(), 0.5, out=evaluation.images.numpy()),
            "the images",
        ),
        (lambda evaluation: evaluation.labels.zero_(), "the labels and the data set"),
        (lambda evaluation: evaluation.dataset.test.images.zero_(), "the data set"),
        (lambda evaluation: next(evaluation.classifier.parameters()).data.zero_(), "the weights"),
    ],
)
def test_a_metric_of_others_that_changes_what_all_share_is_refused(
    digits: Dataset, tmp_path: Path, write: Callable[[Evaluation], object], what: str
) -> None:
    own = copy.deepcopy(digits)
    with pytest.raises(UserError, match=rf"^metric 'writer' changed {what} of the evaluation, .*clone\(\)"):
        bench.evaluate(network(own), own, "linf:0.1", battery(Writing("writer", write)), out=tmp_path)
    assert not (tmp_path / "record.json").exists()
    assert not list(tmp_path.rglob("writer*"))


def test_the_modes_that_a_metric_of_others_leaves_are_restored(digits: Dataset) -> None:
    classifier = network(digits)
    trains = Writing("trains", lambda evaluation: evaluation.classifier.train())
    seen = Writing("seen", lambda evaluation: modes.append(evaluation.classifier.training))
    modes: list[bool] = []
    bench.evaluate(classifier, digits, "linf:0.1", battery(trains, seen))
    assert modes == [False]


class Undefined(Counting):
    def measure(self, evaluation: Evaluation) -> Arrays:
        self.calls += 1
        raise NotMeasurable("there is nothing to see")


def test_finished_metrics_are_not_repeated(digits: Dataset, tmp_path: Path) -> None:
    classifier = network(digits)
    done, undefined, last = Counting("done"), Undefined("undefined"), Counting("last", breaks=True)
    with pytest.raises(KeyboardInterrupt):
        bench.evaluate(classifier, digits, "linf:0.1", battery(done, undefined, last), out=tmp_path)
    assert not (tmp_path / "record.json").exists()
    last.breaks = False
    record = bench.evaluate(classifier, digits, "linf:0.1", battery(done, undefined, last), out=tmp_path)
    assert (done.calls, undefined.calls, last.calls) == (1, 1, 2)
    assert record.cost.forwards == 14
    assert record.metrics["undefined"].value is None
    assert record.metrics["undefined"].reason == "there is nothing to see"
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "arrays.npz",
        "record.json",
        "sources",
        "weights.safetensors",
    ]


@pytest.mark.parametrize("change", ["weights", "threat", "seed", "data"])
def test_finished_metrics_of_another_evaluation_are_deleted(
    digits: Dataset, tmp_path: Path, change: str
) -> None:
    classifier, done = network(digits), Counting("done")
    with pytest.raises(KeyboardInterrupt):
        bench.evaluate(
            classifier, digits, "linf:0.1", battery(done, Counting("x", breaks=True)), out=tmp_path
        )
    if change == "weights":
        with torch.no_grad():
            classifier.head.bias.add_(1)
    threat = "linf:0.2" if change == "threat" else "linf:0.1"
    seed = 1 if change == "seed" else 0
    data = load("digits", train_size=100, test_size=25) if change == "data" else digits
    bench.evaluate(classifier, data, threat, battery(done), out=tmp_path, seed=seed)
    assert done.calls == 2


class Turned(nn.Module):
    """Classifies its images as they are or mirrored, so that equal weights give other logits."""

    def __init__(self, network: nn.Module, *, mirrored: bool, noise: float = 0.0) -> None:
        super().__init__()
        self.network, self.mirrored, self.noise = network, mirrored, noise

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.network(images.flip(-1) if self.mirrored else images)
        return logits + self.noise * torch.randn_like(logits)


@pytest.mark.parametrize(
    ("before", "after", "calls"),
    [
        ({"mirrored": True}, {"mirrored": False}, 2),
        ({"mirrored": True}, {"mirrored": True}, 1),
        ({"mirrored": False}, {"mirrored": False, "noise": 1e-7}, 1),
        ({"mirrored": False, "noise": 1.0}, {"mirrored": False, "noise": 1.0}, 1),
    ],
)
def test_a_network_is_recognized_by_its_logits(
    digits: Dataset, tmp_path: Path, before: dict[str, Any], after: dict[str, Any], calls: int
) -> None:
    done, inner = Counting("done"), network(digits)
    killed = battery(done, Counting("x", breaks=True))
    with pytest.raises(KeyboardInterrupt):
        bench.evaluate(Turned(inner, **before), digits, "linf:0.1", killed, out=tmp_path)
    torch.rand(3)
    bench.evaluate(Turned(inner, **after), digits, "linf:0.1", battery(done), out=tmp_path)
    assert done.calls == calls


class Drawing(Metric):
    """The output of a stochastic network on zeros."""

    unit = "logits"

    def __init__(self, name: str, breaks: bool = False) -> None:
        self.name, self.breaks = name, breaks

    def measure(self, evaluation: Evaluation) -> Arrays:
        if self.breaks:
            raise KeyboardInterrupt
        return {"drawn": evaluation.classifier(evaluation.images[:1]).detach().numpy()}

    def reduce(self, arrays: Mapping[str, np.ndarray]) -> dict[str, Score]:
        return {self.name: self.score(float(np.abs(arrays["drawn"]).max()))}


def test_draws_come_from_the_seed_and_the_callers_random_state_is_restored(
    digits: Dataset, tmp_path: Path
) -> None:
    noisy = Ending(lambda logits: logits + torch.randn_like(logits))
    one, other = Drawing("one"), Drawing("other", breaks=True)
    torch.manual_seed(1)
    before = torch.get_rng_state()
    with pytest.raises(KeyboardInterrupt):
        bench.evaluate(noisy, digits, "linf:0.1", battery(one, other), out=tmp_path)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    other.breaks = False
    resumed = bench.evaluate(noisy, digits, "linf:0.1", battery(one, other), out=tmp_path)
    whole = bench.evaluate(noisy, digits, "linf:0.1", battery(one, other))
    assert resumed.metrics == whole.metrics
    assert whole.metrics["one"].value != whole.metrics["other"].value
    assert whole.metrics != bench.evaluate(noisy, digits, "linf:0.1", battery(one, other), seed=1).metrics


def test_a_metric_whose_file_is_incomplete_runs_again(digits: Dataset, tmp_path: Path) -> None:
    classifier, done = network(digits), Counting("done")
    with pytest.raises(KeyboardInterrupt):
        bench.evaluate(
            classifier, digits, "linf:0.1", battery(done, Counting("x", breaks=True)), out=tmp_path
        )
    part = tmp_path / "parts" / "done.npz"
    part.write_bytes(part.read_bytes()[:50])
    bench.evaluate(classifier, digits, "linf:0.1", battery(done), out=tmp_path)
    assert done.calls == 2


def test_the_record_holds_what_was_measured(digits: Dataset, tmp_path: Path) -> None:
    record = bench.evaluate(
        network(digits), digits, "linf:1/10", battery(), out=tmp_path, name="cnn6(width=0.25)"
    )
    assert load_record(tmp_path, check_files=True) == record
    assert record.threat.eps == "1/10"
    assert (record.dataset.evaluated_size, record.dataset.test_size) == (20, 30)
    arrays = np.load(tmp_path / "arrays.npz")
    assert arrays["clean_accuracy"].shape == (30,)
    subset = arrays["clean_accuracy"][arrays["test_index"]]
    assert not (arrays["robust_accuracy/fgsm"] & ~subset).any()
    clean = record.metrics["clean_accuracy"]
    assert clean.value == pytest.approx(arrays["clean_accuracy"].mean())
    assert clean.low is not None
    assert clean.value is not None
    assert clean.high is not None
    assert clean.low <= clean.value <= clean.high
    assert record.training is None


def test_the_same_evaluation_gives_the_same_scores(digits: Dataset) -> None:
    records = [bench.evaluate(network(digits), digits, "linf:0.1", battery()) for _ in range(2)]
    assert records[0].metrics == records[1].metrics
    assert records[0].alarms == records[1].alarms


def test_an_external_network_gets_the_same_scores(digits: Dataset) -> None:
    ours = network(digits)

    class Stranger(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = ours
            self.head = nn.Linear(ours.num_features, ours.num_classes)
            self.head.load_state_dict(ours.head.state_dict())

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return self.head(torch.relu(self.inner.features(images)))

    metrics = battery(CleanAccuracy(), PRSRatio(), InclusionRatio(), RobustAccuracy("pgd20"))
    expected = bench.evaluate(ours, digits, "linf:0.1", metrics).metrics
    got = bench.evaluate(Stranger(), digits, "linf:0.1", metrics)
    assert got.metrics == expected
    assert (got.feature_site, got.model) == ("pooled", "Stranger")


def test_a_network_without_a_linear_head_goes_without_region_metrics(digits: Dataset) -> None:
    convolution = nn.Sequential(nn.Conv2d(1, 10, 8), nn.Flatten())
    record = bench.evaluate(convolution, digits, "linf:0.1", battery())
    assert record.feature_site == "none"
    assert record.metrics["prs_ratio"].value is None
    assert "linear" in record.metrics["prs_ratio"].reason
    assert record.metrics["robust_accuracy/fgsm"].value is not None


@pytest.mark.slow
@pytest.mark.usefixtures("short_autoattack")
def test_evaluation_leaves_the_network_as_it_was(digits: Dataset) -> None:
    classifier = network(digits).train()
    classifier.backbone.eval()
    modes = [module.training for module in classifier.modules()]
    for parameter in classifier.parameters():
        parameter.grad = torch.ones_like(parameter)
    torch.manual_seed(5)
    before = torch.get_rng_state()
    bench.evaluate(classifier, digits, "linf:0.1", make_battery("quick"))
    assert [module.training for module in classifier.modules()] == modes
    assert all(
        bool((parameter.grad == 1).all())
        for parameter in classifier.parameters()
        if parameter.grad is not None
    )
    assert all(parameter.requires_grad for parameter in classifier.parameters())
    assert torch.equal(torch.get_rng_state(), before)


def test_epsilon_zero_from_python_is_clean_accuracy(digits: Dataset) -> None:
    from bench.core.threat import Threat

    record = bench.evaluate(network(digits), digits, Threat("linf", "0"), battery(images=None))
    assert record.metrics["robust_accuracy/worst_case"].value == record.metrics["clean_accuracy"].value


@pytest.mark.parametrize("written", ["linf:0", "LINF:0.0", "0/1", "l2:0"])
def test_epsilon_zero_may_be_written_in_any_way(digits: Dataset, written: str) -> None:
    both = battery(CleanAccuracy(), RobustAccuracy("fgsm"), images=None)
    metrics = bench.evaluate(network(digits), digits, written, both).metrics
    assert metrics["robust_accuracy/fgsm"].value == metrics["clean_accuracy"].value


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (nn.Sequential(nn.Flatten(), nn.Linear(64, 7)), r"logits of shape \(batch, 10\).*\(2, 7\)"),
        (nn.Conv2d(3, 10, 3), "does not take images of shape"),
        (nn.Linear(64, 10), "does not take images of shape"),
    ],
)
def test_a_network_that_does_not_fit_is_refused(digits: Dataset, module: nn.Module, message: str) -> None:
    with pytest.raises(UserError, match=message):
        bench.evaluate(module, digits, "linf:0.1", battery())


def test_arguments_of_another_kind_are_refused(digits: Dataset) -> None:
    linear = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    for model, data, threat, message in (
        (lambda images: linear(images), digits, "linf:0.1", "torch.nn.Module, got function"),
        (nn.Linear, digits, "linf:0.1", "got the class Linear"),
        (
            linear,
            digits.test.images,
            "linf:0.1",
            r"expected \(images, labels\), .* got images of shape \(30, 1, 8, 8\) without labels",
        ),
        (linear, digits, 0.1, "an ε needs its norm"),
    ):
        with pytest.raises(UserError, match=message):
            bench.evaluate(model, data, threat, battery())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda images, labels: (images.float() / 255, labels),
            r"expected images as uint8 .* got torch.float32 from 0 to 1; give .255 \* images",
        ),
        (
            lambda images, labels: (images.float() / 127 - 1, labels),
            "from -1 to 1.007.*; undo their normalization",
        ),
        (
            lambda images, labels: (images.long(), labels),
            r"torch.int64 from 0 to 255; give images.to.torch.uint8",
        ),
        (lambda images, labels: (images.int() - 1, labels), "torch.int32 from -1 to 254$"),
        (lambda images, labels: (images.float() / 0, labels), "torch.float32 with NaN or infinity"),
        (lambda images, labels: (images.numpy(), labels), "images as a torch.Tensor, got ndarray"),
        (lambda images, labels: (images, labels.tolist()), "labels as a torch.Tensor, got list"),
        (lambda images, labels: (images.repeat(1, 3, 1, 1), labels), "of shape .N, 1, 8, 8., got .* 3, 8, 8"),
        (
            lambda images, labels: (images.permute(0, 2, 3, 1), labels),
            "layout NHWC; give images.permute.0, 3, 1, 2",
        ),
        (lambda images, labels: (images[:, 0], labels), "of shape .N, C, H, W., got .30, 8, 8."),
        (lambda images, labels: (images, labels + 1), "labels from 0 to 9, got 1 to 10"),
        (lambda images, labels: (images, labels - 1), "labels from 0 to 9, got -1 to 8"),
        (lambda images, labels: (images, labels.int()), "labels int64 of shape .* got torch.int32"),
        (lambda images, labels: (images, labels[1:]), "labels int64 of shape"),
        (lambda images, labels: (images[:0], labels[:0]), "at least one test image"),
    ],
)
def test_unusable_data_are_refused_by_every_battery(
    digits: Dataset, change: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]], message: str
) -> None:
    data = replace(digits, test=Split(*change(digits.test.images, digits.test.labels)))
    linear = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    with pytest.raises(UserError, match=message):
        bench.evaluate(linear, data, "linf:0.1", battery(CleanAccuracy()))


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["0"] * 2, "'0' is named twice"),
        (["", "1"], "expected some text"),
        (["a\x1b[31m", "1"], "printable characters alone"),
        (["a" * 20_000, "1"], "expected at most 300 characters"),
    ],
)
def test_classes_with_names_that_no_record_can_hold_are_refused(
    digits: Dataset, names: list[str], message: str
) -> None:
    data = replace(digits, classes=(*names, *digits.classes[2:]))
    linear = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    with pytest.raises(UserError, match=f"the names of its classes: .*{message}"):
        bench.evaluate(linear, data, "linf:0.1", battery(CleanAccuracy()))


def test_training_images_that_are_no_pictures_are_refused(digits: Dataset) -> None:
    data = replace(digits, train=Split(digits.train.images[:, 0], digits.train.labels))
    linear = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    with pytest.raises(UserError, match=r"training split: expected images of shape .N, C, H, W."):
        bench.evaluate(linear, data, "linf:0.1", battery(CleanAccuracy()))


class Ending(nn.Module):
    """A linear network with something behind it."""

    def __init__(self, end: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.linear, self.end = nn.Linear(64, 10), end

    def forward(self, images: Tensor) -> Any:
        return self.end(self.linear(images.flatten(1)))


@pytest.mark.parametrize(
    ("end", "message"),
    [
        (lambda logits: logits.half(), "float32.*, the network gave torch.float16"),
        (lambda logits: logits.long(), "float32.*, the network gave torch.int64"),
        (lambda logits: (logits, logits), "the network gave tuple"),
        (lambda logits: {}["logits"], "does not take images of shape .1, 8, 8.: KeyError: 'logits'"),
    ],
)
def test_a_network_that_gives_no_logits_is_refused(
    digits: Dataset, end: Callable[[Tensor], Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        bench.evaluate(Ending(end), digits, "linf:0.1", battery(CleanAccuracy()))


def test_a_network_of_another_precision_is_refused(digits: Dataset) -> None:
    linear = nn.Sequential(nn.Flatten(), nn.Linear(64, 10)).double()
    with pytest.raises(UserError, match=r"in float32, its weights are torch.float64; give model.float"):
        bench.evaluate(linear, digits, "linf:0.1", battery(CleanAccuracy()))


@pytest.mark.parametrize("given", [3, ["clean_accuracy"]])
def test_a_battery_of_another_kind_is_refused(digits: Dataset, given: Any) -> None:
    linear = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    with pytest.raises(UserError, match=r"Battery or the name of one, got .*make_battery"):
        bench.evaluate(linear, digits, "linf:0.1", given)


@pytest.mark.slow
def test_random_outputs_turn_autoattack_to_rand_and_the_record_says_so(digits: Dataset) -> None:
    noisy = Ending(lambda logits: logits + 0.1 * torch.randn_like(logits))
    attacks = battery(CleanAccuracy(), AutoAttack(), images=4)
    record = bench.evaluate(noisy, digits, "linf:0.1", attacks)
    assert "version rand instead of standard" in record.metrics["robust_accuracy/autoattack"].reason
    assert any(alarm.name == "randomised output" and alarm.raised for alarm in record.alarms)


class Ruined(nn.Module):
    """A network whose logits are not finite on a few images."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.linear, self.value = nn.Linear(64, 10), value

    def forward(self, images: Tensor) -> Tensor:
        logits = self.linear(images.flatten(1))
        return logits.index_fill(0, torch.tensor([0]), self.value)


def test_logits_that_are_not_finite_are_refused_before_anything_is_written(
    digits: Dataset, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match="finite logits"):
        bench.evaluate(
            Ruined(float("nan")), digits, "linf:0.1", battery(CleanAccuracy()), out=tmp_path / "out"
        )
    assert not (tmp_path / "out").exists()


def test_epsilon_zero_may_be_written_as_text_and_a_folder_too(digits: Dataset, tmp_path: Path) -> None:
    linear = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    both = battery(CleanAccuracy(), RobustAccuracy("pgd20"), images=None)
    record = bench.evaluate(linear, digits, "linf:0", both, out=str(tmp_path / "out"))
    assert record.metrics["robust_accuracy/pgd20"].value == record.metrics["clean_accuracy"].value
    assert (tmp_path / "out" / "record.json").is_file()


def test_the_estimate_works_for_a_network_without_a_gradient(digits: Dataset) -> None:
    class Opaque(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return images.detach().flatten(1)[:, :10]

    classifier = WrappedClassifier(Opaque(), digits.shape, digits.num_classes)
    assert "about" in estimate(20, classifier, digits, battery())


def test_every_battery_has_its_settings() -> None:
    from bench.evaluation.describe import describe_battery

    for name in ("quick", "standard", "full"):
        described = describe_battery(make_battery(name))
        assert described.settings["robust_accuracy/pgd20"]["steps"] == 20
        assert described.settings["robust_accuracy/autoattack"]["version"] == "standard"
        json.dumps(described.model_dump())


def test_examples_lie_in_a_file_of_their_own_and_come_from_the_subset(
    digits: Dataset, tmp_path: Path
) -> None:
    record = bench.evaluate(trained_plainly(digits), digits, "linf:0.2", battery(), out=tmp_path)
    assert set(record.files) == {"weights", "arrays", "examples"}
    examples, arrays = np.load(tmp_path / "examples.npz"), np.load(tmp_path / "arrays.npz")
    assert not any("example" in name for name in arrays.files)
    assert set(examples["attack"]) == {"robust_accuracy/fgsm"}
    assert 0 < len(examples["test_index"]) <= 10
    assert set(examples["test_index"]) <= set(arrays["test_index"])
    clean, _ = digits.test.batch(torch.from_numpy(examples["test_index"]))
    distance = np.abs(examples["image"] - clean.numpy()).reshape(len(clean), -1).max(axis=1)
    assert (distance > 0).all()
    assert (distance <= 0.2 + 1e-5).all()


@pytest.mark.slow
def test_evaluating_from_python_needs_neither_mlflow_nor_optuna() -> None:
    script = """
import sys
for name in ("mlflow", "optuna", "ray"):
    sys.modules[name] = None
from torch import nn
import bench
from bench.evaluation.battery import Battery
from bench.data import load
from bench.core.record import Record
from bench.core.threat import Threat
from metrics.accuracy.clean_accuracy import CleanAccuracy
from metrics.accuracy.robust_accuracy import RobustAccuracy
from metrics.accuracy.worst_case import WorstCase
battery = Battery("small", 10, (CleanAccuracy(), RobustAccuracy("fgsm"), WorstCase()), "")
data = load("digits", train_size=100, test_size=20)
network = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
record = bench.evaluate(network, data, "linf:0.1", battery, escalate=True)
assert isinstance(record, Record), type(record)
print(record.metrics["robust_accuracy/worst_case"].n)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "10"


def trained_plainly(dataset: Dataset, epochs: int = 15) -> Any:
    """A plain training loop, which uses nothing of this project but the network."""
    classifier = network(dataset).train()
    optimizer = torch.optim.Adam(classifier.parameters(), lr=1e-3)
    images, labels = dataset.train.images.float() / 255, dataset.train.labels
    shuffle = torch.Generator().manual_seed(0)
    for _ in range(epochs):
        for index in torch.randperm(len(images), generator=shuffle).split(50):
            loss = nn.functional.cross_entropy(classifier(images[index]), labels[index])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return classifier


@pytest.mark.slow
def test_weights_from_a_plain_loop_get_the_same_scores(tmp_path: Path) -> None:
    """The same weights in three forms: a network of ours, another module, and a checkpoint on the command line."""
    from bench.core.progress import Progress
    from bench.runs.config import RunConfig
    from bench.runs.external import evaluate_checkpoint
    from bench.tracking import NullTracker

    dataset = load("digits", train_size=400, test_size=30)
    classifier = trained_plainly(dataset).eval()
    torch.save({"state_dict": classifier.state_dict()}, tmp_path / "plain.pt")

    class Stranger(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = classifier

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return self.inner(images)

    names = (
        "clean_accuracy",
        "prs_ratio",
        "robust_accuracy/pgd20",
        "robust_accuracy/cw",
        "security_curve",
        "robust_accuracy/worst_case",
    )
    by_python = bench.evaluate(classifier, dataset, "linf:0.3", make_battery("quick", names))
    ours = by_python.metrics
    strange = bench.evaluate(Stranger(), dataset, "linf:0.3", make_battery("quick", names)).metrics
    config = RunConfig.make(
        {
            "defense": "external",
            "model": "cnn6(width=0.25)",
            "metrics": names,
            "threat": "linf:0.3",
            "train_size": 400,
            "test_size": 30,
            "device": "cpu",
            "out": tmp_path,
        }
    )
    path = evaluate_checkpoint(config, tmp_path / "plain.pt", None, NullTracker(), Progress())
    assert strange == ours
    record = load_record(path)
    assert record.metrics == ours
    assert record.alarms == by_python.alarms
    assert record.curves == by_python.curves
    images, labels = dataset.test.images.float() / 255, dataset.test.labels
    with torch.no_grad():
        by_hand = (classifier(images).argmax(dim=1) == labels).float().mean().item()
    assert ours["clean_accuracy"].value == pytest.approx(by_hand)
    assert by_hand > 0.8
    robust = ours["robust_accuracy/worst_case"].value
    assert robust is not None
    assert robust < by_hand


@pytest.mark.parametrize(
    "name", ["robust_accuracy/pgd20", "decision_function", "logit_motion", "region_distance"]
)
def test_every_image_through_the_network_is_counted_once(digits: Dataset, name: str) -> None:
    classifier = network(digits).eval().requires_grad_(False)
    seen = 0

    def count(_: nn.Module, __: Any, features: torch.Tensor) -> None:
        nonlocal seen
        seen += len(features)

    hook = classifier.backbone.register_forward_hook(count)
    images, labels = digits.test.batch(slice(None))
    evaluation = Evaluation(
        classifier, digits, Threat.parse("linf:0.2"), images, labels, torch.arange(len(labels))
    )
    get_metric(name).measure(evaluation)
    hook.remove()
    assert evaluation.forwards == seen > 0


@pytest.mark.parametrize("name", [" ", "\x1b[31m", "A" * 400])
def test_a_name_that_no_record_can_hold_is_refused_before_anything_is_measured(
    digits: Dataset, tmp_path: Path, name: str
) -> None:
    for change in ({"name": name}, {"defense": name}, {"data": replace(digits, name=name)}):
        arguments: dict[str, Any] = {"data": digits, **change}
        with pytest.raises(UserError, match="a name in a record"):
            bench.evaluate(network(digits), threat="linf:0.1", battery=battery(), out=tmp_path, **arguments)
    assert not list(tmp_path.iterdir())
