"""Names of attacks, norms and classes in figures."""

from collections.abc import Iterable, Sequence

from bench.core.record import NORM_SIGNS

ATTACKS = {
    "fgsm": "FGSM",
    "bim": "BIM",
    "pgd20": "PGD-20",
    "pgd100": "PGD-100",
    "cw": "C&W",
    "autoattack": "AutoAttack",
}
#: Attack → title of the accuracy under it; an attack without one is shown by its name.
ACCURACIES = {**ATTACKS, "adaptive": "Margin and scaled cross-entropy"}

#: Check after a raised alarm → title of the accuracy under it.
CHECKS = {
    "transfer": "Extra check: images of a standard network",
    "eot": "Extra check: mean of twenty passes (EOT)",
    "straight_through": "Extra check: stand-ins for gradients (BPDA)",
    "float64": "Extra check: gradients in float64",
    "pgd500": "Extra check: PGD-500",
    "margin100x10": "Extra check: margin, 100 steps, 10 restarts",
    "adaptive": "Extra check: margin and scaled cross-entropy",
    "noise": "Extra check: noise",
    "hop_skip_jump": "Extra check: HopSkipJump",
    "square": "Extra check: Square, twice the queries",
    "eps_x4": "Extra check: 4 times ε",
    "unbounded": "Extra check: without a bound",
    "worst_case": "Worst case after extra checks",
}


def attack_title(name: str) -> str:
    """A registered attack's name as papers write it; any other name as it is."""
    return ATTACKS.get(name, name)


def norm_sign(norm: str) -> str:
    """ℓ∞ or ℓ2 for a threat's norm; any other name as it is."""
    return NORM_SIGNS.get(norm, norm)


def class_titles(labels: Iterable[int], names: Sequence[str]) -> list[str]:
    """The name of each label; "class 7" where the data set has none for it."""
    return [names[label] if label < len(names) else f"class {label}" for label in labels]


def shortened(text: str, limit: int) -> str:
    """The text, cut to at most `limit` characters."""
    return text if len(text) <= limit else text[: limit - 1] + "…"
