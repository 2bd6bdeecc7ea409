"""Pictures of one result, drawn from its record and arrays: for MLflow and the entry pages."""

from collections.abc import Callable, Mapping
from fractions import Fraction
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from bench.core.files import replacing
from bench.core.record import Record

Arrays = Mapping[str, np.ndarray]

#: Okabe and Ito's colours, told apart by people of every colour vision; line styles repeat the distinction.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
STYLES = ("-", "--", "-.", ":", (0, (5, 1)), (0, (1, 1)))
LABELS = {"fgsm": "FGSM", "bim": "BIM", "pgd20": "PGD-20", "pgd100": "PGD-100", "cw": "C&W margin"}


def draw_all(record: Record, arrays: Arrays, folder: Path) -> list[Path]:
    """Draw every figure the result has data for as PNG below `folder`, and return their paths."""
    figures: dict[str, Callable[[Record, Arrays, Axes], bool]] = {
        "training": training,
        "security": security,
        "attacks": attacks,
        "detection_roc": detection_roc,
    }
    paths = []
    for name, draw in figures.items():
        figure = Figure(figsize=(6.4, 4.0), dpi=120, layout="constrained", facecolor="white")
        axes = figure.subplots()
        if draw(record, arrays, axes):
            axes.grid(alpha=0.3)
            axes.spines[["top", "right"]].set_visible(False)
            with replacing(folder / f"{name}.png") as temporary:
                FigureCanvasAgg(figure).print_png(temporary, metadata={"Software": None})
            paths.append(folder / f"{name}.png")
    return paths


def training(record: Record, arrays: Arrays, axes: Axes) -> bool:
    """Accuracies by epoch: clean on training and validation images, robust on validation images."""
    lines = {
        "training, clean": "train_accuracy",
        "validation, clean": "validation_accuracy",
        "validation, robust": "validation_robust_accuracy",
    }
    rows = record.history
    for number, (label, key) in enumerate(lines.items()):
        points = [(row["epoch"], float(row[key] or 0) * 100) for row in rows if row.get(key) is not None]
        if points:
            axes.plot(
                *zip(*points, strict=True), label=label, color=COLOURS[number], linestyle=STYLES[number]
            )
    if not rows:
        return False
    axes.set(xlabel="epoch", ylabel="accuracy (%)", ylim=(0, 101), title=_title(record, "training"))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(frameon=False)
    return True


def security(record: Record, arrays: Arrays, axes: Axes) -> bool:
    """Robust accuracy against ε, with its 95 % interval; the threat's ε is marked."""
    curve = record.curves.get("security")
    if curve is None:
        return False
    x = [point.x for point in curve.points]
    low = [100 * (point.value if point.low is None else point.low) for point in curve.points]
    high = [100 * (point.value if point.high is None else point.high) for point in curve.points]
    axes.fill_between(x, low, high, color=COLOURS[0], alpha=0.2, linewidth=0)
    axes.plot(x, [100 * point.value for point in curve.points], marker="o", markersize=4, color=COLOURS[0])
    axes.axvline(float(Fraction(record.threat.eps)), color="0.4", linestyle=":", linewidth=1)
    label = f"ε ({record.threat.norm}, pixels in [0, 1])"
    axes.set(xlabel=label, ylabel="accuracy (%)", ylim=(0, 101), title=_title(record, "PGD-20 against ε"))
    return True


def attacks(record: Record, arrays: Arrays, axes: Axes) -> bool:
    """Share of images still right after each step of each attack."""
    number = 0
    for name, label in LABELS.items():
        step = arrays.get(f"robust_accuracy/{name}:step")
        if step is None or len(step) == 0:
            continue
        last = int(record.battery.settings.get(f"robust_accuracy/{name}", {}).get("steps", step.max()))
        steps = np.arange(last + 1)
        alive = [100 * np.mean((step < 0) | (step > now)) for now in steps]
        axes.step(steps, alive, where="post", label=label, color=COLOURS[number], linestyle=STYLES[number])
        number += 1
    if number == 0:
        return False
    axes.set_xscale("symlog", linthresh=1)
    axes.set(
        xlabel="attack step", ylabel="still right (%)", ylim=(0, 101), title=_title(record, "attacks by step")
    )
    axes.set_xticks([0, 1, 2, 5, 10, 20, 50, 100], labels=["0", "1", "2", "5", "10", "20", "50", "100"])
    axes.legend(frameon=False)
    return True


def detection_roc(record: Record, arrays: Arrays, axes: Axes) -> bool:
    """True against false positives of the curvature detector, in its literal direction."""
    if "detection_auc:clean_score" not in arrays:
        return False
    clean, perturbed = arrays["detection_auc:clean_score"], arrays["detection_auc:perturbed_score"]
    usable = np.isfinite(clean) & np.isfinite(perturbed)
    clean, perturbed = clean[usable], perturbed[usable]
    if len(clean) == 0:
        return False
    thresholds = np.unique(np.concatenate([clean, perturbed, [np.inf, -np.inf]]))[::-1]
    false = [100 * np.mean(clean >= threshold) for threshold in thresholds]
    true = [100 * np.mean(perturbed >= threshold) for threshold in thresholds]
    axes.plot(false, true, color=COLOURS[0])
    axes.plot([0, 100], [0, 100], color="0.5", linestyle=":", linewidth=1)
    score = record.metrics.get("detection_auc")
    auc = f", AUC {score.value:.3f}" if score and score.value is not None else ""
    title = _title(record, f"curvature detector{auc}")
    axes.set(xlabel="false positives (%)", ylabel="true positives (%)", aspect="equal", title=title)
    return True


def _title(record: Record, what: str) -> str:
    return f"{record.defense.name} · {record.model} · {record.dataset.name}: {what}"
