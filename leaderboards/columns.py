"""The columns of a board's table."""

from dataclasses import dataclass

from bench.core.names import (
    AUTOATTACK,
    BIM,
    CLEAN_ACCURACY,
    CW,
    DETECTION_AUC,
    DETECTION_AUC_CALIBRATED,
    FGSM,
    INCLUSION_RATIO,
    PGD20,
    PGD100,
    PRS_RATIO,
    TIME_PER_EPOCH,
    TIME_PER_EPOCH_RATIO,
    WORST_CASE,
)


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
    Column(CLEAN_ACCURACY, "Clean %", "", "", "higher", "Accuracy on unchanged test images."),
    *(
        Column(
            metric,
            title,
            "Accuracy under attack, %",
            "attacks",
            "higher",
            f"Share of the attacked test images that {title} does not break.",
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

PARTS = {
    "attacks": "Single attacks",
    "regions": "Decision regions",
    "detection": "Detection",
    "time": "Time",
}
