"""Whether a CUDA device gives the CPU's answers, and how fast it trains and attacks.

python -m benchmarks.gpu                                          # a few minutes on one data-center GPU
python -m benchmarks.gpu --data imagefolder:DIR --out DIR         # real images; the tables as JSON as well
python -m benchmarks.gpu --device cpu --small                     # a rehearsal without a GPU

Agreement comes first: networks trained on the device are copied to the CPU, and both answer the same questions.
Then training is repeated, resumed, and taken without captured steps; no weight may differ by a bit.
The table of times follows: seconds of an epoch of 50,000 images for each defense, beside a plain PyTorch loop on
the same network and batches, in float32, in bfloat16 with channels innermost, and compiled. Last, a real training
(`fast`, bfloat16) with the robust accuracy it reaches. A part that fails is reported, and the next one runs. It
needs no MLflow and no Optuna.
"""

import argparse
import json
import statistics
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from bench.attacks import ATTACKS, Attack
from bench.attacks.autoattack import autoattack
from bench.core.classifier import Classifier
from bench.core.guards import evaluating, full_precision
from bench.core.randomness import make_generator
from bench.core.threat import Threat
from bench.data import Dataset, Split, load
from bench.geometry.curvature import mean_curvature
from bench.geometry.regions import count_regions, pack
from bench.models import build
from bench.training.graph import Stepper
from bench.training.loop import train
from bench.training.recipe import Recipe, make_recipe
from defenses import get

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


@dataclass
class Report:
    """Rows of the two tables, printed as they come."""

    environment: dict[str, str]
    agreement: list[dict[str, object]] = field(default_factory=list)
    times: list[dict[str, object]] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def attempt(self, part: Callable[..., None], *arguments: object) -> None:
        """Run a part of the benchmark; report its error, and how long it took."""
        started = time.perf_counter()
        try:
            part(self, *arguments)
        except Exception as error:
            self.failures.append(f"{part.__name__}: {type(error).__name__}: {error}")
            traceback.print_exc()
        print(f"     ({part.__name__}: {time.perf_counter() - started:.0f} s)", flush=True)

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
        print(f"     {what:<50} {EPOCH / rate:9.2f} s an epoch  {rate:10,.0f} images/s {ratio}", flush=True)


