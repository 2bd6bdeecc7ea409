"""What a notebook does: train, evaluate, attack and look at records, with every example of data and networks."""

import importlib.util
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from rich.console import Console
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import bench
from bench.attacks.autoattack import autoattack
from bench.core.classifier import WrappedClassifier
from bench.core.errors import UserError
from bench.core.names import is_accuracy
from bench.core.record_text import show_record
from bench.core.threat import Threat
from bench.data import load
from bench.tracking.record_entry import read_record
from metrics import Evaluation, Metric
from tests.records import make_record, write_record

EXAMPLES = Path(__file__).parents[1] / "examples"


def example(folder: str, name: str) -> ModuleType:
    """A module of the examples, imported from its file as a cell of a notebook would define it."""
    spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / folder / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def npz(folder: Path) -> str:
    example("data", "npz_file").write(folder / "digits.npz")
    return str(folder / "digits.npz")


DATA = {
    "numpy_arrays": lambda folder: example("data", "numpy_arrays").load(),
    "tensors": lambda folder: example("data", "tensors").load(),
    "torch_dataset": lambda folder: example("data", "torch_dataset").Squares(),
    "rows": lambda folder: example("data", "rows").load(),
    "npz_file": npz,
    "raw_data": lambda folder: example("data", "raw_data").load(folder, download=False),
}
NETWORKS = {
    "sequential": lambda: example("networks", "sequential").make_network,
    "cosine_head": lambda: example("networks", "cosine_head").CosineNetwork,
    "lazy": lambda: example("networks", "lazy").make_network,
}


class MeanLogit(Metric):
    """A metric of the notebook's own."""

    name = "mean_logit"
    unit = "logits"

    def measure(self, evaluation: Evaluation) -> dict[str, np.ndarray]:
        return {"mean": evaluation.classifier(evaluation.images).mean(dim=1).detach().cpu().numpy()}

    def reduce(self, arrays):  # type: ignore[no-untyped-def]
        return {self.name: self.score(float(arrays["mean"].mean()), n=len(arrays["mean"]))}


@pytest.mark.usefixtures("still_clock")
@pytest.mark.parametrize(("data", "network"), list(zip(DATA, [*NETWORKS] * 2, strict=True)))
def test_every_kind_of_data_and_network_is_trained_and_measured(
    data: str, network: str, tmp_path: Path
) -> None:
    trained = bench.train(
        NETWORKS[network](), DATA[data](tmp_path), "linf:0.1", epochs=1, train_size=64, test_size=20
    )
    assert list(trained.to_frame().index) == [1]
    metrics = ["clean_accuracy", "robust_accuracy/pgd20", MeanLogit]
    record = bench.evaluate(trained, trained.dataset, "linf:0.1", metrics=metrics)
    assert record.feature_site == ("none" if network == "cosine_head" else "pooled")
    assert (record.defense.name, record.training and record.training.epochs) == ("standard", 1)
    images, labels = trained.dataset.test.batch(slice(0, 20))
    result = bench.attack(trained.network, images, labels, "linf:0.1")
    assert record.metrics["robust_accuracy/pgd20"].value == float((~result.broken).double().mean())
    (row,) = record.to_frame().to_dict("records")
    assert row["metrics.mean_logit"] == record.metrics["mean_logit"].value
    assert "alarm" in record._repr_html_()


@pytest.mark.slow
def test_autoattack_is_an_attack_too_and_gives_the_images_of_the_package() -> None:
    digits = load("digits", train_size=50, test_size=20)
    images, labels = digits.test.batch(slice(0, 3))
    network = flat_network()
    result = bench.attack(network, images, labels, "linf:0.4", "autoattack")
    wrapped = WrappedClassifier(network, digits.shape, 10)
    same = autoattack(wrapped, images, labels, Threat.parse("linf:0.4"), seed=0)
    assert torch.equal(result.adversarial, same.adversarial)
    assert torch.equal(result.broken, same.broken)
    noisy = nn.Sequential(network, nn.Dropout(0.01))
    noisy[1].forward = lambda logits: logits + 0.01 * torch.randn_like(logits)  # type: ignore[method-assign]
    random = bench.attack(noisy, images, labels, "linf:0.4", "autoattack")
    assert random.settings["version"] == "rand"  # type: ignore[union-attr]


