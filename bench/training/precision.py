"""`--precision auto`: float32 or bfloat16, compiled or not, by a trial of a few training steps on this machine."""

import copy
import math
import time
import warnings
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Annotated

import torch
from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from bench.core.classifier import Classifier
from bench.core.errors import UserError
from bench.core.files import cache_folder, read_json, write_json
from bench.core.guards import random_state_kept
from bench.core.names import identity
from bench.core.provenance import hardware
from bench.core.randomness import make_generator, seeded
from bench.core.threat import Threat
from bench.data import Split
from bench.training.compiled import COMPILED
from bench.training.device import training_layout
from bench.training.graph import WARM_UP, Stepper
from bench.training.ranks import count
from bench.training.recipe import Recipe
from bench.training.step import shuffled_batches
from bench.training.timing import synchronize
from defenses.base import Defense, Training

#: A training of fewer steps stays in float32: the trial would not pay for itself.
FEWEST_STEPS = 500
#: Bfloat16 has to be this many times as fast; less is within the noise of the trial.
GAIN = 1.15
#: Seconds of training on a CUDA device from which compiling is tried, which takes up to half a minute itself.
LONG = 120.0
#: Images of a batch in the trial on a CPU, where larger ones only take longer.
IMAGES = 32
#: Steps that are timed; the fastest counts.
STEPS = 3
#: Largest share by which the loss in bfloat16 may differ from that in float32 on the first batch.
TOLERANCE = 0.05


@dataclass(frozen=True)
class Choice:
    """The precision of a training, and why.

    Attributes:
        precision: "fp32", "bf16" or "bf16-compiled".
        step_seconds: precision → seconds of a step of the trial; empty without one. CPU seconds of all threads on a
            CPU, wall-clock seconds on a CUDA device.
    """

    precision: str
    step_seconds: dict[str, float]


class _Trial(BaseModel):
    """A trial as it is kept."""

    network: str
    defense: str
    #: Number and shape of the images, such as "128 of 3x32x32"; a trial kept by an older version does not say it.
    batch: str = ""
    step_seconds: dict[str, Annotated[float, Field(gt=0)]]
    compiling: bool = False

    def gain(self, precision: str) -> float:
        """How many times as fast as float32 another precision was; 0 where it did not work."""
        seconds = self.step_seconds
        return seconds["fp32"] / seconds[precision] if precision in seconds else 0.0


_TRIALS = TypeAdapter(dict[str, _Trial])


def choose(
    defense: Defense,
    classifier: Classifier,
    train: Split,
    recipe: Recipe,
    threat: Threat,
    epochs: int,
    model: str = "network",
) -> Choice:
    """Choose the precision of a training: bfloat16 where a trial of it is faster and its loss is that of float32.

    The result of a trial is kept on this machine, for the same network, defense, sizes and versions. Nothing that
    is published is computed in bfloat16: batch norm's statistics, losses, region means, curvature and the battery
    are in float32 either way.

    Args:
        defense: with the hyper-parameters of the trial.
        classifier: copied and left unchanged, on the device of the training.
        train: the training images.
        model: name of the network, for `kept_trials`.
    """
    if not worth_a_trial(len(train), recipe, epochs):
        return Choice("fp32", {})
    device = train.images.device
    shape = list(train.images.shape[1:])
    key = identity(
        {
            "hardware": hardware(device),
            "torch": torch.__version__,
            "network": str(classifier),
            "defense": [defense.name, defense.hyperparameters()],
            "images": shape,
            "batch": recipe.batch_size,
        }
    )
    settings = (defense, classifier, train, recipe, threat, epochs)
    trial = known = _read().get(key)
    if trial is None:
        seconds = _step_seconds(*settings, ("fp32", "bf16"))
        batch = f"{recipe.batch_size} of {'x'.join(map(str, shape))}"
        trial = _Trial(network=model, defense=defense.name, batch=batch, step_seconds=seconds)
    faster = "bf16" if trial.gain("bf16") >= GAIN else "fp32"
    seconds_of_all = _steps(len(train), recipe, epochs) * trial.step_seconds[faster]
    compiling = faster == "bf16" and _worth_compiling(device, seconds_of_all)
    if compiling and not trial.compiling:
        seconds = {**trial.step_seconds, **_step_seconds(*settings, ("bf16", COMPILED))}
        trial = trial.model_copy(update={"step_seconds": seconds, "compiling": True})
    if trial is not known:
        with suppress(UserError, OSError):  # a place that cannot be written costs another trial
            _file().parent.mkdir(parents=True, exist_ok=True)
            write_json(_file(), _TRIALS.dump_python({**_read(), key: trial}))
    if compiling and trial.gain(COMPILED) >= GAIN * trial.gain("bf16"):
        faster = COMPILED
    return Choice(faster, trial.step_seconds)