def main() -> None:
    """Print both tables; exit with 1 where the devices disagree."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--data", metavar="NAME", help="a data set of 3x32x32 images; random images without")
    parser.add_argument("--small", action="store_true", help="a rehearsal")
    parser.add_argument("--networks", nargs="*", default=["cnn6", "resnet18"])
    parser.add_argument("--epochs", type=int, default=15, help="of the real training")
    parser.add_argument("--out", type=Path, help="folder for the tables as JSON")
    options = parser.parse_args()
    device, size = torch.device(options.device), SMALL if options.small else Size()
    dataset = load(options.data, image_size=32) if options.data else random_data(size)
    report = Report(environment(device))
    print(" · ".join(f"{name} {value}" for name, value in report.environment.items()), flush=True)
    for name in options.networks:
        report.attempt(compare_devices, name, dataset, size, device)
        report.attempt(repeat_and_resume, name, dataset, size, device)
        save(report, options.out)
    for name in options.networks:
        report.attempt(time_training, name, dataset, size, device)
        report.attempt(time_attacks, name, dataset, size, device)
        save(report, options.out)
    report.attempt(train_fast, options.networks[-1], dataset, options.epochs, device)
    save(report, options.out)
    if report.failures:
        raise SystemExit("; ".join(report.failures))
    bad = [row["what"] for row in report.agreement if not row["good"]]
    if bad:
        raise SystemExit(f"the devices disagree: {'; '.join(map(str, bad))}")


def save(report: Report, folder: Path | None) -> None:
    """Write the tables as far as they are."""
    if folder:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "gpu.json").write_text(json.dumps(asdict(report), indent=1))


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


def trained(
    name: str,
    dataset: Dataset,
    device: torch.device,
    *,
    defense: str = "at",
    epochs: int = 1,
    checkpoint: Path | None = None,
    stop: int | None = None,
) -> Classifier:
    """A network trained on the device.

    Args:
        checkpoint: to resume from, and to write.
        stop: the epoch after which the training is interrupted.
    """

    class Interrupted(Exception):
        pass

    def interrupt(row: dict[str, object]) -> None:
        if row["epoch"] == stop:
            raise Interrupted

    classifier = network(name, dataset, device)
    chosen = get(defense).make({"steps": 3} if defense == "at" else {})
    with suppress(Interrupted):
        train(
            chosen,
            classifier,
            dataset.to(device),
            make_recipe("paper,batch_size=128"),
            THREAT,
            epochs=epochs,
            seed=0,
            checkpoint=checkpoint,
            on_epoch=interrupt,
        )
    return classifier.eval()


def recipe(batch: int) -> Recipe:
    """SGD as networks with batch norm are trained."""
    return make_recipe(f"strong,batch_size={batch}")


def compare_devices(report: Report, name: str, dataset: Dataset, size: Size, device: torch.device) -> None:
    """Both devices answer for the same weights, images and random starts."""
    few = smaller(dataset, size.images, 200)
    there = trained(name, few, device, epochs=3)
    here = network(name, dataset, torch.device("cpu")).eval()
    here.load_state_dict({key: value.cpu() for key, value in there.state_dict().items()})
    images, labels = some(dataset.test, size.compared).batch(slice(None))
    moved, moved_labels = images.to(device), labels.to(device)
    with torch.no_grad(), full_precision():
        logits, features = here.forward_with_features(images)
        other, other_features = there.forward_with_features(moved)
    accuracy = float((logits.argmax(dim=1) == labels).float().mean())
    report.agree(f"{name}: accuracy of the compared network (of {len(labels)})", accuracy, 0.2, "below")
    scale = float(logits.abs().max())
    report.agree(
        f"{name}: largest difference of logits, relative",
        float((other.cpu() - logits).abs().max()) / scale,
        1e-4,
    )
    same = float((other.argmax(dim=1).cpu() == logits.argmax(dim=1)).float().mean())
    report.agree(f"{name}: same class", same, 0.999, "below")
    difference = F.cross_entropy(other, moved_labels).cpu() - F.cross_entropy(logits, labels)
    report.agree(f"{name}: difference of the cross-entropy", float(difference.abs()), 1e-4)

    patterns, other_patterns = pack(features), pack(other_features)
    bits = float(((features > 0) != (other_features.cpu() > 0)).float().mean())
    report.agree(f"{name}: share of signs that differ", bits, 1e-5)
    regions = abs(count_regions(patterns) - count_regions(other_patterns)) / len(patterns)
    report.agree(f"{name}: difference of the PRS ratio", regions, 2e-3)

    for attack in ("fgsm", "pgd20", "cw"):
        with full_precision():
            ours = ATTACKS[attack](here, images, labels, THREAT, make_generator("gpu", attack))
            theirs = ATTACKS[attack](there, moved, moved_labels, THREAT, make_generator("gpu", attack))
        robust, other_robust = (1 - float(result.broken.float().mean()) for result in (ours, theirs))
        report.agree(
            f"{name}: {attack}: images with another outcome",
            float((ours.broken != theirs.broken.cpu()).float().mean()),
            5e-3,
        )
        report.agree(
            f"{name}: {attack}: difference of robust accuracy {robust:.3f}", abs(robust - other_robust), 5e-3
        )

    with full_precision():
        curved = mean_curvature(here, images[: size.curved], make_generator("gpu", "curvature")).score
        others = mean_curvature(there, moved[: size.curved], make_generator("gpu", "curvature")).score.cpu()
    finite = np.isfinite(curved.numpy()) & np.isfinite(others.numpy())
    spread = float(curved[finite].abs().median())
    far = float((curved - others)[finite].abs().median())
    report.agree(
        f"{name}: mean curvature, median difference over median size {spread:.2g}", far / spread, 1e-2
    )


def repeat_and_resume(report: Report, name: str, dataset: Dataset, size: Size, device: torch.device) -> None:
    """The same training again, one interrupted after its first epoch of two, and one without captured steps."""
    few = smaller(dataset, 4 * size.batch, 64)
    for defense in ("standard", "at", "jacobian", "prs"):
        first = trained(name, few, device, defense=defense, epochs=2)
        again = trained(name, few, device, defense=defense, epochs=2)
        with tempfile.TemporaryDirectory() as folder:
            checkpoint = Path(folder) / "checkpoint.pt"
            trained(name, few, device, defense=defense, epochs=2, checkpoint=checkpoint, stop=1)
            resumed = trained(name, few, device, defense=defense, epochs=2, checkpoint=checkpoint)
        with patch("bench.training.loop.Stepper", partial(Stepper, capture=False)):
            eager = trained(name, few, device, defense=defense, epochs=2)
        for other, what in ((again, "repeated"), (resumed, "resumed"), (eager, "eager")):
            report.agree(
                f"{name}: {defense}: weights of a {what} training, relative", apart(first, other), 0.0
            )


def apart(first: Classifier, second: Classifier) -> float:
    """The largest difference of two networks' weights, over the largest weight; 0 for equal bits."""
    pairs = list(zip(first.parameters(), second.parameters(), strict=True))
    return max(float((a - b).detach().abs().max()) for a, b in pairs) / max(
        float(a.detach().abs().max()) for a, _ in pairs
    )


