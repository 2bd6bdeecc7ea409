"""The columns of a board's table."""

from collections.abc import Iterable
from dataclasses import dataclass

from bench.core.names import (
    AUTOATTACK,
    BIM,
    CLEAN_ACCURACY,
    CW,
    DETECTION_AUC,
    DETECTION_AUC_CALIBRATED,
    FGSM,
    HYPERVOLUME,
    INCLUSION_RATIO,
    PGD20,
    PGD100,
    PRS_RATIO,
    ROBUST_ACCURACY,
    TIME_PER_EPOCH,
    TIME_PER_EPOCH_RATIO,
    WORST_CASE,
    slug,
)
from leaderboards.entry import Entry


@dataclass(frozen=True)
class Column:
    """A metric's place in the table.

    Attributes:
        metric: its name in the record.
        title: the words over the column.
        spanner: the words over it and its neighbors; "" for none.
        part: the group that it is listed in, "" for the main columns.
        better: "higher" or "lower"; "" where neither is better.
        meaning: one sentence for readers.
        default: whether a wide screen shows it before a reader chooses.
    """

    metric: str
    title: str
    spanner: str
    part: str
    better: str
    meaning: str
    default: bool = False

    @property
    def key(self) -> str:
        """Its name in addresses and style sheets: lower-case letters, digits and hyphens."""
        return slug(self.metric.removeprefix(ROBUST_ACCURACY))


COLUMNS = (
    Column(CLEAN_ACCURACY, "Clean %", "", "", "higher", "Accuracy on unchanged test images."),
    *(
        Column(
            metric,
            title,
            "Accuracy under attack, %",
            "attacks",
            "higher",
            f"Share of the attacked test images that {title} does not break.",
            default=metric == AUTOATTACK,
        )
        for metric, title in (
            (FGSM, "FGSM"),
            (BIM, "BIM"),
            (PGD20, "PGD-20"),
            (PGD100, "PGD-100"),
            (CW, "C&W"),
            (AUTOATTACK, "AutoAttack"),
        )
    ),
    Column(
        WORST_CASE,
        "Worst case %",
        "",
        "",
        "higher",
        "Share of the attacked test images that no attack breaks.",
    ),
    Column(
        PRS_RATIO,
        "PRS ratio",
        "Decision regions",
        "regions",
        "",
        "Decision regions that hold training images, divided by the number of training images.",
        default=True,
    ),
    Column(
        INCLUSION_RATIO,
        "Inclusion",
        "Decision regions",
        "regions",
        "",
        "Share of the test images that fall into a region which holds training images.",
    ),
    Column(
        DETECTION_AUC,
        "Literal",
        "Detection AUC",
        "detection",
        "higher",
        "How well the curvature test separates attacked images from clean ones, as the paper writes it.",
    ),
    Column(
        DETECTION_AUC_CALIBRATED,
        "Calibrated",
        "Detection AUC",
        "detection",
        "higher",
        "The same with the test's direction and threshold calibrated.",
    ),
    Column(
        TIME_PER_EPOCH,
        "Seconds",
        "Time per epoch",
        "time",
        "lower",
        "Median over the epochs, and their quartiles, on the hardware that the entry names.",
    ),
    Column(
        TIME_PER_EPOCH_RATIO,
        "Ratio",
        "Time per epoch",
        "time",
        "lower",
        "Time per epoch relative to standard training, measured in the same process.",
    ),
)

#: What a search gave, beside the metrics of batteries.
OF_SEARCHES = (
    Column(
        HYPERVOLUME,
        "Hypervolume",
        "",
        "search",
        "higher",
        "Area below the front of clean and robust validation accuracy that the search found, between 0 and 1.",
    ),
)

#: The columns that every screen shows, after rank and defense; the cost and the alarms follow.
MAIN = (WORST_CASE, CLEAN_ACCURACY)


def own_column(metric: str, entries: Iterable[Entry]) -> Column:
    """The column of a score that has none above, such as a plug-in's."""
    better = next((e.scores[metric].higher_is_better for e in entries if metric in e.scores), None)
    way = {True: "higher", False: "lower", None: ""}[better]
    return Column(metric, metric, "", "own", way, f"The score {metric}.", default=True)


#: The columns of what is no score, and the words over them.
OF_TRAINING = {
    "network": "Network",
    "seeds": "Seeds",
    "weights": "Weights",
    "date": "Date",
    "paper": "Paper",
}

PARTS = {
    "own": "Other scores",
    "attacks": "Single attacks",
    "regions": "Decision regions",
    "detection": "Detection",
    "time": "Time",
    "search": "Search",
}


def column_rules(own: Iterable[Column] = ()) -> str:
    """The style sheet that hides a column on a screen, and names its cells on a phone.

    Cells of scores have the class `c-KEY`, those of `OF_TRAINING` `t-KEY`.

    Args:
        own: columns of scores beside those of `COLUMNS`.
    """
    columns = [column for column in (*COLUMNS, *OF_SEARCHES) if column.metric not in MAIN]
    columns += {column.key: column for column in own}.values()
    classes = {column.key: f"c-{column.key}" for column in columns} | {key: f"t-{key}" for key in OF_TRAINING}
    hidden = [f".no-{key} .{name}" for key, name in classes.items()]
    early = [f".js #board:not(.ready) .{name}" for name in classes.values()]
    names = {
        column.key: column.title
        if not column.spanner.startswith(("Time", "Det"))
        else f"{column.spanner}, {column.title.lower()}"
        for column in columns
    }
    lines = [
        f"@media screen {{ {', '.join(hidden + early)} {{ display: none; }} }}",
        "@media (max-width: 47.99rem) {",
    ]
    names |= OF_TRAINING
    lines += [
        f'  #board td.{classes[key]}::before {{ content: "{_plain(name)} "; }}' for key, name in names.items()
    ]
    return "\n".join([*lines, "}"]) + "\n"


def _plain(name: str) -> str:
    """A name without what would end a string of a style sheet."""
    return "".join(c for c in name if c not in '"\\<>')