def worth_a_trial(images: int, recipe: Recipe, epochs: int) -> bool:
    """Whether a training on so many images is long enough for a trial."""
    return _steps(images, recipe, epochs) >= FEWEST_STEPS


def _worth_compiling(device: torch.device, seconds: float) -> bool:
    """Whether compiling is tried for a training of so many seconds."""
    return device.type == "cuda" and seconds >= LONG and count() == 1


def _steps(images: int, recipe: Recipe, epochs: int) -> int:
    """Steps of a training on so many images."""
    return epochs * math.ceil(images / recipe.batch_size)


def kept_trials() -> list[str]:
    """A line for each trial that this machine keeps: network, defense, batch and how many times as fast it went."""
    lines = [
        f"{each.network} with {each.defense}{f', batches of {each.batch}' if each.batch else ''}: "
        + ", ".join(
            f"{precision} {each.gain(precision):.1f} times as fast as fp32"
            if each.gain(precision)
            else f"{precision} does not work"
            for precision in ("bf16", COMPILED)[: 1 + each.compiling]
        )
        for each in _read().values()
    ]
    # Trials of other hyper-parameters may say the same.
    return list(dict.fromkeys(lines))


def _step_seconds(
    defense: Defense,
    classifier: Classifier,
    train: Split,
    recipe: Recipe,
    threat: Threat,
    epochs: int,
    precisions: tuple[str, str],
) -> dict[str, float]:
    """Seconds of a step in two precisions, without the second where it fails or gives another loss."""
    device = train.images.device
    size = recipe.batch_size if device.type == "cuda" else min(recipe.batch_size, IMAGES)
    small = recipe.model_copy(update={"batch_size": size})
    warm = WARM_UP + 1 if device.type == "cuda" else 1
    seconds, losses = dict[str, float](), dict[str, float]()
    with random_state_kept():
        for precision in precisions:
            twin = copy.deepcopy(classifier).train()
            training = Training(twin, train, threat, epochs, 0, size)
            objective = defense.objective(training)
            optimizer = small.make_optimizer(twin.parameters())
            times = []
            try:
                step = Stepper(objective, twin, precision, size)
                with training_layout(precision, twin), seeded("precision"), warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    objective.begin_epoch(1)
                    generator = make_generator("precision", device=device)
                    batches = shuffled_batches(train, small, generator, precision)
                    for number, (_, images, labels) in enumerate(islice(batches, warm + STEPS)):
                        synchronize(device)
                        started = _now(device)
                        loss = step(optimizer, images, labels, recipe.lr)
                        synchronize(device)
                        times.append(_now(device) - started)
                        if number == 0:
                            losses[precision] = float(loss)
            except (RuntimeError, NotImplementedError, UserError):
                if precision == precisions[0]:
                    raise
                break
            seconds[precision] = min(times[warm:] or times)
    first, second = precisions
    if second in seconds and not _agree(losses[first], losses[second]):
        del seconds[second]
    return seconds


def _agree(expected: float, found: float) -> bool:
    return math.isfinite(found) and abs(found - expected) <= TOLERANCE * max(abs(expected), 1.0)


def _now(device: torch.device) -> float:
    """CPU seconds on a CPU, which other work on the machine does not lengthen; else wall-clock seconds."""
    return time.perf_counter() if device.type == "cuda" else time.process_time()


def _file() -> Path:
    return cache_folder() / "precision.json"


def _read() -> dict[str, _Trial]:
    """The trials kept on this machine; a damaged file counts as none."""
    with suppress(UserError, OSError, ValidationError):
        return _TRIALS.validate_python(read_json(_file()))
    return {}
