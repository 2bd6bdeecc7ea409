"""Hyper-parameters of the registered defenses: types, bounds, search ranges and names."""

from typing import Any

import pytest

from bench.core.errors import UserError
from defenses import DEFENSES
from defenses import get as get_defense


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("prs", {"ham": -1}, r"ham must be greater than or equal to 0; got -1"),
        ("prs", {"warmup": "soon"}, r"warmup must be .*number.*'soon'"),
        ("prs", {"surrogate": "tan"}, r"surrogate must be 'tanh', 'ste', 'hinge' or 'literal'; got 'tan'"),
        ("prs", {"hamm": 1}, r"unknown hyper-parameter of prs 'hamm'; did you mean ham"),
        ("at", {"steps": 0}, r"steps must be greater than or equal to 1; got 0"),
        ("at", {"steps": "2.5"}, r"steps must be .*integer"),
        ("jacobian", {"norm": "l3"}, r"norm must be"),
        ("standard", {"c": 1}, r"unknown hyper-parameter"),
        ("prs", {"tau": "inf"}, r"tau must be a finite number"),
    ],
)
def test_bad_hyperparameters_are_named_with_bound_and_value(
    name: str, values: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        get_defense(name).make(values)


def test_text_becomes_the_field_type() -> None:
    defense = get_defense("prs").make({"ce": "0.3", "freeze_head": "false", "mrv_update": "5"})
    values = defense.hyperparameters()
    assert (values["ce"], values["freeze_head"], values["mrv_update"]) == (0.3, False, 5)


def test_an_unknown_defense_gets_the_nearest_names() -> None:
    with pytest.raises(UserError, match="did you mean prs"):
        get_defense("pr")
    with pytest.raises(UserError, match="no defense"):
        get_defense("bench.core.threat:Threat")


@pytest.mark.parametrize("name", DEFENSES.names())
def test_defaults_lie_in_their_search_ranges(name: str) -> None:
    defense = get_defense(name)
    for field, spread in defense.space().items():
        default = defense.make({}).hyperparameters()[field]
        low, high = getattr(spread, "low", None), getattr(spread, "high", None)
        assert default in spread.values if low is None else low <= default <= high  # type: ignore[union-attr]