def time_training(report: Report, name: str, dataset: Dataset, size: Size, device: torch.device) -> None:
    """Seconds of an epoch: each defense through the project's loop, and the plain loop in two precisions."""
    split = some(dataset.train, size.steps * size.batch).to(device)
    images = len(split)
    plain = plain_loop(name, dataset, split, size, device, fast=False)
    report.time(f"{name}: plain loop, float32", plain, images, 1.0)
    fast = plain_loop(name, dataset, split, size, device, fast=True)
    report.time(f"{name}: plain loop, bfloat16, channels innermost", fast, images, fast / plain)
    if device.type == "cuda":
        compiled = plain_loop(name, dataset, split, size, device, fast=True, compiled=True)
        report.time(f"{name}: the same, compiled", compiled, images, compiled / plain)
    few = Dataset(dataset.name, dataset.classes, split, split.take(0), split.take(0))
    for precision in ("fp32", "bf16"):
        for defense, values in (
            ("standard", {}),
            ("at", {"steps": 10}),
            ("at", {"steps": 20}),
            ("fast", {}),
            ("prs", {}),
            ("mr", {}),
            ("jacobian", {}),
        ):
            seconds: list[float] = []

            def keep(row: dict[str, object], seconds: list[float] = seconds) -> None:
                seconds.append(float(str(row["seconds"])))

            train(
                get(defense).make(values),
                network(name, dataset, device),
                few,
                recipe(size.batch),
                THREAT,
                epochs=4,
                seed=0,
                precision=precision,
                on_epoch=keep,
            )
            median = statistics.median(seconds[1:])
            words = ", ".join(f"{key}={value}" for key, value in values.items())
            report.time(
                f"{name}: {defense} {words} {precision}".replace("  ", " "), median, images, median / plain
            )


