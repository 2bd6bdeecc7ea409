"""What `test_ranks.py` runs under torchrun: trainings in a folder, by one process or by two.

python two_processes.py FOLDER DEFENSE MODEL EPOCHS RECIPE    # EPOCHS: how many to train before it stops
"""

import sys
from contextlib import suppress
from pathlib import Path

import torch

from bench.core.progress import Progress
from bench.core.threat import Threat
from bench.core.torchrun import is_worker
from bench.data import load
from bench.training import loop
from bench.training.folder import train_in_folder
from bench.training.history import HistoryRow
from bench.training.plan import Plan
from bench.training.recipe import make_recipe
from bench.training.workers import joined, serve
from defenses import get

EPOCHS = 3


def main(folder: Path, name: str, model: str, last: int, recipe: str) -> None:
    torch.set_num_threads(1)
    dataset = load("digits", train_size=60, test_size=10)
    plan = Plan(
        name, get(name), {}, model, dataset, Threat("linf", "0.1"), make_recipe(recipe), EPOCHS, "fp32"
    )

    def stop(row: HistoryRow) -> None:
        if row["epoch"] == last < EPOCHS:
            raise loop.Stop

    with joined("cpu"):
        if is_worker():
            serve(plan.classifier(0), plan)
        else:
            with suppress(loop.Stop):
                classifier, _ = train_in_folder(plan, plan.defense.make({}), 0, folder, Progress(), stop)
                torch.save(classifier.state_dict(), folder / "weights.pt")
    # A thread that outlives the group would abort the process now and then while Python ends.
    names = {path.read_text().strip() for path in Path("/proc/self/task").glob("*/comm")}
    assert not {name for name in names if "gloo" in name}, names


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4]), sys.argv[5])
