"""Strangers' networks and checkpoints: evaluated with the right number, or refused in one line before the battery.

Every network of the zoo holds the same weights, so an honest one has the accuracy of the plain network.
"""

import json
import random
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.faults.command import Bench, Outcome
from benchmarks.faults.trial import Fault, FaultClass, Trial

#: What a battery is asked: enough that gradients are taken.
BATTERY = (
    *("--metrics", "clean_accuracy,robust_accuracy/pgd20", "--threat", "linf:0.2", "--train-size", "100"),
    *("--test-size", "60", "--device", "cpu", "--tracking", "none", "--json", "--quiet"),
)
BATCH = "predictions depend on the batch"


@dataclass(frozen=True)
class Case:
    """A network, and what must come of it.

    Attributes:
        name: of a loader in the zoo, or of a checkpoint file.
        wanted: "plain" for the plain network's numbers; "other" for any numbers; else a pattern of the refusal.
        alarm: one that must be raised.
        checkpoint: the loader that the checkpoint goes with; "" where there is none.
    """

    name: str
    wanted: str = "plain"
    alarm: str = ""
    checkpoint: str = ""


LOADERS = [
    Case("plain"),
    Case("in_place_normalize"),
    Case("in_place_relu"),
    Case("in_place_scripted"),
    Case("copying_data", "changes its caller's images"),
    Case("writes_data", "changes its caller's images"),
    Case("writes_numpy", "changes its caller's images"),
    Case("writes_from_five_on", "changed the images"),
    Case("through_numpy", "gradients"),
    Case("fails_beyond_two", "3 images"),
    Case("fails_beyond_fifty", "fails on 60 images"),
    Case("fails_alone", "single"),
    Case("squeezes", "squeeze"),
    Case("nan_off_grid", "levels of gray"),
    Case("nan_everywhere", "finite"),
    Case("not_differentiable", "cannot be differentiated"),
    Case("batch_statistics", "other", BATCH),
    Case("centered_on_batch", "other", BATCH),
    Case("by_position", "other", BATCH),
    Case("noisy", "other", "randomised output"),
    Case("extra_state"),
    Case("quantized", "quantized"),
    Case("scripted"),
    Case("traced"),
    Case("frozen"),
    Case("data_parallel"),
    Case("compiled"),
    Case("double_weights"),
    Case("double_default"),
    Case("no_gradients_left"),
    Case("half_logits", "float32"),
    Case("bfloat16_buffer"),
    Case("tuple_logits", "tuple"),
    Case("inference_mode", "other"),
    Case("lazy", "other"),
    Case("no_module", "torch.nn.Module"),
    Case("raises", "no weights here"),
]
CHECKPOINTS = [
    *(
        Case(f"{chain}{suffix}", checkpoint="fresh")
        for chain in ("", "module.", "_orig_mod.", "model.", "module._orig_mod.", "model.module.")
        for suffix in ("pt", "safetensors")
    ),
    Case("pt", checkpoint="fresh_parallel"),
    Case("module.pt", checkpoint="fresh_parallel"),
    Case("module.safetensors", checkpoint="fresh_parallel"),
    Case("model.pt", checkpoint="fresh_compiled"),
    Case("no_counter.pt", checkpoint="fresh"),
    Case("no_counter.safetensors", checkpoint="fresh"),
    Case("old_weight_norm.pt", checkpoint="fresh_weight_norm"),
    Case("old_weight_norm.safetensors", checkpoint="fresh_weight_norm"),
    Case("extra_state.pt", checkpoint="fresh_extra_state"),
    Case("extra_state.safetensors", checkpoint="fresh_extra_state"),
    Case("nested.pt", checkpoint="fresh"),
    Case("legacy.pt", checkpoint="fresh"),
    Case("net.pt", "'net.'", checkpoint="fresh"),
    Case("net.safetensors", "'net.'", checkpoint="fresh"),
    Case("pt", "'network.'", checkpoint="fresh_around"),
    Case("script.pt", "TorchScript", checkpoint="fresh"),
    Case("whole.pt", "pickled code", checkpoint="fresh"),
    Case("nan.pt", "NaN", checkpoint="fresh"),
    Case("other.pt", "does not fit", checkpoint="fresh"),
]
#: Loaders of equal weights, which must be rows of their own on a board.
TWINS = ("plain", "brighter", "in_place_relu")

