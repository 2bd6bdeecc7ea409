"""The quantities that a predictors study compares, by the paper that they come from."""

from collections.abc import Iterator
from dataclasses import dataclass

from bench.study.regression import Sign

P1, YU, FAWZI, FIELD, BASELINE = "P1", "Yu et al.", "Fawzi et al.", "The field", "Baselines"
#: In the order of the page.
PAPERS = (P1, YU, FAWZI, FIELD, BASELINE)


@dataclass(frozen=True)
class Indicator:
    """A score of the battery that is held to tell how robust a network is.

    Attributes:
        score: its name in records.
        paper: a member of `PAPERS`.
        title: on pages.
        sign: of its correlation with robustness as the paper claims it; None where it claims none.
    """

    score: str
    paper: str
    title: str
    sign: Sign | None = None


#: Paper → score, title and claimed sign. A score may be missing in a record.
_BY_PAPER: dict[str, tuple[tuple[str, str, Sign | None], ...]] = {
    P1: (
        ("prs_ratio", "PRS ratio", "negative"),
        ("inclusion_ratio", "Inclusion ratio", "positive"),
        ("major_region/share", "Share in major regions", "positive"),
        ("region_health/live_units", "Live units", None),
        ("sparsity", "Sparsity", "positive"),
        ("final_layer_cosine", "Final-layer cosine", "positive"),
        ("region_distance", "Distance to region means tells outcomes", "positive"),
        ("region_distance/survived", "Distance to region means", None),
    ),
    YU: (
        ("decision_function", "L, mean", "positive"),
        ("input_jacobian", "‖J‖₁", "negative"),
        ("input_jacobian/l2", "‖J‖₂", "negative"),
        ("input_jacobian/first_order_margin", "First-order margin", "positive"),
        ("input_hessian", "‖H‖₁", "negative"),
        ("input_hessian/bound", "Second-order bound", "negative"),
    ),
    FAWZI: (
        ("curvature_profile", "Mean curvature", None),
        ("curvature_sign/clean", "Share of positive curvature", None),
        ("detection_auc", "Curvature detection AUC", None),
        ("shared_directions", "Share in shared directions", None),
        ("region_plane", "Regions in a plane", None),
    ),
    FIELD: (
        ("local_complexity/share", "Local complexity", "negative"),
        ("margin_consistency", "Margin consistency", None),
        ("margin_consistency/input_margin", "Input margin (FAB)", "positive"),
        ("rdi", "RDI", "positive"),
        ("fosc", "FOSC of PGD-20", None),
        ("probabilistic_robustness", "Probabilistic robustness", "positive"),
        ("certified_accuracy/unstable", "Unstable units", "negative"),
        ("certified_accuracy", "Certified accuracy (IBP)", "positive"),
        ("certified_accuracy/margin", "Certified margin (IBP)", "positive"),
        ("neural_collapse", "Neural-collapse alignment", None),
        ("neural_collapse/attacked", "Neural-collapse alignment, attacked", "positive"),
        ("neural_collapse/loss", "Neural-collapse alignment lost", "negative"),
    ),
    BASELINE: (
        ("clean_accuracy", "Clean accuracy", None),
        ("generalization_gap", "Train-test gap", None),
    ),
}


def indicators() -> Iterator[Indicator]:
    """Every indicator, in the order of the page."""
    for paper in PAPERS:
        for score, title, sign in _BY_PAPER[paper]:
            yield Indicator(score, paper, title, sign)
