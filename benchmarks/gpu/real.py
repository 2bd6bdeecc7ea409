"""Real trainings with full records, several at a time, and AutoAttack on one of their networks."""

import argparse
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import torch

from bench.attacks import Attack
from bench.attacks.autoattack import autoattack
from bench.core.guards import full_precision
from bench.core.randomness import make_generator
from bench.core.record import ARRAYS, RECORD, load_record
from bench.data import Dataset
from bench.results.restore import restore
from benchmarks.gpu.common import THREAT, Report, some, timed

#: Images that AutoAttack gets at once; they fill the device.
ATTACKED_TOGETHER = 1000


def runs_folder(options: argparse.Namespace) -> Path:
    """Where the sweep trains."""
    return (options.out or Path("gpu")) / "runs"


def make_records(report: Report, options: argparse.Namespace) -> None:
    """Do the cells of a board's sweep, several processes on one device, and bring the records home."""
    runs = runs_folder(options)
    words = ["sweep", str(options.board), "--jobs", str(options.jobs), "--device", options.device]
    words += ["--gpus-per-cell", f"{1 / options.jobs:g}", "--out", str(runs), "--tracking", "none", "--yes"]
    sweep = subprocess.Popen([sys.executable, "-m", "bench", *words], start_new_session=True)
    try:
        sweep.wait()
    finally:
        if sweep.poll() is None:  # cut off: its processes keep their checkpoints
            os.killpg(sweep.pid, signal.SIGTERM)
            sweep.wait()
        for path in sorted(runs.glob(f"*/seed-*/*/{RECORD}")):
            _bring_home(report, path)


def _bring_home(report: Report, path: Path) -> None:
    record = load_record(path)
    row: dict[str, object] = {
        "what": f"{record.dataset.name} {record.model}: {record.defense.name}",
        "epochs": len(record.history),
        "training_seconds": sum(float(str(row["seconds"])) for row in record.history),
        **{key: score.value for key, score in record.metrics.items() if "accuracy" in key},
    }
    report.trainings.append(row)
    print(f"     {row}", flush=True)
    report.save()
    if report.folder is not None:
        home = report.folder / "records" / path.parents[2].name
        home.mkdir(parents=True, exist_ok=True)
        for file in (RECORD, ARRAYS):
            shutil.copyfile(path.parent / file, home / file)


def attack_fast(report: Report, dataset: Dataset, options: argparse.Namespace) -> None:
    """PGD-50 and then AutoAttack on a network of `fast`, on as many test images as there is time for."""
    found = sorted(runs_folder(options).glob(f"*-fast-*/seed-*/*/{RECORD}"))
    if not found:
        raise FileNotFoundError(f"no record of the defense fast below {runs_folder(options)}")
    classifier = restore(found[-1], device=options.device, data_dir=Path()).classifier
    test = some(dataset.test, len(dataset.test)).to(torch.device(options.device))
    strong = Attack("pgd50", steps=50, step_size=2 / 255)
    row: dict[str, object] = {"what": f"{found[-1].parents[2].name}, attacked"}
    report.trainings.append(row)
    with full_precision():
        images, labels = test.batch(slice(0, 5000))
        with timed(images.device) as seconds:
            result = strong(
                classifier, images, labels, THREAT, make_generator("gpu"), batch_size=1000, bf16=True
            )
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
            with timed(images.device) as seconds:
                answer = autoattack(
                    classifier, images, labels, THREAT, seed=0, batch_size=len(labels), passes=options.passes
                )
            done, spent = done + len(labels), spent + seconds[0]
            robust += int((~answer.broken).sum())
            row |= {
                "autoattack": robust / done,
                "autoattack_images": done,
                "autoattack_seconds": spent,
                "autoattack_passes": options.passes,
            }
            report.save()
            print(f"     {row}", flush=True)
