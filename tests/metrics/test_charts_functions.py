"""What a metric names as its charts' function is one."""

from importlib import import_module
from inspect import signature

import pytest

from metrics import BUILT_IN, get

DRAWN = [name for name in BUILT_IN if get(name).charts_function]


@pytest.mark.parametrize("name", DRAWN)
def test_the_charts_function_of_a_metric_is_beside_it_and_takes_what_it_measured(name: str) -> None:
    metric = get(name)
    module, _, function = metric.charts_function.partition(":")
    assert module.rpartition(".")[0] == f"{type(metric).__module__.rpartition('.')[0]}.charts"
    draw = getattr(import_module(module), function)
    assert list(signature(draw).parameters) == ["metric", "arrays", "record"]
    assert signature(draw).parameters["metric"].annotation is type(metric)
