"""The contract suite over every registered defense and some more compositions."""

from collections.abc import Callable

import pytest

from bench.testing import DEFENSE_CHECKS
from defenses import DEFENSES, Defense, get

#: Beyond the registered ones: a wrapper around a sum, and components with stages.
COMPOSED = ["awp(jacobian+at)", "prs+at", "awp(prs+at)", "awp(mart)", "cure+full-jacobian"]


@pytest.mark.parametrize("name", [*DEFENSES.names(), *COMPOSED])
@pytest.mark.parametrize("check", DEFENSE_CHECKS, ids=lambda check: check.__name__)
def test_every_defense_keeps_the_contract(name: str, check: Callable[[type[Defense]], None]) -> None:
    check(get(name))