def flat_network() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))


def test_test_images_alone_are_evaluated_in_any_form() -> None:
    digits = load("digits", test_size=40)
    images, labels = digits.test.batch(slice(None))
    tensors = TensorDataset(images, labels)
    forms = [(images.numpy(), labels.numpy()), tensors, DataLoader(tensors, 16)]
    records = [
        bench.evaluate(flat_network(), form, "linf:0.1", metrics="clean_accuracy", test_size=30)
        for form in forms
    ]
    assert len({record.id for record in records}) == 1
    assert (records[0].dataset.name, records[0].dataset.evaluated_size) == ("own-data", 30)
    named = bench.evaluate(flat_network(), digits, "linf:0.1", metrics="clean_accuracy", test_size=40)
    assert named.dataset.evaluated_size == 40


def test_a_network_is_copied_and_its_defense_comes_with_its_values() -> None:
    network, digits = flat_network(), load("digits", train_size=64, test_size=20)
    before = network[1].weight.clone()
    one = bench.train(network, digits, "linf:0.1", "at", set={"steps": 1}, epochs=1)
    again = bench.train(network, digits, "linf:0.1", "at", set={"steps": 1}, epochs=1)
    assert torch.equal(network[1].weight, before)
    assert torch.equal(one.network.head.weight, again.network.head.weight)
    assert one.trained.defense.hyperparameters["steps"] == 1
    assert bench.evaluate(one, digits, "linf:0.1", metrics="clean_accuracy").model == "Sequential"


def test_mistakes_are_one_line_with_the_fix() -> None:
    network, digits = flat_network(), load("digits", train_size=64, test_size=20)
    images, labels = digits.test.batch(slice(None))
    pixels = digits.test.images.numpy()
    trained = bench.train(network, (pixels, digits.test.labels), "linf:0.1", epochs=1)
    mistakes = [
        (lambda: bench.attack(network, images, labels, "linf:0.1", "pgd"), "did you mean pgd20"),
        (lambda: bench.attack(network, images, labels, "linf:0.1", "auto-attack"), "mean autoattack"),
        (
            lambda: bench.attack(network, images, labels, "linf:0.1", "strongest"),
            "known: adaptive, autoattack",
        ),
        (
            lambda: bench.attack(network, images.permute(0, 2, 3, 1), labels, "linf:0.1"),
            "NHWC; give images.permute",
        ),
        (
            lambda: bench.attack(network, 255 * images, labels, "linf:0.1"),
            "expected pixels in \\[0, 1\\], got 0 to 255",
        ),
        (
            lambda: bench.attack(network, images, labels + 5, "linf:0.1"),
            "expected labels from 0 to 9, got 5 to 14",
        ),
        (
            lambda: bench.evaluate(network, (pixels, labels + 1), "linf:0.1"),
            "from 0 to 9, got 1 to 10; give labels - 1",
        ),
        (
            lambda: bench.evaluate(flat_network().double(), (pixels, labels), "linf:0.1"),
            "weights are torch.float64 and images come as float32: give it as model.float",
        ),
        (
            lambda: bench.evaluate(network, (pixels[:0], labels[:0]), "linf:0.1"),
            "expected at least one of the images, with its label, got none",
        ),
        (
            lambda: bench.evaluate(network, (pixels, labels + 10), "linf:0.1"),
            "from 0 to 9, got 10 to 19; give labels - 10",
        ),
        (
            lambda: bench.evaluate(network.to("meta"), digits, "linf:0.1"),
            "on the device meta, which holds no values",
        ),
        (
            lambda: bench.evaluate(flat_network(), digits, "linf:0.1", test_size=21),
            "test_size must lie in 1 … 20",
        ),
        (
            lambda: bench.evaluate(trained, (pixels, labels), "linf:0.1"),
            "give the trained network's own .dataset",
        ),
        (
            lambda: bench.evaluate(trained, digits, "linf:0.1", defense="x"),
            "the network was trained with standard",
        ),
        (
            lambda: bench.train(flat_network(), digits, "linf:0.1", nn.Linear),
            "expected a defense, its class or its name",
        ),
    ]
    for mistake, message in mistakes:
        with pytest.raises(UserError, match=message):
            mistake()


