"""What a search looks for: robust accuracy, or clean against robust accuracy, and cost where asked."""

from collections.abc import Iterable, Sequence
from typing import Any, Literal

import numpy as np
import optuna
from optuna.trial import FrozenTrial, TrialState

from bench.core.classifier import Classifier
from bench.core.errors import UserError
from bench.core.front import front_of, hypervolume, hypervolume_interval
from bench.core.randomness import derive_seed
from bench.core.record import Front, FrontPoint, Score
from bench.core.record_parts import MOST_OF_FRONT
from bench.core.values import SearchObjective
from bench.training.plan import Plan
from bench.training.trials import number_of
from bench.training.validation import outcomes, screened_accuracy
from defenses.base import Defense
from defenses.space import Choice, Range

#: Directions of the values of a trial: robust accuracy, clean accuracy, cost.
DIRECTIONS: dict[SearchObjective, list[Literal["maximize", "minimize"]]] = {
    "robust": ["maximize"],
    "screened": ["maximize"],
    "pareto": ["maximize", "maximize"],
    "pareto-cost": ["maximize", "maximize", "minimize"],
}
#: What records call them.
WORDS: dict[SearchObjective, str] = {
    "robust": "validation robust accuracy: images that survive PGD-20 and the C&W-margin attack at the threat's ε",
    "screened": "validation robust accuracy: images that survive screening, which stands in for AutoAttack, at the "
    "threat's ε; their epoch is chosen under PGD-20 and the C&W-margin attack",
    "pareto": "clean against robust validation accuracy, the latter under PGD-20 and the C&W-margin attack",
    "pareto-cost": "clean against robust validation accuracy, the latter under PGD-20 and the C&W-margin attack, "
    "and passes of a training step",
}
RULE = (
    "the most robust setting of the front whose clean accuracy reaches the floor, as a search for robust accuracy "
    "alone would choose among these trials"
)
#: Attributes of a trial: which validation images are right without an attack, and which under attack.
CLEAN_OUTCOMES, ROBUST_OUTCOMES = "clean_outcomes", "robust_outcomes"


def cost_of(defense: Defense) -> float:
    """Passes of a training step, relative to standard training: the same on every machine, unlike seconds."""
    return defense.forward_units() / 3


def check_objective(
    objective: SearchObjective, defense: type[Defense], fixed: dict[str, Any], trials: int
) -> None:
    """Refuse objectives of a search that tries no setting, and costs that are all the same.

    Args:
        fixed: hyper-parameters set by the user.
        trials: as asked for; 0 searches nothing.

    Raises:
        UserError: with what to change.
    """
    space = {name: spread for name, spread in defense.space().items() if name not in fixed}
    if objective == "robust" or not space:
        return
    if not trials:
        raise UserError(
            f"--objective {objective} compares settings, and --trials 0 tries none; give --trials 20, or leave "
            f"--objective out"
        )
    if objective == "pareto-cost":
        costs = {cost_of(defense.make({**fixed, name: value})) for name, value in _ends(space)}
        if len(costs | {cost_of(defense.make(fixed))}) == 1:
            raise UserError(
                f"--objective pareto-cost: no hyper-parameter of {defense.name} that is searched "
                f"({', '.join(space)}) changes the passes of a training step; give --objective pareto"
            )


def _ends(space: dict[str, Range]) -> Iterable[tuple[str, Any]]:
    for name, spread in space.items():
        for value in spread.values if isinstance(spread, Choice) else (spread.low, spread.high):
            whole = isinstance(value, float) and value.is_integer()
            yield name, int(value) if whole else value


def values_with_outcomes(
    trial: optuna.Trial,
    plan: Plan,
    defense: Defense,
    network: Classifier,
    seed: int,
    objective: SearchObjective,
) -> list[float]:
    """The values of a trial in the order of `DIRECTIONS`; with several, it keeps the validation images behind them.

    Args:
        trial: gets two attributes, each a number of images and their outcomes in hex digits.
        defense: with the trial's hyper-parameters.
        network: as trained.
        seed: of the training.
        objective: of the search.
    """
    if objective == "screened":
        return [screened_accuracy(network, plan.dataset, plan.threat, seed)]
    clean, right = outcomes(network, plan.dataset, plan.threat, seed, plan.precision)
    for attribute, found in ((CLEAN_OUTCOMES, clean), (ROBUST_OUTCOMES, right)):
        trial.set_user_attr(attribute, [len(found), np.packbits(found).tobytes().hex()])
    values = [float(right.mean()), float(clean.mean())] if len(right) else [0.0, 0.0]
    return [*values, cost_of(defense)] if objective == "pareto-cost" else values


def _outcomes(trial: FrozenTrial, attribute: str) -> np.ndarray:
    size, digits = trial.user_attrs[attribute]
    return np.unpackbits(np.frombuffer(bytes.fromhex(digits), np.uint8), count=size).astype(bool)


def make_front(ended: Sequence[FrozenTrial]) -> Front:
    """The front of the complete trials, the most robust setting first; of trials with equal values, the first.

    Args:
        ended: trials that are over.
    """
    complete = [trial for trial in ended if trial.state == TrialState.COMPLETE]
    complete = list({tuple(trial.values): trial for trial in reversed(complete)}.values())
    found = front_of([_merits(trial) for trial in complete])
    trials = sorted((complete[at] for at in found), key=_merits, reverse=True)[:MOST_OF_FRONT]
    clean, attacked = (
        np.stack([_outcomes(trial, attribute) for trial in trials], axis=1)
        for attribute in (CLEAN_OUTCOMES, ROBUST_OUTCOMES)
    )
    return Front(
        points=[
            FrontPoint(
                trial=number_of(trial),
                hyperparameters=trial.params,
                robust_accuracy=trial.values[0],
                clean_accuracy=trial.values[1],
                clean_right=int(clean[:, at].sum()),
                robust_right=int(attacked[:, at].sum()),
                cost=trial.values[2] if len(trial.values) > 2 else None,
            )
            for at, trial in enumerate(trials)
        ],
        clean_images=len(clean),
        robust_images=len(attacked),
        rule=RULE,
        hypervolume=_hypervolume(clean, attacked),
    )


def _merits(trial: FrozenTrial) -> list[float]:
    """The values of a trial, more of each being better."""
    robust_accuracy, clean, *cost = trial.values
    return [robust_accuracy, clean, *(-each for each in cost)]


def _hypervolume(clean: np.ndarray, attacked: np.ndarray) -> Score:
    if not len(attacked):
        return Score(value=None, n=0, unit="fraction", reason="no validation image to measure on")
    low, high = hypervolume_interval(clean, attacked, np.random.default_rng(derive_seed("hypervolume", 0)))
    return Score(
        value=float(hypervolume(clean.mean(axis=0), attacked.mean(axis=0))),
        low=low,
        high=high,
        n=len(attacked),
        unit="fraction",
        higher_is_better=True,
        reason="of validation images; the interval is for their choice, and as they chose the settings too, "
        "the area is too large where many settings are nearly alike",
    )
