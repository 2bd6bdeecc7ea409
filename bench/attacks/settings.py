"""The attacks of the battery as plain data, without torch; `bench.attacks.pgd.Attack` explains each setting."""

from collections.abc import Mapping
from typing import Any

SETTINGS: Mapping[str, Mapping[str, Any]] = {
    "fgsm": {"steps": 1, "random_start": False},
    "bim": {"steps": 5, "random_start": False},
    "pgd20": {"steps": 20},
    "pgd100": {"steps": 100},
    "cw": {"steps": 10, "loss": "margin"},
    "cw100x5": {"steps": 100, "loss": "margin", "restarts": 5},
    # These two losses have a gradient where that of cross-entropy has vanished.
    "adaptive": {"steps": 50, "loss": "margin+scaled-ce", "restarts": 4},
}

#: Name → what it is, for `bench list attacks`.
SUMMARIES: Mapping[str, str] = {
    "fgsm": "one step of ε on the cross-entropy, from the image (Goodfellow et al. 2015)",
    "bim": "five steps on the cross-entropy, from the image (Kurakin et al. 2017)",
    "pgd20": "20 steps on the cross-entropy from a random start (Madry et al. 2018)",
    "pgd100": "100 steps on the cross-entropy from a random start",
    "cw": "ten steps of PGD on the margin of Carlini & Wagner (2017)",
    "cw100x5": "100 steps of PGD on the margin, from five random starts",
    "adaptive": "50 steps on the margin and on the cross-entropy of scaled logits in turn, from four random starts",
}
