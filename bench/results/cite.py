"""What a result rests on, as BibTeX: its battery, the attacks and metrics that ran, and its defense."""

import re
from collections.abc import Iterator
from functools import cache
from importlib.resources import files

from bench.core.names import AUTOATTACK, BIM, CW, CW100X5, FGSM, PGD20, PGD100
from bench.core.record import Record
from leaderboards.citation import battery_words, one_line, software
from metrics import METRICS

#: Metric → the papers of its attack, as keys of `references.bib`.
ATTACKS = {
    FGSM: ("goodfellow2015explaining",),
    BIM: ("kurakin2017adversarial",),
    PGD20: ("madry2018towards",),
    PGD100: ("madry2018towards",),
    "security_curve": ("madry2018towards",),
    CW: ("carlini2017towards",),
    CW100X5: ("carlini2017towards",),
    AUTOATTACK: ("croce2020reliable", "croce2020minimally", "andriushchenko2020square"),
    "detection_auc": ("moosavi2016deepfool",),
}
#: Package of a metric → the paper that defines it.
GEOMETRY = {
    "metrics.regions": "park2022relationship",
    "metrics.surface": "yu2018interpreting",
    "metrics.curvature": "fawzi2017classification",
}
#: Metrics that only P2 has.
EARLIER = ("sparsity", "features")
#: Defense → its papers; none for the cross-entropy.
DEFENSES: dict[str, tuple[str, ...]] = {
    "standard": (),
    "at": ("madry2018towards",),
    "fast": ("wong2020fast",),
    "free": ("shafahi2019adversarial",),
    "prs": ("park2022relationship",),
    "mr": ("park2022relationship",),
    "jacobian": ("yu2018interpreting",),
    "ce-gradient": ("ross2018improving",),
    "full-jacobian": ("hoffman2019robust",),
    "cure": ("moosavi2019robustness",),
    "llr": ("qin2019adversarial",),
    "trades": ("zhang2019theoretically",),
    "mart": ("wang2020improving",),
    "awp": ("wu2020adversarial",),
    "gradalign": ("andriushchenko2020understanding",),
}


def cite(record: Record) -> str:
    """BibTeX entries of everything that a record rests on, each once, under a comment that says for what.

    A defense without an entry is named in a comment.
    """
    seen: set[str] = set()
    parts = [f"% {battery_words(record)}\n{software(record)}"]
    for what, keys in _wanted(record):
        new = [key for key in keys if key not in seen]
        seen.update(new)
        above = "" if new or not keys else " (above)"
        entries = "\n\n".join(references()[key] for key in new)
        parts.append(f"% {one_line(what)}{above}\n{entries}".rstrip())
    return "\n\n".join(parts) + "\n"


@cache
def references() -> dict[str, str]:
    """Every entry of `references.bib` by key."""
    text = (files("bench.results") / "references.bib").read_text(encoding="utf-8")
    entries = text.strip().split("\n\n")
    return {entry.partition("{")[2].partition(",")[0]: entry for entry in entries}


def _wanted(record: Record) -> Iterator[tuple[str, tuple[str, ...]]]:
    for name, keys in ATTACKS.items():
        if name in record.metrics:
            yield f"attack of {name}", keys
    for package, key in GEOMETRY.items():
        measured = [each for each in _of(package) if each in record.metrics]
        if measured:
            earlier = ("anonymous2022empirical",) if set(EARLIER) & set(measured) else ()
            yield f"metrics {', '.join(measured)}", (key, *earlier)
    for name in re.findall(r"[^+()]+", record.defense.name):
        if name in DEFENSES:
            yield f"defense {name}", DEFENSES[name]
        else:
            yield f"defense {name}: not one of ours; cite its own source", ()
    if record.training and str(record.training.recipe.get("name", "")).startswith("strong"):
        yield "recipe strong", ("rice2020overfitting",)
    if str(record.provenance.config.get("loader", "")).startswith("robustbench"):
        yield "weights from RobustBench", ("croce2021robustbench",)


def _of(package: str) -> list[str]:
    return [name for name in METRICS.names() if METRICS.place(name).startswith(f"{package}.")]
