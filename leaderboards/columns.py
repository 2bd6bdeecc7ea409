"""The columns of a board's table."""

from dataclasses import dataclass

from leaderboards.result import WORST_CASE


@dataclass(frozen=True)
class Column:
    """A metric's place in the table.

    Attributes:
        metric: its name in the record.
        title: the words over the column.
        spanner: the words over it and its neighbors; "" for none.
        part: which columns are shown and hidden together.
        better: "higher" or "lower"; "" where neither is better.
        meaning: one sentence for readers.
    """

    metric: str
    title: str
    spanner: str
    part: str
    better: str
    meaning: str


COLUMNS = (
    Column("clean_accuracy", "Clean %", "", "", "higher", "Accuracy on unchanged test images."),
    *(
        Column(
            f"robust_accuracy/{attack}",
            title,
            "Accuracy under attack, %",
            "attacks",
            "higher",
            f"Share of the attacked test images that {title} does not break.",
        )
        for attack, title in (
            ("fgsm", "FGSM"),
            ("bim", "BIM"),
            ("pgd20", "PGD-20"),
            ("pgd100", "PGD-100"),
            ("cw", "C&W"),
            ("autoattack", "AutoAttack"),
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
        "prs_ratio",
        "PRS ratio",
        "Decision regions",
        "regions",
        "",
        "Decision regions that hold training images, divided by the number of training images.",
    ),
    Column(
        "inclusion_ratio",
        "Inclusion",
        "Decision regions",
        "regions",
        "",
        "Share of the test images that fall into a region which holds training images.",
    ),
    Column(
        "detection_auc",
        "Literal",
        "Detection AUC",
        "detection",
        "higher",
        "How well the curvature test tells attacked images from clean ones, as the paper writes it.",
    ),
    Column(
        "detection_auc_calibrated",
        "Calibrated",
        "Detection AUC",
        "detection",
        "higher",
        "The same with the test's direction and threshold calibrated.",
    ),
    Column(
        "time_per_epoch",
        "Seconds",
        "Time per epoch",
        "time",
        "lower",
        "Median over the epochs, and their quartiles, on the hardware that the entry names.",
    ),
    Column(
        "time_per_epoch_ratio",
        "Ratio",
        "Time per epoch",
        "time",
        "lower",
        "Time per epoch relative to standard training, measured in the same process.",
    ),
)

PARTS = {
    "attacks": "Single attacks",
    "regions": "Decision regions",
    "detection": "Detection",
    "time": "Time",
}