def plain_loop(
    name: str,
    dataset: Dataset,
    split: Split,
    size: Size,
    device: torch.device,
    *,
    fast: bool,
    compiled: bool = False,
) -> float:
    """Seconds of one pass of a loop that a researcher would write: crop, flip, forward, backward, SGD.

    Args:
        fast: bfloat16 autocast, weights and images with channels innermost, fused SGD.
        compiled: by `torch.compile`, with its own captured graphs.
    """
    classifier = network(name, dataset, device).train()
    layout = torch.channels_last if fast else torch.contiguous_format
    if fast:
        classifier.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.SGD(
        classifier.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4, nesterov=True, fused=fast
    )
    context = torch.autocast(device.type, torch.bfloat16) if fast else nullcontext()
    logits = torch.compile(classifier, mode="reduce-overhead") if compiled else classifier

    def one_pass() -> float:
        with timed(device) as seconds:
            for index in torch.randperm(len(split), device=device).split(size.batch):
                images, labels = split.batch(index)
                images = augmented(images).contiguous(memory_format=layout)
                with context:
                    loss = F.cross_entropy(logits(images).float(), labels)
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                optimizer.step()
        return seconds[0]

    return statistics.median([one_pass() for _ in range(4)][1:])


def augmented(images: Tensor) -> Tensor:
    """A random crop after padding by four pixels, one for the batch, and a flip of each image."""
    top, left = (int(offset) for offset in torch.randint(9, (2,)))
    padded = F.pad(images, (4, 4, 4, 4))[:, :, top : top + images.shape[2], left : left + images.shape[3]]
    flip = torch.rand(len(images), 1, 1, 1, device=images.device) < 0.5
    return torch.where(flip, padded.flip(3), padded)


def time_attacks(report: Report, name: str, dataset: Dataset, size: Size, device: torch.device) -> None:
    """Images a second of PGD-20 on a network that withstands it in part."""
    few = smaller(dataset, size.images, 200)
    classifier = trained(name, few, device, epochs=3)
    images, labels = some(dataset.test, size.compared).to(device).batch(slice(None))
    for batch in (500, 2000):
        with evaluating(classifier), full_precision():
            attack(classifier, images, labels, batch)
            with timed(device) as seconds:
                robust = attack(classifier, images, labels, batch)
        report.time(f"{name}: PGD-20, {robust:.0%} robust, batches of {batch}", seconds[0], len(images))


def train_fast(report: Report, name: str, dataset: Dataset, epochs: int, device: torch.device) -> None:
    """A real training on all images: seconds, clean and robust accuracy, and AutoAttack's seconds."""
    classifier, rows = network(name, dataset, device), []
    defense = get("fast").make({"step_factor": 1.0})
    one_cycle = make_recipe("strong,batch_size=128,lr=0.2,schedule=one-cycle,weights=last")
    with timed(device) as whole:
        train(
            defense,
            classifier,
            dataset.to(device),
            one_cycle,
            THREAT,
            epochs=epochs,
            seed=0,
            precision="bf16",
            on_epoch=rows.append,
        )
    for row in rows:
        print(f"     {json.dumps({key: row[key] for key in sorted(row)}, default=str)}", flush=True)
    images, labels = some(dataset.test, 1000).to(device).batch(slice(None))
    trained_seconds = sum(float(str(row["seconds"])) for row in rows)
    with evaluating(classifier), full_precision():
        clean = float((classifier(images).argmax(dim=1) == labels).float().mean())
        strong = Attack("pgd50x10", steps=50, step_size=2 / 255, restarts=10)
        result = strong(classifier, images, labels, THREAT, make_generator("gpu"))
        with timed(device) as attacked:
            found = autoattack(classifier, images, labels, THREAT, seed=0, batch_size=1000, passes="fast")
    row = {
        "what": f"{name}: fast, {epochs} epochs, bf16",
        "seconds": whole[0],
        "training_seconds": trained_seconds,
        "clean": clean,
        "pgd50x10": 1 - float(result.broken.float().mean()),
        "autoattack": 1 - float(found.broken.float().mean()),
        "autoattack_seconds": attacked[0],
    }
    report.times.append(row)
    print(f"     {json.dumps(row)}", flush=True)


def attack(classifier: Classifier, images: Tensor, labels: Tensor, batch: int) -> float:
    """Robust accuracy under PGD-20."""
    result = ATTACKS["pgd20"](classifier, images, labels, THREAT, make_generator("gpu"), batch_size=batch)
    return 1 - float(result.broken.float().mean())


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


if __name__ == "__main__":
    main()
