"""The search: defaults first, validation data alone, resumable, failures reported."""

import dataclasses
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar

import pytest
from pydantic import Field
from torch import Tensor
from torch.nn.functional import cross_entropy

from bench.core.errors import UserError
from bench.core.progress import Progress
from bench.core.threat import Threat
from bench.data import load
from bench.training.plan import Plan
from bench.training.recipe import make_recipe
from bench.training.search import search
from defenses import Defense, Objective, Training
from defenses.space import Choice, LogUniform, Uniform

pytestmark = pytest.mark.usefixtures("still_clock")


@dataclass(frozen=True, kw_only=True)
class Scaled(Defense):
    """Cross-entropy times a weight; a weight above its limit gives NaN."""

    name: ClassVar[str] = "scaled"
    family: ClassVar[str] = "test"

    weight: Annotated[float, Field(gt=0), LogUniform(0.01, 100)] = 1.0
    steps: Annotated[int, Field(ge=1), Uniform(1, 5)] = 2
    kind: Annotated[str, Choice("a", "b")] = "b"
    limit: float = 1e9

    def objective(self, training: Training) -> Objective:
        return ScaledLoss(training, self)


class ScaledLoss(Objective):
    def __init__(self, training: Training, defense: Scaled) -> None:
        super().__init__(training)
        self.defense = defense

    def loss(self, classifier: Any, images: Tensor, labels: Tensor) -> Tensor:
        loss = self.defense.weight * cross_entropy(classifier(images), labels)
        return loss * float("nan") if self.defense.weight > self.defense.limit else loss


def plan(fixed: dict[str, Any] | None = None, epochs: int = 2) -> Plan:
    dataset = load("digits", train_size=60, test_size=10)
    return Plan(
        "scaled",
        Scaled,
        fixed or {},
        "cnn6(width=0.25)",
        dataset,
        Threat("linf", "0.1"),
        make_recipe("paper"),
        epochs,
        "fp32",
    )


def trials(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in sorted(folder.glob("trials/*/trial.json"))]


def test_the_first_trial_is_the_papers_defaults_and_the_search_says_what_it_did(tmp_path: Path) -> None:
    found = search(plan({"steps": 3}), tmp_path, 3, 0.0, Progress())
    first = trials(tmp_path)[0]["hyperparameters"]
    assert first == {"weight": 1.0, "steps": 3, "kind": "b", "limit": 1e9}
    assert {trial["hyperparameters"]["steps"] for trial in trials(tmp_path)} == {3}
    assert found.search is not None
    assert (found.search.trials, set(found.search.space)) == (3, {"weight", "kind"})
    assert found.search.default_value == trials(tmp_path)[0]["value"]
    values = [trial["value"] for trial in trials(tmp_path)]
    assert found.search.best_value == max(value for value in values if value is not None)
    best = trials(tmp_path)[found.search.best_trial]["hyperparameters"]
    assert found.defense.hyperparameters() == best


@pytest.mark.slow
def test_an_interrupted_search_proposes_the_same_settings(tmp_path: Path) -> None:
    whole = search(plan(), tmp_path / "whole", 4, 0.0, Progress())

    class Killed(BaseException):
        pass

    calls = 0

    def kill_now_and_then() -> None:
        nonlocal calls
        calls += 1
        if calls in (1, 4, 6):
            raise Killed

    pieces = None
    for _ in range(4):
        try:
            pieces = search(plan(), tmp_path / "pieces", 4, 0.0, Progress(), kill_now_and_then)
        except Killed:
            continue
    assert pieces is not None
    keys = ("number", "state", "hyperparameters", "value", "clean_accuracy")
    strip = lambda folder: [{key: trial[key] for key in keys} for trial in trials(folder)]  # noqa: E731
    assert strip(tmp_path / "whole") == strip(tmp_path / "pieces")
    assert whole.defense == pieces.defense


def test_a_finished_search_trains_nothing_again(tmp_path: Path) -> None:
    search(plan(), tmp_path, 2, 0.0, Progress())
    before = {path: path.stat().st_mtime_ns for path in tmp_path.glob("trials/*/*")}
    search(plan(), tmp_path, 2, 0.0, Progress())
    assert {path: path.stat().st_mtime_ns for path in tmp_path.glob("trials/*/*")} == before


def test_a_trial_that_diverges_fails_with_epoch_and_cause_and_the_search_goes_on(tmp_path: Path) -> None:
    said: list[str] = []

    class Listening(Progress):
        def say(self, line: str) -> None:
            said.append(line)

    found = search(plan({"limit": 1.5}, epochs=1), tmp_path, 6, 0.0, Listening())
    failed = [trial for trial in trials(tmp_path) if trial["state"] == "FAIL"]
    assert failed
    assert all("epoch 1: the loss became nan" in trial["message"] for trial in failed)
    assert len(said) == len(failed)
    assert found.search is not None
    assert found.search.failed == len(failed)
    assert found.defense.hyperparameters()["weight"] <= 1.5


