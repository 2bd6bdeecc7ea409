"""Verifying a record: an intact one matches, and every kind of tampering is detected."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from scipy import stats
from torch import nn

from bench.cli.main import main
from bench.cli.verify import verify as command
from bench.core.errors import UserError
from bench.core.files import sha256
from bench.core.progress import Progress
from bench.core.record import File, Record, load_record
from bench.data import Dataset, load
from bench.evaluation.resume import save_arrays
from bench.models import build
from bench.models.weights import load_weights, save_weights
from bench.results.verification.check import DISAGREEMENT, LEVEL, OTHER_DRAWS, disagreement
from bench.results.verification.repeat import metric_to_repeat
from bench.results.verify import verify
from bench.runs.config import RunConfig
from bench.runs.external import evaluate_checkpoint
from bench.tracking import NullTracker
from metrics.accuracy.autoattack import AutoAttack

METRICS = ("clean_accuracy", "robust_accuracy/fgsm", "robust_accuracy/pgd20", "robust_accuracy/worst_case")


def trained(dataset: Dataset) -> nn.Module:
    """A few steps of plain training: right on many images, and robust on few."""
    network = build("cnn6(width=0.25)", input_shape=dataset.shape, num_classes=dataset.num_classes, seed=0)
    optimizer = torch.optim.Adam(network.parameters(), 3e-3)
    images, labels = dataset.train.batch(slice(None))
    for _ in range(25):
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(images), labels).backward()
        optimizer.step()
    return network


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("runs") / "weights.safetensors"
    save_weights(path, trained(load("digits", train_size=100, test_size=60)))
    return path


def measure(weights: Path, metrics: tuple[str, ...]) -> Path:
    config = RunConfig.make(
        {
            "defense": "external",
            "model": "cnn6(width=0.25)",
            "metrics": metrics,
            "train_size": 100,
            "test_size": 60,
            "threat": "linf:0.05",
            "device": "cpu",
            "out": weights.parent / "out",
        }
    )
    return evaluate_checkpoint(config, weights, None, NullTracker(), Progress()).parent


@pytest.fixture(scope="module")
def measured(weights: Path) -> Path:
    return measure(weights, METRICS)


def copy(folder: Path, to: Path) -> Path:
    for path in folder.iterdir():
        if path.is_file():
            (to / path.name).write_bytes(path.read_bytes())
    return to


@pytest.fixture
def copied(measured: Path, tmp_path: Path) -> Path:
    return copy(measured, tmp_path)


def outcomes(folder: Path, **options: object) -> dict[str, str]:
    return {check.name: check.outcome for check in verify(folder, device="cpu", **options).checks}  # type: ignore[arg-type]


def rewrite(folder: Path, change: Callable[[Record], dict[str, object]]) -> None:
    """Change a record and give its files the hashes they have now, as a cheat would."""
    record = load_record(folder)
    files = {
        kind: File(path=file.path, sha256=sha256(folder / file.path)) for kind, file in record.files.items()
    }
    record.model_copy(update={"files": files, **change(record)}).save(folder / "record.json")


def test_an_honest_record_matches_everywhere(measured: Path) -> None:
    found = verify(measured, attacks=["pgd20"], device="cpu")
    assert {check.outcome for check in found.checks} == {"match"}
    names = {check.name for check in found.checks}
    assert {
        *METRICS,
        "data",
        "description",
        "provenance",
        "robust_accuracy/fgsm sample",
        "file weights",
        "file arrays",
        "file examples",
        "scores",
        "alarms",
        "curves",
        "robust_accuracy/pgd20 again",
    } == names
    (again,) = (check for check in found.checks if check.name.endswith("again"))
    assert "0 of 60 images differ" in again.message
    assert found.verdict == "match"


def test_a_record_without_a_worst_case_matches_too(weights: Path) -> None:
    folder = measure(weights, ("clean_accuracy", "robust_accuracy/fgsm"))
    assert "mismatch" not in outcomes(folder, quick=True).values()


def test_the_stored_images_are_those_of_broken_test_images(measured: Path) -> None:
    with np.load(measured / "examples.npz") as stored:
        examples = dict(stored)
    arrays = np.load(measured / "arrays.npz")
    assert not any("example" in name for name in arrays.files)
    assert examples["image"].dtype == np.float32
    assert examples["image"].shape == (len(examples["attack"]), 1, 8, 8)
    for attack in ("robust_accuracy/fgsm", "robust_accuracy/pgd20"):
        index = examples["test_index"][examples["attack"] == attack]
        assert 0 < len(index) <= 10
        assert not arrays[attack][index].any()
        assert arrays["clean_accuracy"][index].all()


def test_other_weights_are_seen(copied: Path) -> None:
    weights = load_weights(copied / "weights.safetensors")
    network = build("cnn6(width=0.25)", input_shape=(1, 8, 8), num_classes=10, seed=1)
    assert weights.keys() == network.state_dict().keys()
    save_weights(copied / "weights.safetensors", network)
    assert outcomes(copied) == {
        "file weights": "mismatch",
        "file arrays": "match",
        "file examples": "match",
    }
    rewrite(copied, lambda record: {})
    found = outcomes(copied, attacks=["pgd20"])
    assert found["file weights"] == "match"
    assert found["clean_accuracy"] == "mismatch"
    assert found["robust_accuracy/pgd20 again"] == "mismatch"


def test_a_raised_score_is_seen(copied: Path) -> None:
    name = "robust_accuracy/pgd20"

    def raised(record: Record) -> dict[str, object]:
        score = replace(record.metrics[name], value=0.9)
        return {"metrics": {**record.metrics, name: score}}

    rewrite(copied, raised)
    assert outcomes(copied)[name] == "mismatch"


def score_changed(record: Record, name: str, **change: object) -> dict[str, object]:
    return {"metrics": {**record.metrics, name: replace(record.metrics[name], **change)}}


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("robust_accuracy/pgd20", {"high": 0.99}),
        ("robust_accuracy/worst_case", {"low": 0.9}),
        ("clean_accuracy", {"n": 10_000}),
    ],
)
def test_an_interval_or_a_size_that_does_not_follow_is_seen(
    copied: Path, name: str, change: dict[str, object]
) -> None:
    rewrite(copied, lambda record: score_changed(record, name, **change))
    (check,) = (one for one in verify(copied, device="cpu").checks if one.name == "scores")
    assert check.outcome == "mismatch"
    assert f"{name} ({next(iter(change))})" in check.message


def test_a_raised_detection_auc_is_a_mismatch_or_named_where_its_arrays_are_not_stored(
    weights: Path, tmp_path: Path
) -> None:
    measured = measure(weights, ("clean_accuracy", "detection_auc(images=12,directions=4)"))
    assert verify(measured, device="cpu").verdict == "match"
    folder = copy(measured, tmp_path)
    rewrite(folder, lambda record: score_changed(record, "detection_auc", value=0.99, high=1.0))
    found = verify(folder, device="cpu")
    assert found.verdict == "MISMATCH"
    assert any("detection_auc is 0.99 in the record" in check.message for check in found.checks)
    rewrite(folder, without(folder, "arrays"))
    found = verify(folder, device="cpu")
    assert found.verdict.startswith("partly: ")
    assert "scores not computed again (detection/recovery, detection_auc, " in found.verdict


def test_a_hidden_alarm_is_seen(copied: Path) -> None:
    with np.load(copied / "arrays.npz") as stored:
        arrays = dict(stored)
    n = len(arrays["robust_accuracy/pgd20"])
    arrays["robust_accuracy/pgd20:step"] = np.full(n, -1)
    arrays["robust_accuracy/pgd20:zero_gradient_float32"] = np.ones(n, bool)
    save_arrays(copied / "arrays.npz", arrays)
    rewrite(copied, lambda record: {})
    (check,) = (one for one in verify(copied, device="cpu").checks if one.name == "alarms")
    assert check.outcome == "mismatch"
    assert "zero gradients is raised by the arrays, not in the record" in check.message


def test_an_alarm_that_the_record_alone_raises_is_told_and_no_mismatch(copied: Path) -> None:
    def louder(record: Record) -> dict[str, object]:
        return {"alarms": [replace(alarm, raised=alarm.raised is False) for alarm in record.alarms]}

    rewrite(copied, louder)
    found = verify(copied, device="cpu")
    (check,) = (one for one in found.checks if one.name == "alarms")
    assert "raised in the record alone: " in check.message
    assert found.verdict == "match"


def test_alarms_that_the_record_lacks_are_named(copied: Path) -> None:
    """Also those that these arrays do not answer: a record of this version would say so."""
    gone: list[str] = []

    def silent(record: Record) -> dict[str, object]:
        gone.extend(f"alarms.{alarm.name}" for alarm in record.alarms)
        return {"alarms": []}

    rewrite(copied, silent)
    found = verify(copied, device="cpu", quick=True)
    (lacking,) = (each for each in found.unproven if each.reason == "the record lacks it")
    assert set(lacking.fields) == set(gone)


def test_extra_checks_of_the_settings_alone_are_a_contradiction(copied: Path) -> None:
    def asked(record: Record) -> dict[str, object]:
        config = {**record.provenance.config, "suspicious": True}
        return {"provenance": record.provenance.model_copy(update={"config": config})}

    rewrite(copied, asked)
    (check,) = (one for one in verify(copied, device="cpu", quick=True).checks if one.name == "provenance")
    assert check.message == "--suspicious is nothing in its command, given in its settings"


def without(folder: Path, *kinds: str) -> Callable[[Record], dict[str, object]]:
    """What leaves files out of a record, and out of its folder."""

    def leave_out(record: Record) -> dict[str, object]:
        files = {
            kind: File(path=file.path, sha256=sha256(folder / file.path))
            for kind, file in record.files.items()
        }
        return {"files": {kind: file for kind, file in files.items() if kind not in kinds}}

    return leave_out


def raise_robust_scores(folder: Path, value: float) -> None:
    def raised(record: Record) -> dict[str, object]:
        robust = {
            name: replace(score, value=value) if name.startswith("robust") else score
            for name, score in record.metrics.items()
        }
        return {"metrics": robust}

    record = load_record(folder)
    record.model_copy(update=raised(record)).save(folder / "record.json")


def test_raised_robust_scores_without_outcomes_are_no_match(copied: Path) -> None:
    rewrite(copied, without(copied, "arrays", "examples"))
    raise_robust_scores(copied, 0.99)
    found = verify(copied, device="cpu", quick=True)
    assert not found.matches
    assert found.verdict.startswith(
        "partly: clean accuracy matches; robust accuracies not checked: fgsm, pgd20, worst_case; not checked: "
    )
    done = CliRunner().invoke(command, [str(copied), "--device", "cpu", "--quiet", "--quick"])
    assert done.exit_code == 3
    assert f": {found.verdict}\n" in done.output
    assert verify(copied, device="cpu").verdict == "MISMATCH"
    assert outcomes(copied, attacks=["pgd20"])["robust_accuracy/pgd20 again"] == "mismatch"


def test_attacks_that_run_again_stand_in_for_outcomes(copied: Path) -> None:
    rewrite(copied, without(copied, "arrays", "examples"))
    assert verify(copied, attacks=["pgd20"], device="cpu").unchecked == (
        "robust_accuracy/fgsm",
        "robust_accuracy/worst_case",
    )
    found = verify(copied, attacks=["pgd20", "fgsm"], device="cpu")
    assert found.verdict == "match"
    assert {check.outcome for check in found.checks if check.name.startswith("robust")} == {"match"}


def test_stored_images_bound_a_score_and_do_not_give_it(copied: Path) -> None:
    rewrite(copied, without(copied, "arrays"))
    found = outcomes(copied, quick=True)
    assert found["robust_accuracy/pgd20"] == "not checked"
    raise_robust_scores(copied, 0.99)
    found = outcomes(copied)
    assert found["robust_accuracy/pgd20"] == "mismatch"


def test_a_worst_case_above_an_attack_is_a_mismatch_whatever_is_stored(copied: Path) -> None:
    rewrite(copied, without(copied, "arrays", "examples"))
    rewrite(copied, lambda record: score_changed(record, "robust_accuracy/worst_case", value=0.99))
    assert outcomes(copied)["robust_accuracy/worst_case"] == "mismatch"


def test_autoattack_runs_again_with_the_records_own_settings(copied: Path) -> None:
    name, settings = "robust_accuracy/autoattack", {"version": "rand", "seed": 3, "batch_size": 7}
    record = load_record(copied)
    record = record.model_copy(
        update={
            "metrics": {**record.metrics, name: record.metrics["robust_accuracy/pgd20"]},
            "battery": record.battery.model_copy(
                update={"settings": {**record.battery.settings, name: {**settings, "passes": "bfloat16"}}}
            ),
        }
    )
    metric = metric_to_repeat("autoattack", record)
    assert isinstance(metric, AutoAttack)
    assert metric.settings() == {**settings, "passes": "bfloat16"}
    strange = record.battery.model_copy(update={"settings": {name: {"restarts": 3}}})
    with pytest.raises(UserError, match="settings that AutoAttack does not have"):
        metric_to_repeat("autoattack", record.model_copy(update={"battery": strange}))


@pytest.mark.parametrize("way", ["outside the ball", "clean", "another image", "outcome"])
def test_bad_stored_images_are_seen(copied: Path, way: str) -> None:
    with np.load(copied / "examples.npz") as stored:
        examples = dict(stored)
    with np.load(copied / "arrays.npz") as stored:
        arrays = dict(stored)
    name = str(examples["attack"][0])
    if way == "outside the ball":
        examples["image"][0] = 1 - examples["image"][0]
    elif way == "clean":
        test = load("digits", train_size=100, test_size=60).test
        examples["image"][0] = test.images[int(examples["test_index"][0])].numpy() / np.float32(255)
    elif way == "another image":
        examples["test_index"][0] = examples["test_index"][1]
    else:
        arrays[name][examples["test_index"][0]] = True
    save_arrays(copied / "examples.npz", examples)
    save_arrays(copied / "arrays.npz", arrays)
    rewrite(copied, lambda record: {})
    found = outcomes(copied)
    assert found[name] == "mismatch"
    assert found["clean_accuracy"] == "match"


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("arrays", {"robust_accuracy/pgd20": np.zeros(3, bool)}),
        ("arrays", {"robust_accuracy/worst_case": np.zeros((60, 1), bool)}),
        ("arrays", {"clean_accuracy": np.zeros(60)}),
        ("examples", {"test_index": np.zeros(2)}),
        ("examples", {"image": np.zeros((2, 64), np.float32)}),
        ("examples", {"more": np.zeros(2)}),
    ],
)
def test_malformed_outcomes_are_a_mismatch_and_no_crash(
    copied: Path, kind: str, change: dict[str, np.ndarray]
) -> None:
    path = copied / f"{kind}.npz"
    with np.load(path) as stored:
        arrays = dict(stored)
    save_arrays(path, arrays | change)
    rewrite(copied, lambda record: {})
    assert outcomes(copied)["stored outcomes"] == "mismatch"


def test_a_changed_file_is_a_mismatch_and_one_that_is_not_there_cannot_be_checked(copied: Path) -> None:
    (copied / "examples.npz").write_bytes(b"something else")
    (copied / "arrays.npz").unlink()
    found = outcomes(copied)
    assert (found["file arrays"], found["file examples"]) == ("not checked", "mismatch")
    assert found["clean_accuracy"] == "match"


def test_weights_from_elsewhere_are_told_apart_by_their_hash(copied: Path, tmp_path: Path) -> None:
    moved = tmp_path / "elsewhere.safetensors"
    (copied / "weights.safetensors").rename(moved)
    assert outcomes(copied, weights=moved)["file weights"] == "match"
    torch.save(load_weights(moved), tmp_path / "elsewhere.pt")
    found = outcomes(copied, weights=tmp_path / "elsewhere.pt")
    assert found["file weights"] == "not checked"
    assert found["clean_accuracy"] == "match"
    with pytest.raises(UserError, match="give them with --checkpoint"):
        verify(copied, device="cpu")


@pytest.mark.parametrize(("name", "message"), [("pgd2", "did you mean pgd20"), ("cw", "it has fgsm, pgd20")])
def test_an_attack_that_cannot_be_compared_is_refused(measured: Path, name: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        verify(measured, attacks=[name], device="cpu")


def test_other_settings_than_the_records_are_refused(copied: Path) -> None:
    def older(record: Record) -> dict[str, object]:
        settings = {**record.battery.settings, "robust_accuracy/pgd20": {"steps": 7}}
        return {"battery": record.battery.model_copy(update={"settings": settings})}

    rewrite(copied, older)
    with pytest.raises(UserError, match="other settings in battery version"):
        verify(copied, attacks=["pgd20"], device="cpu")


def test_the_command_says_match_and_mismatch_by_its_exit_code(copied: Path) -> None:
    done = CliRunner().invoke(command, [str(copied), "--device", "cpu", "--quiet"])
    assert done.exit_code == 0, done.output
    verdict, *tail = done.output.splitlines()[done.output.splitlines().index(f"{copied}: match") :]
    assert verdict.endswith(": match")
    assert tail[-1].startswith("alarms       none raised")
    assert all(line.startswith("not proven   ") for line in tail[:-1])
    assert any("the outcomes of 10 of 60 images did not run again" in line for line in tail)
    (copied / "arrays.npz").write_bytes(b"something else")
    done = CliRunner().invoke(command, [str(copied), "--device", "cpu", "--quiet", "--json"])
    assert done.exit_code == 1
    found = json.loads(done.output)
    assert not found["matches"]
    assert {
        "name": "file arrays",
        "outcome": "mismatch",
        "message": "arrays.npz has changed since the record was written",
    } in found["checks"]


def test_the_exit_codes_of_the_command_line(copied: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    def code(folder: Path, *options: str) -> int:
        words = ["bench", "verify", str(folder), "--device", "cpu", "--quiet", *options]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("sys.argv", words)
            try:
                main()
            except SystemExit as leave:
                return int(leave.code or 0)
        return 0

    assert code(copied) == 0
    assert code(copied, "--quick") == 3
    assert code(copied, "--attacks", "pgd2") == 2
    assert code(tmp_path_factory.mktemp("empty")) == 2
    rewrite(copied, lambda record: score_changed(record, "robust_accuracy/pgd20", value=0.9))
    assert code(copied, "--quick") == 1


@pytest.mark.parametrize("rate", [DISAGREEMENT, OTHER_DRAWS])
@pytest.mark.parametrize("n", [20, 60, 200, 1000, 10_000])
def test_images_that_may_differ_follow_from_the_rate_of_rounding(n: int, rate: float) -> None:
    allowed = max(k for k in range(n) if disagreement(k, n, rate) >= LEVEL)
    assert stats.binom(n, rate).sf(allowed) < LEVEL <= stats.binom(n, rate).sf(allowed - 1)
    assert n < 100 or allowed <= n / 50