def test_a_folder_of_records_is_a_table_with_columns_as_mlflow_has(tmp_path: Path) -> None:
    paths = [write_record(tmp_path / name, make_record(id=name)) for name in "ab"]
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "record.json").write_text("{}")
    with pytest.warns(UserWarning, match="left out: .*c/record.json is not a valid record"):
        records = bench.load_records(tmp_path)
    table, entry = records.to_frame(), read_record(paths[0])
    assert list(table.index) == ["a", "b"]
    scores = {column.removeprefix("metrics.") for column in table if column.startswith("metrics.")}
    assert {name.split(".")[0] for name in scores if not name.startswith("cost/")} == records[
        0
    ].metrics.keys()
    assert {"clean_accuracy.low", "cost/evaluate_seconds"} <= scores
    assert table["metrics.clean_accuracy"]["a"] == pytest.approx(entry.scores["clean"], rel=1e-3)
    assert {"defense", "model", "seed"} <= {column.removeprefix("params.") for column in table}
    assert {column[5:] for column in table if column.startswith("tags.")} <= entry.tags.keys()
    with pytest.raises(UserError, match="no such folder"):
        bench.load_records(tmp_path / "elsewhere")


def test_html_shows_alarms_and_scores_and_no_markup_of_the_record() -> None:
    record = make_record(model="<script>")
    alarm = replace(record.alarms[0], raised=True, name="a & b", message="so & so")
    html = record.model_copy(update={"alarms": [alarm]})._repr_html_()
    assert "alarm: a &amp; b</strong> so &amp; so" in html
    assert "&lt;script&gt;" in html
    assert all(name in html for name in record.metrics)


def test_html_begins_with_the_worst_case_and_folds_what_is_no_accuracy() -> None:
    record = make_record()
    html = record._repr_html_()
    folded = html.index("<details>")
    assert html.index("robust_accuracy/worst_case") < html.index("clean_accuracy") < folded
    assert all((html.index(f">{name}<") < folded) == is_accuracy(name) for name in record.metrics)
    for accuracies in (True, False):
        some = {name: score for name, score in record.metrics.items() if is_accuracy(name) is accuracies}
        alone = record.model_copy(update={"metrics": some})._repr_html_()
        assert alone.count("<table>") == 1
        assert "<details>" not in alone


def test_records_show_themselves_as_the_command_does(capsys: pytest.CaptureFixture[str]) -> None:
    record = make_record()
    record.show()
    assert record.id in capsys.readouterr().out
    score = replace(record.metrics["clean_accuracy"], reason="a note that is long. " * 9)
    noted = record.model_copy(update={"metrics": {"clean_accuracy": score, "prs_ratio": score}})
    show_record(noted, Console(width=80))
    assert "\nnotes\n  clean_accuracy, prs_ratio: a note that is long." in capsys.readouterr().out


def test_public_names_are_there_typed_and_lazy() -> None:
    assert all(getattr(bench, name) is not None for name in bench.__all__)
    assert set(bench.__all__) <= set(dir(bench))
    heavy = "import bench, sys; assert not {'torch', 'pandas', 'mlflow', 'numpy'} & set(sys.modules)"
    assert subprocess.run([sys.executable, "-c", heavy], check=False).returncode == 0
