"""Figures of one result, from its record and arrays: as data, and drawn for MLflow and the entry pages."""

from collections.abc import Iterable, Iterator, Mapping
from fractions import Fraction
from pathlib import Path

import numpy as np

from bench.charts import Axis, Chart, Heatmap, Line, Panel, Rule
from bench.charts.words import attack_title, class_titles, norm_sign
from bench.core.names import CLEAN_ACCURACY, ROBUST_ACCURACY
from bench.core.progress import Progress
from bench.core.record import Record
from bench.geometry.cosines import COSINES, from_upper_triangle
from bench.geometry.detection import roc
from metrics.base import Metric

#: Metric → array → its values.
ArraysByMetric = Mapping[str, Mapping[str, np.ndarray]]

ACCURACIES = {
    "training images": "train_accuracy",
    "validation images": "validation_accuracy",
    "validation images under attack": "validation_robust_accuracy",
}
#: Epochs whose cosines are shown, at most.
MATRICES = 4
EPOCH = Axis(label="epoch")
ACCURACY = Axis(label="accuracy (%)", low=0, high=100)


def draw_all(
    record: Record,
    arrays: ArraysByMetric,
    metrics: Iterable[Metric],
    folder: Path,
    progress: Progress | None = None,
) -> list[Chart]:
    """Draw every figure the result has data for: NAME.png and NAME.json below `folder`.

    What cannot be drawn is told in one line and left out: numbers that took hours are never lost for a picture.

    Args:
        arrays: what the metrics measured, as `bench.evaluation.evaluate.unflatten` gives it.
        metrics: whose charts to draw, where `arrays` has their own.
        progress: where those lines go.

    Returns:
        The charts that were drawn.
    """
    progress = progress or Progress()
    return draw_charts(make_charts(record, arrays, metrics, progress), folder, progress)


def draw_charts(charts: Iterable[Chart], folder: Path, progress: Progress) -> list[Chart]:
    """NAME.png and NAME.json of each chart below `folder`; those that were drawn, the others are told."""
    from bench.charts.png.figure import draw

    drawn = []
    for chart in charts:
        try:
            draw(chart, folder / f"{chart.name}.png")
            chart.save(folder / f"{chart.name}.json")
        except Exception as error:
            progress.say(f"figure {chart.name} not drawn: {_line(error)}")
        else:
            drawn.append(chart)
    return drawn


def make_charts(
    record: Record, arrays: ArraysByMetric, metrics: Iterable[Metric], progress: Progress
) -> list[Chart]:
    """The charts of a record and of every metric that has arrays; a metric's own replaces ours of the same name."""
    charts = {chart.name: chart for chart in record_charts(record, arrays)}
    for metric in metrics:
        if metric.name in arrays:
            try:
                charts |= {chart.name: chart for chart in metric.charts(arrays[metric.name], record)}
            except Exception as error:
                progress.say(f"figures of {metric.name} not drawn: {_line(error)}")
    return list(charts.values())


def record_charts(record: Record, arrays: ArraysByMetric) -> list[Chart]:
    """What the record itself shows: training, its probes, the security curve, the attacks and the detector."""
    found = [training(record), security(record), attacks(record, arrays), detection_roc(record, arrays)]
    return [chart for chart in [*found, *courses(record)] if chart is not None]


def training(record: Record) -> Chart | None:
    """Accuracies by epoch: clean on training and validation images, robust on validation images."""
    lines = [line for name, key in ACCURACIES.items() if (line := _course(record, name, key, 100))]
    if not lines:
        return None
    marks = [*lines, *_weights_taken(record)]
    caption = f"{what(record)}. Accuracy after each epoch; the attack is PGD-20 on the validation split."
    return _chart("training", "Accuracy by epoch", caption, [Panel(x=EPOCH, y=ACCURACY, marks=marks)])


def security(record: Record) -> Chart | None:
    """Robust accuracy against ε, with its 95 % interval; the threat's ε is marked."""
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
    rule = Rule(name=f"ε of the threat, {record.threat.eps}", x=float(Fraction(record.threat.eps)))
    panel = Panel(x=Axis(label=f"ε ({norm}, pixels in [0, 1])"), y=ACCURACY, marks=[line, rule])
    caption = (
        f"{what(record)}. Share of test images that PGD-20 leaves right; the band is the 95 % interval. "
        f"A curve that does not reach zero at a large ε tells of an attack that fails, not of a safe network."
    )
    return _chart("security", "Robust accuracy against ε", caption, [panel], "P1, figure 3")


