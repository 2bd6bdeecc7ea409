"""Whether a CUDA device gives the CPU's answers, how fast it trains and attacks, and what trainings reach there.

python -m benchmarks.gpu                                             # a few minutes on one data-center GPU
python -m benchmarks.gpu --data imagefolder:cifar10-jpeg --out DIR   # real images; tables and records as files
python -m benchmarks.gpu --device cpu --small                        # a rehearsal without a GPU

Agreement comes first: networks trained on the device are copied to the CPU, and both answer the same questions.
Then training is repeated, resumed, taken without captured steps and in a second process; no bit of the weights may
differ. The table of times follows: seconds of an epoch of 50,000 images for each defense, beside a plain PyTorch
loop on the same network and batches, in float32, in bfloat16 with channels innermost, and compiled; and of attacks.
Last, the trainings of a board with full records, by `bench sweep` with several processes on the device, which work
at the same time only under CUDA's multi-process service, and AutoAttack on a network of `fast`. Each part has a
time limit, and what was found is written after it; a part that fails or is cut off is reported, and the next one
runs. MLflow is not needed.
"""

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path

import torch

from bench.data import load
from benchmarks.gpu.agreement import compare_devices, repeat_and_resume, weights_of_trainings
from benchmarks.gpu.common import SMALL, Report, Size, environment, random_data
from benchmarks.gpu.real import attack_fast, make_records
from benchmarks.gpu.speed import time_attacks, time_training

PARTS = ("agreement", "bits", "training", "attacks", "records", "autoattack")


def main() -> None:
    """Print the tables; exit with 1 where the devices disagree or a part fails."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--data", metavar="NAME", help="a data set of 3x32x32 images; random images without")
    parser.add_argument("--small", action="store_true", help="a rehearsal")
    parser.add_argument("--networks", nargs="*", default=["cnn6", "resnet18"])
    parser.add_argument("--parts", nargs="*", choices=PARTS, default=PARTS, help="to run, in this order")
    parser.add_argument(
        "--rows", nargs="*", default=[], help="of the table of training times; all by default"
    )
    parser.add_argument(
        "--precisions", nargs="*", default=["bf16-compiled", "bf16", "fp32"], help="of trainings"
    )
    parser.add_argument("--steps", type=int, help="that are timed")
    parser.add_argument(
        "--board",
        type=Path,
        default=Path("studies/boards/cifar10-jpeg-linf.yaml"),
        help="the sweep of the real trainings",
    )
    parser.add_argument("--jobs", type=int, default=4, help="its processes")
    parser.add_argument("--passes", default="bfloat16", help="of AutoAttack: exact, fast or bfloat16")
    parser.add_argument("--seconds", type=float, default=530, help="for everything")
    parser.add_argument("--out", type=Path, help="folder for the tables and the records")
    parser.add_argument("--weights-of", metavar="NETWORK", help=argparse.SUPPRESS)
    options = parser.parse_args()
    device, size = torch.device(options.device), SMALL if options.small else Size()
    size = replace(size, steps=options.steps or size.steps)
    if options.weights_of:
        print(json.dumps(weights_of_trainings(options.weights_of, size, device, options.precisions)))
        return
    report = Report(environment(device), time.perf_counter() + options.seconds, options.out)
    print(" · ".join(f"{name} {value}" for name, value in report.environment.items()), flush=True)
    started = time.perf_counter()
    dataset = load(options.data, image_size=32) if options.data else random_data(size)
    print(f"     (data: {time.perf_counter() - started:.0f} s)", flush=True)
    for part in options.parts:
        if part == "records":
            report.attempt(400, make_records, options)
            continue
        if part == "autoattack":  # of the data of the board
            report.attempt(300, attack_fast, dataset, options)
            continue
        for name in options.networks:
            if part == "agreement":
                report.attempt(60, compare_devices, name, dataset, size, device)
            elif part == "bits":
                report.attempt(90, repeat_and_resume, name, size, device, options.precisions)
            elif part == "training":
                table = (options.rows, options.precisions)
                report.attempt(250, time_training, name, dataset, size, device, *table)
            else:
                report.attempt(60, time_attacks, name, dataset, size, device)
    if report.failures:
        raise SystemExit("; ".join(report.failures))
    bad = [row["what"] for row in report.agreement if not row["good"]]
    if bad:
        raise SystemExit(f"the devices disagree: {'; '.join(map(str, bad))}")


if __name__ == "__main__":
    main()
