"""Real trainings with full records, and AutoAttack on one of their networks."""

import argparse
import shutil
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from bench.attacks import Attack
from bench.attacks.autoattack import autoattack
from bench.core.guards import full_precision
from bench.core.progress import Progress
from bench.core.randomness import make_generator
from bench.core.record import ARRAYS, RECORD, WEIGHTS, load_record
from bench.data import Dataset
from bench.models.weights import load_weights, set_weights
from bench.runs.config import RunConfig
from bench.runs.job import Job, resolve
from bench.runs.run import result_folder, run_job
from benchmarks.gpu.common import THREAT, Report, some, timed

#: SGD with one cycle of the learning rate, and the average of the weights: the usual short robust training.
RECIPE = "strong,lr=0.2,schedule=one-cycle,weights=last,averaging=ema"
#: Defense → its share of the epochs.
DEFENSES = {"fast": 1.0, "standard": 0.5, "prs": 0.5, "mr": 0.5}
#: Images that AutoAttack gets at once; they fill the device.
ATTACKED_TOGETHER = 1000


class NoTracker:
    """Logs nothing."""

    def sync(self, run_folder: Path, *, final: bool = False) -> None:
        """Log nothing."""

    def links(self, records: Sequence[Path]) -> dict[str, str]:
        """No links."""
        return {}


def jobs(name: str, dataset: Dataset, options: argparse.Namespace) -> dict[str, Job]:
    """Defense → its run, all on the data that is loaded already."""
    device = torch.device(options.device)
    count = min(options.test_size, len(dataset.test))
    chosen = replace(dataset, test=dataset.test.take(count)).to(device)
    found: dict[str, Job] = {}
    for defense, share in DEFENSES.items():
        config = RunConfig.make(
            {
                "defense": defense,
                "model": name,
                "dataset": options.data or "digits",
                "image_size": 32 if options.data else None,
                "threat": str(THREAT),
                "recipe": "paper,averaging=ema" if options.small else RECIPE,
                "epochs": max(2, round(share * options.epochs)),
                "trials": 0,
                "battery": "standard",
                "no_escalate": True,  # a transfer network would take the time of a record
                "test_size": count,
                "device": options.device,
                "precision": "bf16",
                "out": (options.out or Path("gpu")) / "runs",
                "tracking": "none",
            }
        )
        found[defense] = resolve(config, chosen)
    return found


def make_records(report: Report, name: str, dataset: Dataset, options: argparse.Namespace) -> None:
    """Train with each defense, measure the battery `standard`, and bring the records home."""
    for defense, job in jobs(name, dataset, options).items():
        started = time.perf_counter()
        (path,) = run_job(job, NoTracker(), Progress())
        record = load_record(path)
        row = {
            "what": f"{name}: {defense}, {job.plan.epochs} epochs, bf16",
            "seconds": time.perf_counter() - started,
            "training_seconds": sum(float(str(row["seconds"])) for row in record.history),
            **{key: score.value for key, score in record.metrics.items() if "accuracy" in key},
        }
        report.trainings.append(row)
        print(f"     {row}", flush=True)
        report.save()
        if report.folder is not None:
            home = report.folder / "records" / job.name
            home.mkdir(parents=True, exist_ok=True)
            for file in (RECORD, ARRAYS):
                if (path.parent / file).exists():
                    shutil.copyfile(path.parent / file, home / file)


def attack_fast(report: Report, name: str, dataset: Dataset, options: argparse.Namespace) -> None:
    """PGD-50 and then AutoAttack on the network of `fast`, on as many test images as there is time for."""
    job = jobs(name, dataset, options)["fast"]
    device = torch.device(options.device)
    classifier = job.plan.classifier(0).eval()
    set_weights(classifier, load_weights(result_folder(job, 0) / WEIGHTS), WEIGHTS)
    test = some(dataset.test, len(dataset.test)).to(device)
    strong = Attack("pgd50", steps=50, step_size=2 / 255)
    row: dict[str, object] = {"what": f"{name}: fast, attacked"}
    report.trainings.append(row)
    with full_precision():
        images, labels = test.batch(slice(0, 1000))
        with timed(device) as seconds:
            result = strong(classifier, images, labels, THREAT, make_generator("gpu"), batch_size=1000)
        row |= {
            "pgd50": 1 - float(result.broken.float().mean()),
            "pgd50_images": len(labels),
            "pgd50_seconds": seconds[0],
        }
        print(f"     {row}", flush=True)
        robust = done = 0
        spent = 0.0
        for start in range(0, len(test), ATTACKED_TOGETHER):
            images, labels = test.batch(slice(start, start + ATTACKED_TOGETHER))
            with timed(device) as seconds:
                found = autoattack(
                    classifier, images, labels, THREAT, seed=0, batch_size=len(labels), passes=options.passes
                )
            done, spent = done + len(labels), spent + seconds[0]
            robust += int((~found.broken).sum())
            row |= {
                "autoattack": robust / done,
                "autoattack_images": done,
                "autoattack_seconds": spent,
                "autoattack_passes": options.passes,
            }
            report.save()
            print(f"     {row}", flush=True)