def attacks(record: Record, arrays: ArraysByMetric) -> Chart | None:
    """Share of images still right after each step of each attack; step 0 is where it starts.

    A random start breaks images too, so what is right without attack is not what step 0 leaves.
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
        f"{what(record)}. Share of {n} test images that no step so far has broken. Step 0 is the start, a random "
        "one or the image itself. A line that still falls at its end belongs to an attack that was stopped too "
        "early."
    )
    return _chart("attacks", "Attacks by step", caption, [panel])


def _right_without_attack(arrays: ArraysByMetric, attack: Mapping[str, np.ndarray]) -> np.ndarray | None:
    """Which of the attacked images are right without attack: bool [n], or None where nothing tells.

    The attacked images are the first ones of the test set, all of which the clean accuracy looks at. Without it,
    the attack's own: what no restart broke and no step, was wrong to begin with.
    """
    step, restart = attack["step"], attack.get("restart")
    right = arrays.get(CLEAN_ACCURACY, {}).get("right")
    if right is not None and len(right) >= len(step):
        return right[: len(step)]
    return None if restart is None else ~((step == 0) & (restart < 0))


def detection_roc(record: Record, arrays: ArraysByMetric) -> Chart | None:
    """True against false positives of the curvature detector, in its literal direction."""
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
    caption = f"{what(record)}. ROC curve over {len(clean)} pairs of a clean image and its perturbed one."
    title = "Curvature detector"
    source = "classification-regions paper, figure 8"
    return _chart("curvature-detection-roc", title, caption, [panel], source)


def courses(record: Record) -> Iterator[Chart]:
    """What probes saw during training, by epoch: regions, regions beside robustness, the final layer."""
    share = Axis(label="share", low=0)
    plans = {
        "regions-course": (
            "Populated regions by epoch",
            "P1, figure 2",
            "PRS ratio: regions that training images populate, over their number. Inclusion ratio: test images in "
            "a populated region. A low PRS ratio at the same accuracy marks the network P1 calls B.",
            {
                "accuracy": (
                    ACCURACY,
                    {
                        "training images": ("train_accuracy", 100),
                        "test images": ("probe_accuracy", 100),
                    },
                ),
                "PRS ratio": (share, {"PRS ratio": ("prs_ratio", 1)}),
                "inclusion ratio": (share, {"inclusion ratio": ("inclusion_ratio", 1)}),
            },
        ),
        "regions-course-robustness": (
            "Populated regions and robustness by epoch",
            "P2, figure 5",
            "Do the PRS ratio and robust accuracy move together, and in opposite directions?",
            {
                "PRS ratio": (share, {"PRS ratio": ("prs_ratio", 1)}),
                "accuracy": (
                    ACCURACY,
                    {
                        "test images": ("probe_accuracy", 100),
                        "test images under PGD-20": ("probe_robust_accuracy", 100),
                    },
                ),
            },
        ),
        "regions-course-final-layer": (
            "Final layer and sparsity by epoch",
            "P1, figure 6",
            "Mean cosine between the final layer's rows, and the share of exact zeros among activations.",
            {
                "final layer": (Axis(label="mean cosine of its rows"), {"cosine": ("final_layer_cosine", 1)}),
                "sparsity": (Axis(label="share of zeros"), {"sparsity": ("sparsity", 1)}),
            },
        ),
    }
    for name, (title, source, how, panels) in plans.items():
        drawn = []
        for heading, (axis, keys) in panels.items():
            lines = [_course(record, label, key, scale) for label, (key, scale) in keys.items()]
            marks = [line for line in lines if line is not None]
            if len(marks) == len(keys):
                drawn.append(Panel(title=heading, x=EPOCH, y=axis, marks=marks))
        # With a part missing it would answer another figure than the one it names.
        if len(drawn) == len(panels):
            yield _chart(name, title, f"{what(record)}. {how}", drawn, source)
    matrices = _cosine_matrices(record)
    if matrices:
        caption = (
            f"{what(record)}. Cosine between the final layer's rows of two classes, at {len(matrices)} of the "
            "epochs that were looked at. The nearer to 1, the more all logits move together."
        )
        title = "Cosine similarity of the final layer's weights by epoch"
        made = _chart("regions-course-cosines", title, caption, matrices, "P1, figure 6")
        yield made.model_copy(update={"rows": [len(matrices)]})


def _cosine_matrices(record: Record) -> list[Panel]:
    """The matrices of a few probed epochs, evenly spread from the first to the last one."""
    rows = [
        (row.get("epoch"), matrix)
        for row in record.history
        if (matrix := from_upper_triangle(row.get(COSINES))) is not None
    ]
    places = dict.fromkeys(
        np.linspace(0, len(rows) - 1, min(MATRICES, len(rows))).round().astype(int).tolist()
    )
    panels = []
    for epoch, matrix in (rows[place] for place in places):
        classes = [float(number) for number in range(len(matrix))]
        names = class_titles(range(len(matrix)), record.dataset.classes)
        axis = Axis(label="class", ticks=classes, tick_labels=names)
        heat = Heatmap(
            x=classes, y=classes, z=matrix.tolist(), unit="cosine", scale="diverging", low=-1, high=1
        )
        panels.append(Panel(title=f"epoch {epoch}", x=axis, y=axis, square=True, marks=[heat]))
    return panels


def _course(record: Record, name: str, key: str, scale: float) -> Line | None:
    rows = [(row.get("epoch"), row.get(key)) for row in record.history]
    # An epoch without a value is one that was not looked at: the line goes on.
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


def what(record: Record) -> str:
    """The network that a figure is of, in the words its caption begins with."""
    return f"{record.defense.name} on {record.model}, {record.dataset.name}, seed {record.seed}"


def _chart(name: str, title: str, caption: str, panels: list[Panel], source: str = "") -> Chart:
    return Chart(name=name, title=title, source=source, caption=caption, panels=panels)


def _line(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:300]