@dataclass(frozen=True, kw_only=True)
class Raising(Scaled):
    """Raises an error beyond its limit."""

    error: ClassVar[type[BaseException]] = ValueError

    def objective(self, training: Training) -> Objective:
        if self.weight > self.limit:
            raise self.error("too\nheavy")
        return super().objective(training)


@pytest.mark.slow
def test_a_trial_whose_code_raises_is_failed_with_the_cause_and_the_search_goes_on(tmp_path: Path) -> None:
    raising = dataclasses.replace(plan({"limit": 1.5}, epochs=1), defense=Raising)
    found = search(raising, tmp_path, 6, 0.0, Progress())
    failed = [trial for trial in trials(tmp_path) if trial["state"] == "FAIL"]
    assert failed
    assert {trial["message"] for trial in failed} == {"ValueError: too heavy"}
    assert found.search is not None
    assert (found.search.trials, found.search.failed) == (6, len(failed))
    refused = dataclasses.replace(raising, fixed={"limit": 0.0})
    with pytest.raises(
        UserError, match=r"no trial of the search could be finished; .* ValueError: too heavy"
    ):
        search(refused, tmp_path / "all", 2, 0.0, Progress())


@pytest.mark.parametrize(
    "error", [OSError(28, "No space left on device"), MemoryError(), KeyboardInterrupt()]
)
def test_what_the_next_trial_would_meet_too_ends_the_search(error: BaseException, tmp_path: Path) -> None:
    def changed() -> None:
        raise error

    with pytest.raises(type(error)):
        search(plan(epochs=1), tmp_path, 2, 0.0, Progress(), changed)
    assert [trial["state"] for trial in trials(tmp_path)] == ["RUNNING"]


def test_no_finished_trial_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no trial"):
        search(plan({"limit": 0.0}, epochs=1), tmp_path, 2, None, Progress())


def test_nothing_to_search_takes_the_defaults_and_writes_nothing(tmp_path: Path) -> None:
    fixed = {"weight": 2.0, "steps": 1, "kind": "a"}
    for found in (
        search(plan(fixed), tmp_path / "a", 5, None, Progress()),
        search(plan(), tmp_path / "b", 0, None, Progress()),
    ):
        assert found.search is None
        assert found.folder is None
    assert not (tmp_path / "a").exists()
    assert not (tmp_path / "b").exists()


@pytest.mark.slow
def test_a_setting_below_the_floor_loses_to_one_above_it(tmp_path: Path) -> None:
    found = search(plan(epochs=3), tmp_path, 5, None, Progress())
    assert found.search is not None
    best = trials(tmp_path)[found.search.best_trial]
    assert best["clean_accuracy"] >= found.search.clean_floor
    first = trials(tmp_path)[0]["clean_accuracy"]
    assert found.search.clean_floor == pytest.approx(max(0.0, first - 0.10))


class Listener(Progress):
    """Keeps what is said."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, line: str) -> None:
        self.lines.append(line)


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a search of four trials, which nothing may change."""
    folder = tmp_path_factory.mktemp("searched")
    search(plan(), folder, 4, 0.0, Progress())
    return folder


@pytest.mark.parametrize("content", [b"", b"text" * 2000, None])
def test_a_damaged_study_is_set_aside_and_its_trainings_are_taken(
    searched: Path, tmp_path: Path, content: bytes | None
) -> None:
    folder, listener = shutil.copytree(searched, tmp_path / "copy"), Listener()
    before = {path: path.stat().st_mtime_ns for path in folder.glob("trials/*/checkpoint.pt")}
    if content is None:
        search(plan({"steps": 3}), tmp_path / "other", 1, 0.0, Progress())
        content = (tmp_path / "other" / "search.db").read_bytes()
    (folder / "search.db").write_bytes(content)
    search(plan(), folder, 4, 0.0, listener)
    assert any("set aside as search.db.broken" in line for line in listener.lines)
    assert {path: path.stat().st_mtime_ns for path in folder.glob("trials/*/checkpoint.pt")} == before
    for name in ("hyperparameters", "state", "value", "clean_accuracy"):
        assert [trial[name] for trial in trials(folder)] == [trial[name] for trial in trials(searched)]


def test_a_damaged_trial_file_is_written_again(searched: Path, tmp_path: Path) -> None:
    folder, listener = shutil.copytree(searched, tmp_path / "copy"), Listener()
    (folder / "trials" / "0000" / "trial.json").write_text("{")
    (folder / "trials" / "0001" / "trial.json").unlink()
    search(plan(), folder, 4, 0.0, listener)
    assert [line.partition(" is ")[2] for line in listener.lines] == [
        "written again from the search's database"
    ] * 2
    assert trials(folder) == trials(searched)


def test_a_search_in_a_folder_of_any_name_stays_in_it(tmp_path: Path) -> None:
    folder = tmp_path / "what? a%20b {c} #d"
    search(plan(epochs=1), folder, 1, 0.0, Progress())
    assert [path.parent for path in tmp_path.rglob("search.db")] == [folder]
    assert [path.name for path in tmp_path.iterdir()] == [folder.name]
