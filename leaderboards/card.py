"""What the site says of a defense besides its results."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Card:
    """A defense as its own documentation describes it.

    Attributes:
        family: what it belongs to, such as "adversarial training".
        summary: one sentence.
        source: the paper, such as "Zhang et al. 2019"; "" where none is named.
        link: an https address of the paper; "" where none is known.
    """

    family: str
    summary: str
    source: str = ""
    link: str = ""
