"""The runs of a sweep's file."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from bench.core.errors import UserError
from bench.runs.config import RunConfig
from bench.sweep.matrix import read_sweep


def runs(tmp_path: Path, values: dict[str, Any] | str, **local: Any) -> list[RunConfig]:
    path = tmp_path / "sweep.yaml"
    path.write_text(values if isinstance(values, str) else yaml.safe_dump(values, sort_keys=False))
    return read_sweep(path, local)


def test_every_combination_once_with_seeds_fastest(tmp_path: Path) -> None:
    found = runs(tmp_path, {"defense": ["standard", "at"], "model": ["cnn6", "lenet"], "seeds": [3, 5]})
    assert [(run.defense, run.model, run.seeds) for run in found] == [
        (defense, model, (seed,))
        for defense in ("standard", "at")
        for model in ("cnn6", "lenet")
        for seed in (3, 5)
    ]


def test_seeds_may_be_written_as_on_the_command_line(tmp_path: Path) -> None:
    assert [run.seeds for run in runs(tmp_path, {"defense": "at", "seeds": "0,2"})] == [(0,), (2,)]
    assert [run.seeds for run in runs(tmp_path, {"defense": "at"})] == [(0,)]


def test_lists_that_vary_together(tmp_path: Path) -> None:
    together = [{"dataset": ["digits", "mnist"], "threat": ["linf:0.2", "linf:0.1"]}]
    found = runs(tmp_path, {"defense": ["standard", "at"], "zip": together})
    assert [(run.defense, run.dataset, run.threat) for run in found] == [
        ("standard", "digits", "linf:0.2"),
        ("standard", "mnist", "linf:0.1"),
        ("at", "digits", "linf:0.2"),
        ("at", "mnist", "linf:0.1"),
    ]


def test_hyper_parameters_and_lists_of_lists(tmp_path: Path) -> None:
    found = runs(tmp_path, {"defense": "prs", "set": {"min_count": [0, 50]}, "metrics": ["clean_accuracy"]})
    assert [run.set for run in found] == [{"min_count": 0}, {"min_count": 50}]
    assert {run.metrics for run in found} == {("clean_accuracy",)}
    found = runs(tmp_path, {"defense": "at", "metrics": [["clean_accuracy"], ["prs_ratio"]]})
    assert [run.metrics for run in found] == [("clean_accuracy",), ("prs_ratio",)]


def test_some_are_left_out_and_some_differ(tmp_path: Path) -> None:
    found = runs(
        tmp_path,
        {
            "defense": ["standard", "at"],
            "model": ["cnn6", "lenet"],
            "epochs": 2,
            "exclude": [{"defense": "at", "model": ["lenet"]}],
            "override": [{"when": {"defense": "at"}, "epochs": 9, "set": {"steps": 3}}],
        },
    )
    assert [(run.defense, run.model, run.epochs, run.set) for run in found] == [
        ("standard", "cnn6", 2, {}),
        ("standard", "lenet", 2, {}),
        ("at", "cnn6", 9, {"steps": 3}),
    ]


def test_a_condition_may_name_a_default(tmp_path: Path) -> None:
    (run,) = runs(tmp_path, {"defense": "at", "override": [{"when": {"model": "cnn6"}, "epochs": 9}]})
    assert run.epochs == 9


def test_settings_of_this_machine_replace_those_of_the_file(tmp_path: Path) -> None:
    (run,) = runs(tmp_path, {"defense": "at", "out": "there"}, out=Path("here"), device=None)
    assert (run.out, run.device) == (Path("here"), "auto")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"defence": "at"}, "defense"),
        ({"model": "cnn6"}, "defense is missing"),
        ({"defense": []}, "no run is left"),
        ({"defense": "at", "exclude": [{"defense": "at"}]}, "no run is left"),
        ({"defense": "at", "exclude": [{"defense": "prs"}]}, "exclude: no run has defense 'prs'"),
        (
            {"defense": "at", "override": [{"when": {"model": "lenet"}, "epochs": 3}]},
            "override: no run has model 'lenet'",
        ),
        ({"defense": ["at", "at"]}, "two runs are the same"),
        ({"defense": "at", "seeds": [0, 0]}, "two runs are the same"),
        ({"defense": "at", "seeds": ["x"]}, "seeds: expected whole numbers"),
        ({"defense": ["at"], "epochs": [1, "many"]}, "the run with defense 'at', epochs 'many'"),
        ({"defense": "at", "zip": [{"epochs": [1, 2], "model": ["cnn6"]}]}, "epochs with 2, model with 1"),
        ({"defense": "at", "zip": [{"defense": ["at"]}]}, "stands in zip and beside it"),
        ({"defense": "at", "zip": [{"epocs": [1]}]}, "setting in zip"),
        ({"defense": "at", "exclude": "at"}, "exclude: expected a list of settings"),
        ({"defense": "at", "override": [{"epochs": 3}]}, "needs `when`"),
        ({"defense": "at", "override": [{"when": {"modl": "x"}, "epochs": 3}]}, "override, when"),
        (
            {
                "defense": "at",
                "override": [
                    {"when": {"defense": "at"}, "epochs": 3},
                    {"when": {"defense": ["at"]}, "epochs": 4},
                ],
            },
            "epochs is both 3 and 4",
        ),
        (
            {"defense": "at", "epochs": list(range(1, 402)), "seeds": list(range(250))},
            "100250 combinations, expected at most 100,000",
        ),
        ({"defense": "at", "set": {f"x{at}": [1, 2] for at in range(200)}}, "more than 30 digits"),
        ({"defense": "at", "set": [1]}, "set: expected names with values, got 1"),
        ({"defense": "at", "exclude": {"set": 1}, "set": {"a": 1}}, "set: expected names with values"),
        ({"defense": "at", "override": {"when": {"defense": "at"}, "set": "x"}, "set": {"a": 1}}, "set: exp"),
        ("- at", "must hold settings"),
        ("defense: [at", "not valid YAML"),
    ],
)
def test_mistakes_are_one_line(tmp_path: Path, values: Any, message: str) -> None:
    with pytest.raises(UserError, match="(?s)" + message.replace("(", r"\(")) as raised:
        runs(tmp_path, values)
    assert "\n" not in str(raised.value)


def test_a_list_in_the_file_of_one_run_names_the_sweep() -> None:
    with pytest.raises(UserError, match="epochs is a list; `bench sweep`"):
        RunConfig.make({"defense": "at", "epochs": [1, 2]})


@pytest.mark.parametrize(
    ("name", "runs", "seeds"),
    [
        ("digits-linf", 36, 3),
        ("digits-l2", 36, 3),
        ("digits-quick", 18, 3),
        ("digits-quick-l2", 18, 3),
        ("mnist-linf", 12, 1),
        ("mnist-linf-0.1", 15, 3),
        ("cifar10-jpeg-linf", 16, 1),
    ],
)
def test_the_boards_sweeps_are_read(name: str, runs: int, seeds: int) -> None:
    found = read_sweep(Path("studies/boards") / f"{name}.yaml")
    assert len(found) == seeds * runs
    assert {run.seeds for run in found} == {(seed,) for seed in range(seeds)}
