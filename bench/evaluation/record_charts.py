"""Charts of a record and its attacks: training, security curve, attacks by step, detector."""

from collections.abc import Mapping

import numpy as np

from bench.charts import Axis, Chart, Line, Panel, Rule
from bench.charts.words import attack_title, norm_sign
from bench.core.limits import exact_number
from bench.core.names import CLEAN_ACCURACY, ROBUST_ACCURACY
from bench.core.record import Record
from bench.evaluation.files import ArraysByMetric
from bench.geometry.detection import roc

ACCURACIES = {
    "training images": "train_accuracy",
    "validation images": "validation_accuracy",
    "validation images under attack": "validation_robust_accuracy",
}
EPOCH = Axis(label="epoch")
ACCURACY = Axis(label="accuracy (%)", low=0, high=100)


def record_charts(record: Record, arrays: ArraysByMetric) -> list[Chart]:
    """Make every chart of the record that there is data for."""
    charts = [training(record), security(record), attacks(record, arrays), detection_roc(record, arrays)]
    return [chart for chart in charts if chart is not None]


def training(record: Record) -> Chart | None:
    """Accuracy by epoch: clean on training and validation images, robust on validation images."""
    lines = [line for name, key in ACCURACIES.items() if (line := history_line(record, name, key, 100))]
    if not lines:
        return None
    marks = [*lines, *_weights_taken(record)]
    caption = "Accuracy after each epoch; the attack is PGD-20 on the validation split."
    return captioned_chart(
        record, "training", "Accuracy by epoch", caption, [Panel(x=EPOCH, y=ACCURACY, marks=marks)]
    )


def security(record: Record) -> Chart | None:
    """Robust accuracy against ε with its 95 % interval; the threat's ε is marked."""
    curve = record.curves.get("security")
    if curve is None or not curve.points:
        return None
    line = Line(
        x=[point.x for point in curve.points],
        y=[100 * point.value for point in curve.points],
        low=[100 * (point.value if point.low is None else point.low) for point in curve.points],
        high=[100 * (point.value if point.high is None else point.high) for point in curve.points],
        markers=True,
    )
    norm = norm_sign(record.threat.norm)
    rule = Rule(name=f"ε of the threat, {record.threat.eps}", x=float(exact_number(record.threat.eps)))
    panel = Panel(x=Axis(label=f"ε ({norm}, pixels in [0, 1])"), y=ACCURACY, marks=[line, rule])
    caption = (
        "Share of test images that are still classified correctly under PGD-20; the band is the 95 % interval. "
        "A curve that does not reach zero at a large ε points to a failing attack, not to a robust network."
    )
    return captioned_chart(record, "security", "Robust accuracy against ε", caption, [panel], "P1, figure 3")


def attacks(record: Record, arrays: ArraysByMetric) -> Chart | None:
    """Share of images that are still classified correctly after each step of each attack.

    Step 0 is the attack's start. A random start already breaks some images, so the accuracy without attack is drawn
    apart.
    """
    marks: list[Line | Rule] = []
    n, right = 0, None
    for metric, own in arrays.items():
        step = own.get("step")
        if not metric.startswith(ROBUST_ACCURACY) or step is None or len(step) == 0:
            continue
        n = len(step)
        right = _right_without_attack(arrays, own) if right is None else right
        last = int(record.battery.settings.get(metric, {}).get("steps", step.max()))
        steps = np.arange(max(last, 1) + 1)
        alive = [100 * float(np.mean((step < 0) | (step > now))) for now in steps]
        name = metric.removeprefix(ROBUST_ACCURACY)
        marks.append(Line(name=attack_title(name), x=steps.tolist(), y=alive, step=True, markers=last < 2))
    if not marks:
        return None
    if right is not None:
        marks.append(Rule(name="without attack", y=100 * float(right.mean())))
    panel = Panel(
        x=Axis(label="attack step (0: where it starts)", low=0),
        y=Axis(label="still right (%)", low=0, high=100),
        marks=marks,
    )
    caption = (
        f"Share of {n} test images that no step so far has broken. Step 0 is the start, a random "
        "point or the image itself. A line that still falls at its end means that the attack was stopped too early."
    )
    return captioned_chart(record, "attacks", "Attacks by step", caption, [panel])


def _right_without_attack(arrays: ArraysByMetric, attack: Mapping[str, np.ndarray]) -> np.ndarray | None:
    """Which attacked images are classified correctly without attack: bool [n]; None where that is unknown.

    The attacked images are the first ones of the test set, which the clean accuracy covers. Without a clean
    accuracy, the attack's own arrays answer: an image broken at step 0 but by no restart was misclassified before.
    """
    step, restart = attack["step"], attack.get("restart")
    right = arrays.get(CLEAN_ACCURACY, {}).get("right")
    if right is not None and len(right) >= len(step):
        return right[: len(step)]
    return None if restart is None else ~((step == 0) & (restart < 0))


def detection_roc(record: Record, arrays: ArraysByMetric) -> Chart | None:
    """ROC curve of the curvature detector, with larger curvature taken as perturbed."""
    own = arrays.get("detection_auc", {})
    if "clean_score" not in own or "perturbed_score" not in own:
        return None
    clean, perturbed = own["clean_score"], own["perturbed_score"]
    usable = np.isfinite(clean) & np.isfinite(perturbed)
    clean, perturbed = clean[usable], perturbed[usable]
    if len(clean) == 0:
        return None
    false, true = ((100 * rates).tolist() for rates in roc(clean, perturbed))
    score = record.metrics.get("detection_auc")
    auc = f", AUC {score.value:.3f}" if score and score.value is not None else ""
    chance = Line(name="chance", x=[0, 100], y=[0, 100])
    panel = Panel(
        x=Axis(label="clean images flagged (%)", low=0, high=100),
        y=Axis(label="perturbed images flagged (%)", low=0, high=100),
        square=True,
        marks=[Line(name=f"larger curvature means perturbed{auc}", x=false, y=true), chance],
    )
    caption = f"ROC curve over {len(clean)} pairs of a clean image and its perturbed one."
    title = "Curvature detector"
    source = "classification-regions paper, figure 8"
    return captioned_chart(record, "curvature-detection-roc", title, caption, [panel], source)


def history_line(record: Record, name: str, key: str, scale: float = 1) -> Line | None:
    """A line over epochs of a quantity in the history, times `scale`; None where the history has no value.

    Epochs without a value are skipped, so the line runs on between the others.
    """
    rows = [(row.get("epoch"), row.get(key)) for row in record.history]
    points = [
        (float(epoch), scale * float(value))
        for epoch, value in rows
        if isinstance(epoch, int | float) and isinstance(value, int | float)
    ]
    if not points:
        return None
    return Line(name=name, x=[x for x, _ in points], y=[y for _, y in points], markers=len(points) <= 30)


def _weights_taken(record: Record) -> list[Rule]:
    if record.training is None:
        return []
    return [Rule(name="weights of this result", x=record.training.epoch_of_weights)]


def caption_subject(record: Record) -> str:
    """The network that a figure shows, with which its caption begins."""
    return f"{record.defense.name} on {record.model}, {record.dataset.name}, seed {record.seed}"


def captioned_chart(
    record: Record, name: str, title: str, caption: str, panels: list[Panel], source: str = ""
) -> Chart:
    """A chart whose caption names the network first."""
    caption = f"{caption_subject(record)}. {caption}"
    return Chart(name=name, title=title, source=source, caption=caption, panels=panels)
