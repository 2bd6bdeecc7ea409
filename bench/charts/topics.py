"""The order in which figures are shown: by what their names begin with."""

from collections.abc import Iterable

TOPICS = {
    "training": "Training, security and attacks",
    "security": "Training, security and attacks",
    "attacks": "Training, security and attacks",
    "regions": "Decision regions",
    "surface": "Loss and decision surfaces",
    "curvature": "Curvature",
}
OTHERS = "More figures"


def topic(name: str) -> str:
    """The heading for a figure of this name."""
    return TOPICS.get(name.replace("_", "-").partition("-")[0], OTHERS)


def by_topic(names: Iterable[str]) -> dict[str, list[str]]:
    """Heading → the names below it; headings in a fixed order, names from A to Z but training before attacks."""
    places = list(TOPICS)

    def place(name: str) -> tuple[int, str]:
        first = name.replace("_", "-").partition("-")[0]
        return (places.index(first) if first in places else len(places), name)

    sections: dict[str, list[str]] = {}
    for name in sorted(set(names), key=place):
        sections.setdefault(topic(name), []).append(name)
    return sections
