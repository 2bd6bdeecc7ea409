"""What the parts of the benchmark share: sizes, data, networks, a clock, and the report."""

import json
import signal
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from types import FrameType

import torch

from bench.core.classifier import Classifier
from bench.core.randomness import make_generator
from bench.core.threat import Threat
from bench.data import Dataset, Split
from bench.models import build
from bench.training.compiled import COMPILED
from bench.training.recipe import Recipe, make_recipe

THREAT = Threat("linf", "8/255")
#: An epoch of the data sets that papers train on.
EPOCH = 50_000


@dataclass(frozen=True)
class Size:
    """How much of everything.

    Attributes:
        images: of the training split, where random ones are made.
        compared: test images that both devices answer for.
        curved: of these, images whose curvature is compared.
        batch: images of a training step.
        steps: training steps that are timed.
    """

    images: int = 10_240
    compared: int = 500
    curved: int = 20
    batch: int = 128
    steps: int = 120


SMALL = Size(images=256, compared=32, curved=2, batch=32, steps=2)


class TooLate(BaseException):
    """A part has used up its time; no `except Exception` on the way may swallow that."""


@dataclass
class Report:
    """Rows of the tables, printed and written as they come.

    Attributes:
        ends: on the clock of `time.perf_counter`, when the last part must have ended.
        folder: for `gpu.json`; None writes nothing.
    """

    environment: dict[str, str]
    ends: float
    folder: Path | None = None
    agreement: list[dict[str, object]] = field(default_factory=list)
    times: list[dict[str, object]] = field(default_factory=list)
    trainings: list[dict[str, object]] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def attempt(self, limit: float, part: Callable[..., None], *arguments: object) -> None:
        """Run a part for `limit` seconds at most, and report its error, or that it was cut off."""
        started = time.perf_counter()
        seconds = min(limit, self.ends - started)
        if seconds < 1:
            self.failures.append(f"{part.__name__}: left out, no time")
            self.save()
            return
        before = signal.signal(signal.SIGALRM, _too_late)
        signal.setitimer(signal.ITIMER_REAL, seconds)
        try:
            part(self, *arguments)
        except TooLate:
            self.failures.append(f"{part.__name__}: cut off after {seconds:.0f} s")
        except Exception as error:
            self.failures.append(f"{part.__name__}: {type(error).__name__}: {error}")
            traceback.print_exc()
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
        print(f"     ({part.__name__}: {time.perf_counter() - started:.0f} s)", flush=True)
        self.save()

    def save(self) -> None:
        """Write the tables as far as they are."""
        if self.folder is not None:
            self.folder.mkdir(parents=True, exist_ok=True)
            tables = {key: value for key, value in asdict(self).items() if key not in ("ends", "folder")}
            (self.folder / "gpu.json").write_text(json.dumps(tables, indent=1, default=str))

    def agree(self, what: str, value: float, limit: float, worse: str = "above") -> None:
        """Add a row of the table of agreement: a value, and whether it is on the right side of its limit."""
        good = value <= limit if worse == "above" else value >= limit
        self.agreement.append({"what": what, "value": value, "limit": limit, "good": bool(good)})
        print(f"{'ok ' if good else 'BAD'}  {what:<74} {value:12.4g}  (limit {limit:g})", flush=True)

    def time(self, what: str, seconds: float, images: int, over: float | None = None) -> None:
        """Add a row of the table of times."""
        rate = images / seconds
        row = {"what": what, "epoch_seconds": EPOCH / rate, "images_per_second": rate, "over_plain": over}
        self.times.append(row)
        ratio = f"{over:8.2f}x the plain loop" if over is not None else ""
        print(f"     {what:<56} {EPOCH / rate:9.2f} s an epoch  {rate:10,.0f} images/s {ratio}", flush=True)


def _too_late(number: int, frame: FrameType | None) -> None:
    raise TooLate


def environment(device: torch.device) -> dict[str, str]:
    """What the figures were measured on."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    return {"device": name, "torch": torch.__version__, "CUDA": str(torch.version.cuda)}


def random_data(size: Size) -> Dataset:
    """Random images whose label can be learned: one of ten random patterns, under noise."""
    generator = make_generator("gpu", "data")
    patterns = torch.rand(10, 3, 32, 32, generator=generator)

    def split(count: int) -> Split:
        labels = torch.randint(10, (count,), generator=generator)
        noise = torch.rand(count, 3, 32, 32, generator=generator)
        return Split(((0.6 * patterns[labels] + 0.4 * noise) * 255).to(torch.uint8), labels)

    return Dataset(
        "patterns", tuple("0123456789"), split(size.images), split(200), split(max(size.compared, 200))
    )


def network(name: str, dataset: Dataset, device: torch.device) -> Classifier:
    """A fresh network, always with the same weights."""
    fresh = build(name, input_shape=dataset.shape, num_classes=dataset.num_classes, seed=0)
    return fresh.to(device)


def can_train(defense: str, precision: str) -> bool:
    """Whether a defense trains in a precision: `jacobian` differentiates twice, which compiled passes cannot."""
    return not (precision == COMPILED and defense == "jacobian")


def recipe(batch: int) -> Recipe:
    """SGD as networks with batch norm are trained."""
    return make_recipe(f"strong,batch_size={batch}")


@contextmanager
def timed(device: torch.device) -> Iterator[list[float]]:
    """The seconds of a block, with the device's work done before and after."""
    wait: Callable[[], None] = torch.cuda.synchronize if device.type == "cuda" else lambda: None
    wait()
    started, seconds = time.perf_counter(), [0.0]
    yield seconds
    wait()
    seconds[0] = time.perf_counter() - started


def smaller(dataset: Dataset, train: int, validation: int) -> Dataset:
    """The data set with so many training and validation images."""
    return replace(dataset, train=some(dataset.train, train), validation=dataset.validation.take(validation))


def some(split: Split, count: int) -> Split:
    """`count` images of a split, drawn once: image folders are sorted by class."""
    index = torch.randperm(len(split), generator=make_generator("gpu", "images"))[:count]
    return Split(split.images[index], split.labels[index])