ZOO = Path(__file__).with_name("zoo.py")


def _provoke(bench: Bench, folder: Path, tries: int, draw: random.Random) -> Iterator[Trial]:
    (folder / "zoo.py").write_text(ZOO.read_text())
    made = subprocess.run(
        [sys.executable, "-W", "ignore", "zoo.py"], cwd=folder, capture_output=True, text=True
    )
    if made.returncode:
        raise RuntimeError(f"the zoo was not made: {made.stderr}")
    cases = [*LOADERS, *CHECKPOINTS]
    plain = None
    for case in [LOADERS[0], *draw.sample(cases[1:], max(0, min(tries - 2, len(cases) - 1)))]:
        outcome = _evaluate(bench, folder, case, f"out-{case.checkpoint}-{case.name}")
        found = _scores(outcome, folder)
        plain = plain or found
        yield Trial(
            f"{case.checkpoint or case.name} {case.checkpoint and case.name}",
            tuple(_faults(case, outcome, found, plain)),
        )
    if tries > 1:
        yield Trial("loaders of equal weights on one board", tuple(_rows(bench, folder)))


def _evaluate(bench: Bench, folder: Path, case: Case, out: str, *more: str) -> Outcome:
    words = ["evaluate", "--loader", f"zoo:{case.checkpoint or case.name}", *BATTERY, "--out", out, *more]
    # "pt" is a name without prefix.
    file = case.name if "." in case.name else f".{case.name}"
    words += ["--checkpoint", f"weights-{file}"] if case.checkpoint else []
    return bench(*words, folder=folder, cpu_seconds=60)


def _scores(outcome: Outcome, folder: Path) -> dict | None:
    try:
        (path,) = json.loads(outcome.output)
        record = json.loads((folder / path).read_text())
    except (ValueError, OSError):
        return None
    alarms = {alarm["name"] for alarm in record["alarms"] if alarm["raised"]}
    return {"scores": {name: score["value"] for name, score in record["metrics"].items()}, "alarms": alarms}


def _faults(case: Case, outcome: Outcome, found: dict | None, plain: dict | None) -> Iterator[Fault]:
    if outcome.hung:
        yield Fault("hang", f"after {outcome.seconds:.0f} s")
    elif outcome.traceback:
        yield Fault("traceback", outcome.last_line)
    elif case.wanted in ("plain", "other"):
        if found is None:
            yield Fault("refused", outcome.last_line)
        elif case.wanted == "plain" and plain is not None and not _agree(found["scores"], plain["scores"]):
            yield Fault("lost", f"{found['scores']} instead of {plain['scores']}")
        elif case.alarm and case.alarm not in found["alarms"]:
            yield Fault("accepted", f"without the alarm {case.alarm}")
    elif found is not None:
        yield Fault("accepted", f"{found['scores']}")
    elif outcome.code != 2 or not re.search(case.wanted, outcome.errors):
        yield Fault("refused", f"exit code {outcome.code}, not for {case.wanted!r}: {outcome.last_line}")


def _agree(ours: dict, theirs: dict) -> bool:
    """Whether two networks that are the same but for a first layer, which is the identity on pixels, score alike.

    The derivative of ReLU at 0 is 0, so that a step or two of PGD may differ.
    """
    clean, attacked = ((ours[name], theirs[name]) for name in ("clean_accuracy", "robust_accuracy/pgd20"))
    return clean[0] == clean[1] and abs(attacked[0] - attacked[1]) <= 0.05


def _rows(bench: Bench, folder: Path) -> Iterator[Fault]:
    for name in TWINS:
        _evaluate(bench, folder, Case(name), "twins", "--model", "theirs")
    outcome = bench(
        "leaderboard", "build", "--records", "twins", "--out", "pages", folder=folder, cpu_seconds=60
    )
    pages = list((folder / "pages" / "entries").glob("*.html"))
    if outcome.code or len(pages) != len(TWINS):
        yield Fault("lost", f"{len(pages)} rows for {len(TWINS)} networks: {outcome.last_line}")


NETWORKS = FaultClass(
    name="networks",
    title="strangers' networks and checkpoints",
    tries=len(LOADERS) + len(CHECKPOINTS) + 1,
    sample=5,
    provoke=_provoke,
)
