"""What pages say of defenses and metrics is read from their sources, and is what their classes say."""

import subprocess
import sys

from bench.charts.words import CHECKS
from bench.core.names import SUSPICIOUS
from bench.runs.cards import defense_cards, make_card
from defenses import DEFENSES
from defenses import get as get_defense
from metrics import METRICS, titles
from metrics import get as get_metric


def test_cards_are_those_of_the_classes() -> None:
    cards = defense_cards()
    assert list(cards) == DEFENSES.names()
    for name, card in cards.items():
        assert card == make_card(get_defense(name)), name


def test_cards_link_to_the_paper_of_every_defense_that_is_on_arxiv() -> None:
    cards = defense_cards()
    assert {name for name, card in cards.items() if not card.link} == {"standard", "jacobian+at", "mart"}
    assert cards["prs"].link == "https://arxiv.org/abs/2207.03400"


def test_titles_are_those_of_the_metrics_and_of_extra_checks() -> None:
    checks = {SUSPICIOUS + check: title for check, title in CHECKS.items()}
    measured = {score: title for name in METRICS.names() for score, title in get_metric(name).titles.items()}
    assert list(titles().items()) == [*checks.items(), *measured.items()]


def test_neither_needs_torch() -> None:
    code = "from bench.runs.cards import defense_cards; from metrics import titles; import leaderboards.build, sys"
    code += "; defense_cards(); titles(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
