"""The options of a run on the command line, which follow from `RunConfig`."""

from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from bench import cli
from bench.cli.run import run
from bench.runs.config import RunConfig

#: A value for every setting, as it is written on the command line, and what it means.
WRITTEN: dict[str, tuple[str | None, Any]] = {
    "defense": ("jacobian", "jacobian"),
    "model": ("vgg16", "vgg16"),
    "dataset": ("mnist", "mnist"),
    "data_dir": ("files", Path("files")),
    "download": (None, True),
    "image_size": ("32", 32),
    "class_order": ("dog,cat", ("dog", "cat")),
    "threat": ("l2:0.5", "l2:0.5"),
    "set": ("lam=0.5", {"lam": "0.5"}),
    "recipe": ("strong,lr=0.1", "strong,lr=0.1"),
    "epochs": ("3", 3),
    "trials": ("4", 4),
    "clean_floor": ("0.5", 0.5),
    "objective": ("pareto", "pareto"),
    "storage": ("search.journal", "search.journal"),
    "seeds": ("1,2", (1, 2)),
    "battery": ("full", "full"),
    "metrics": ("clean_accuracy,prs_ratio", ("clean_accuracy", "prs_ratio")),
    "no_escalate": (None, True),
    "transfer_from": ("standard.pt", Path("standard.pt")),
    "suspicious": (None, True),
    "probe_every": ("5", 5),
    "probe_images": ("6", 6),
    "train_size": ("70", 70),
    "test_size": ("8", 8),
    "device": ("cpu", "cpu"),
    "precision": ("bf16", "bf16"),
    "out": ("elsewhere", Path("elsewhere")),
    "tracking": ("none", "none"),
}


@pytest.fixture
def configs(monkeypatch: pytest.MonkeyPatch) -> list[RunConfig]:
    """The configs that `bench run` is called with; nothing runs."""
    seen: list[RunConfig] = []

    def remember(config: RunConfig, tracker: object, progress: object) -> list[Path]:
        seen.append(config)
        return []

    monkeypatch.setattr("bench.runs.job.resolve", lambda config: config)
    monkeypatch.setattr("bench.runs.run.run_job", remember)
    monkeypatch.setattr("bench.runs.run.build_pages", lambda *_: Path("site"))
    return seen


def give(*words: str) -> None:
    result = CliRunner().invoke(cli.cli, ["run", "--quiet", *words])
    assert result.exit_code == 0, result.output


def words_of(name: str) -> list[str]:
    value = WRITTEN[name][0]
    return [f"--{name.replace('_', '-')}", *([] if value is None else [value])]


def test_every_setting_has_an_option_and_every_option_is_a_setting() -> None:
    assert RunConfig.options().keys() == RunConfig.model_fields.keys() == WRITTEN.keys()
    parameters = {each.name for each in run.get_params(click.Context(run)) if "--help" not in each.opts}
    assert parameters == {*RunConfig.model_fields, "file", "as_json", "quiet"}


@pytest.mark.parametrize("page", [Path("site/index.html"), None])
def test_pages_that_were_not_drawn_are_not_named(
    page: Path | None, configs: list[RunConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.runs.run.build_pages", lambda *_: page)
    result = CliRunner().invoke(cli.cli, ["run", "--defense", "standard", "--tracking", "none"])
    assert result.exit_code == 0
    assert ("pages: " in result.output) == bool(page)


@pytest.mark.parametrize("name", WRITTEN)
def test_an_option_and_its_key_in_yaml_set_the_same(
    name: str, configs: list[RunConfig], tmp_path: Path
) -> None:
    others = [] if name == "defense" else ["--defense", "standard"]
    quiet = [] if name == "tracking" else ["--tracking", "none"]
    give(*words_of(name), *others, *quiet)
    file = tmp_path / "run.yaml"
    value = WRITTEN[name][1]
    if isinstance(value, tuple):
        value = list(value)
    file.write_text(f"{name.replace('_', '-')}: {str(value) if isinstance(value, Path) else value!r}\n")
    give(str(file), *others, *quiet)
    assert [getattr(config, name) for config in configs] == [WRITTEN[name][1]] * 2


def test_the_command_of_a_config_gives_the_same_config(configs: list[RunConfig]) -> None:
    first = RunConfig.make({name: value for name, (_, value) in WRITTEN.items()})
    give(*first.words(), "--tracking", "none")
    local = [name for name, option in RunConfig.options().items() if option.local]
    assert local == ["data_dir", "download", "storage", "transfer_from", "device", "out", "tracking"]
    assert configs[0].model_dump(exclude=set(local)) == first.model_dump(exclude=set(local))
    assert configs[0].data_dir == Path("DIR")


def test_a_command_names_what_differs_from_the_defaults_and_the_network() -> None:
    assert RunConfig.make({"defense": "at"}).command() == "bench run --defense at --model cnn6"
    assert RunConfig.make({name: value for name, (_, value) in WRITTEN.items()}).command() == (
        "bench run --defense jacobian --model vgg16 --dataset mnist --data-dir DIR --image-size 32 "
        "--class-order dog,cat --threat l2:0.5 "
        "--set lam=0.5 --recipe strong,lr=0.1 --epochs 3 --trials 4 --clean-floor 0.5 "
        "--objective pareto --seeds 1,2 --battery full "
        "--metrics clean_accuracy,prs_ratio --no-escalate --transfer-from FILE --suspicious "
        "--probe-every 5 --probe-images 6 --train-size 70 "
        "--test-size 8 --precision bf16"
    )


def test_an_evaluation_takes_no_settings_of_a_training() -> None:
    evaluate = cli.cli.commands["evaluate"]
    names = {each.name for each in evaluate.get_params(click.Context(evaluate))}
    training = {name for name, option in RunConfig.options().items() if option.group == "training"}
    assert names & training == {"defense"}  # with a meaning of its own
    assert names >= RunConfig.model_fields.keys() - training


def test_help_gives_the_defaults_of_the_model() -> None:
    output = " ".join(CliRunner().invoke(cli.cli, ["run", "--help"]).output.split())
    for name, field in RunConfig.model_fields.items():
        default = field.get_default()
        if isinstance(default, str | int | Path) and not isinstance(default, bool):
            flag = f"--{name.replace('_', '-')} "
            assert f"[default: {default}]" in output.partition(flag)[2].partition(" --")[0]
