"""Searches for clean and robust accuracy together: the front, the choice from it, what is refused."""

import json
import shutil
from pathlib import Path

import numpy as np
import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.trial import FrozenTrial

from bench.core.errors import UserError
from bench.core.front import front_of
from bench.core.progress import Progress
from bench.core.record import Search
from bench.core.threat import Threat
from bench.models import build
from bench.training.choice import CLEAN, choose
from bench.training.objectives import check_objective, make_front
from bench.training.search import SearchOutcome, search
from bench.training.storage import open_storage
from bench.training.study import join_study
from bench.training.trials import NUMBER
from bench.training.validation import outcomes, screened_accuracy
from defenses import get
from tests.records import search_summary
from tests.training.test_search import Scaled, plan, trials

pytestmark = pytest.mark.usefixtures("still_clock")
share = st.integers(0, 8).map(lambda count: count / 8)


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, SearchOutcome]:
    folder = tmp_path_factory.mktemp("pareto")
    return folder, search(plan(), folder, 4, 0.0, Progress(), objective="pareto")


def test_the_front_holds_every_trial_that_no_other_beats(searched: tuple[Path, SearchOutcome]) -> None:
    folder, found = searched
    done = trials(folder)
    assert done[0]["hyperparameters"] == Scaled().hyperparameters()
    assert found.search is not None
    front = found.search.front
    assert front is not None
    values = [(trial["value"], trial["clean_accuracy"]) for trial in done]
    assert {values[at] for at in front_of(values)} == {
        (point.robust_accuracy, point.clean_accuracy) for point in front.points
    }
    for point in front.points:
        assert values[point.trial] == (point.robust_accuracy, point.clean_accuracy)
        assert point.robust_accuracy == point.robust_right / front.robust_images
        assert point.clean_accuracy == point.clean_right / front.clean_images
        assert done[point.trial]["hyperparameters"].items() >= point.hyperparameters.items()
    assert (found.search.pruned, found.search.pruner, found.search.complete) == (0, {}, 4)
    assert found.defense.hyperparameters() == done[found.search.best_trial]["hyperparameters"]


def test_a_finished_front_is_found_again_without_training(
    searched: tuple[Path, SearchOutcome], tmp_path: Path
) -> None:
    folder, found = searched
    copy = shutil.copytree(folder, tmp_path / "copy")
    before = {path: path.stat().st_mtime_ns for path in copy.glob("trials/*/*")}
    again = search(plan(), copy, 4, 0.0, Progress(), objective="pareto")
    assert again.search == found.search
    assert {path: path.stat().st_mtime_ns for path in copy.glob("trials/*/*")} == before
    assert json.loads((copy / "search.json").read_text())["front"]["rule"]


@pytest.mark.slow
def test_a_front_is_the_same_after_interruptions_and_in_a_storage(
    searched: tuple[Path, SearchOutcome], tmp_path: Path
) -> None:
    class Killed(BaseException):
        pass

    calls = 0

    def now_and_then() -> None:
        nonlocal calls
        calls += 1
        if calls in (1, 5):
            raise Killed

    journal = str(tmp_path / "search.journal")
    for _ in range(2):
        with pytest.raises(Killed):
            search(plan(), tmp_path / "pieces", 4, 0.0, Progress(), now_and_then, journal, objective="pareto")
    pieces = search(plan(), tmp_path / "pieces", 4, 0.0, Progress(), storage=journal, objective="pareto")
    assert pieces.search is not None
    assert searched[1].search is not None
    assert pieces.search.front == searched[1].search.front


def test_a_search_can_count_what_survives_screening(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values = iter((0.25, 0.75))
    monkeypatch.setattr("bench.training.objectives.screened_accuracy", lambda *args: next(values))
    found = search(plan(), tmp_path, 2, 0.0, Progress(), objective="screened").search
    assert found is not None
    assert [trial["value"] for trial in trials(tmp_path)] == [0.25, 0.75]
    assert (found.best_trial, found.pruned, found.pruner, found.front) == (1, 0, {}, None)
    assert "screening" in found.objective


def test_screened_accuracy_is_no_higher_than_that_under_pgd_and_cw() -> None:
    setting = plan()
    network = build("cnn6(width=0.25)", input_shape=setting.dataset.shape, num_classes=10, seed=0).eval()
    screened = screened_accuracy(network, setting.dataset, Threat("linf", "0.02"), 0)
    _, right = outcomes(network, setting.dataset, Threat("linf", "0.02"), 0)
    assert 0 <= screened <= right.mean()


def trial(number: int, values: tuple[float, ...]) -> FrozenTrial:
    digits = np.packbits(np.ones(1, bool)).tobytes().hex()
    outcomes = {"clean_outcomes": [1, digits], "robust_outcomes": [1, digits]}
    return optuna.trial.create_trial(
        values=list(values), user_attrs={CLEAN: values[1], NUMBER: number, **outcomes}
    )


@given(st.lists(st.tuples(share, share, st.sampled_from((1.0, 2.0))), min_size=1, max_size=7), share)
def test_the_choice_lies_on_the_front_and_is_as_robust_as_that_of_a_search_for_robustness(
    values: list[tuple[float, float, float]], floor: float
) -> None:
    for kept in (2, 3):
        several = [trial(number, each[:kept]) for number, each in enumerate(values)]
        alone = [
            optuna.trial.create_trial(value=robust, user_attrs={CLEAN: clean}) for robust, clean, _ in values
        ]
        chosen, single = choose(several, floor), choose(alone, floor)
        assert chosen is not None
        assert single is not None
        assert chosen.values[0] == single.values[0]
        on_front = [
            (point.robust_accuracy, point.clean_accuracy, *([point.cost] if kept == 3 else []))
            for point in make_front(several).points
        ]
        assert tuple(chosen.values) in on_front
        assert len(set(on_front)) == len(on_front)


def test_the_summary_of_a_search_for_one_objective_has_no_front() -> None:
    fields = search_summary()
    assert Search(**fields).model_dump().keys() == {*fields, "sampler", "pruner", "optuna"}


def test_objectives_without_trials_and_a_cost_that_no_setting_changes_are_refused() -> None:
    check_objective("robust", get("jacobian"), {}, 0)
    check_objective("pareto", get("standard"), {}, 0)  # which has nothing to search
    check_objective("pareto-cost", get("at"), {}, 3)
    with pytest.raises(UserError, match="--objective pareto compares settings, and --trials 0 tries none"):
        check_objective("pareto", get("jacobian"), {}, 0)
    with pytest.raises(UserError, match=r"no hyper-parameter of jacobian that is searched \(c\)"):
        check_objective("pareto-cost", get("jacobian"), {}, 3)


def test_a_study_with_other_objectives_is_refused(tmp_path: Path) -> None:
    space = Scaled.space()
    with open_storage(str(tmp_path / "search.journal")) as storage:
        join_study(storage, plan(), "one", space)
        with pytest.raises(
            UserError, match="has a study one with 1 objectives, and --objective pareto has 2"
        ):
            join_study(storage, plan(), "one", space, "pareto")
        join_study(storage, plan(), "two", space, "pareto")
        with pytest.raises(
            UserError, match="has a study two with 2 objectives, and --objective robust has 1"
        ):
            join_study(storage, plan(), "two", space)
