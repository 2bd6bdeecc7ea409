"""The example package: installed it appears by name and runs, and without installing as module:Class."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bench.core.registry import load_object
from bench.data import load

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the example installed into it, from a copy: a build leaves files beside its sources."""
    scratch = tmp_path_factory.mktemp("example")
    source, target = scratch / "source", scratch / "site"
    shutil.copytree(EXAMPLES, source, ignore=shutil.ignore_patterns("__pycache__", ".pytest_cache"))
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation"]
    options = ["--no-index", "--disable-pip-version-check", "--target", str(target), str(source)]
    done = subprocess.run([*pip, *options], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return target


def run(arguments: list[str], *path: Path, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """A fresh interpreter, for which `path` and the project are importable."""
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(map(str, [*path, ROOT])),
        "OMP_NUM_THREADS": "1",
    }
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, check=False, env=environment, cwd=cwd
    )


def bench(*words: str, path: Path, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """The command line, as the `bench` script runs it."""
    return run(["-c", "from bench.cli import main; main()", *words], path, cwd=cwd)


@pytest.mark.slow
def test_the_package_keeps_the_contract() -> None:
    done = run(["-m", "pytest", "-q", "-p", "no:cacheprovider", str(EXAMPLES / "tests")], EXAMPLES)
    assert done.returncode == 0, done.stdout


#: An import of the example, and what it was in version 0.1.
EARLIER_IMPORTS = {
    "from defenses.space import": "from bench.core.space import",
    "from bench.models import": "from bench.core.models import",
}


@pytest.mark.long
@pytest.mark.slow
def test_the_package_of_version_0_1_keeps_the_contract(tmp_path: Path) -> None:
    earlier = tmp_path / "examples"
    shutil.copytree(EXAMPLES, earlier, ignore=shutil.ignore_patterns("__pycache__", ".pytest_cache"))
    for present, past in EARLIER_IMPORTS.items():
        (file,) = [path for path in earlier.rglob("*.py") if present in path.read_text()]
        file.write_text(file.read_text().replace(present, past))
    done = run(
        ["-m", "pytest", "-q", "-p", "no:cacheprovider", str(earlier / "tests")], earlier, cwd=tmp_path
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.slow
def test_what_it_brings_is_listed_with_its_origin(installed: Path) -> None:
    every = (
        "from bench.cli import cli; [cli(['list', kind], standalone_mode=False) for kind in KINDS.split()]"
    )
    done = run(["-c", every.replace("KINDS", repr("defenses metrics models"))], installed)
    assert done.returncode == 0, done.stderr
    for name in ("input-noise", "mean_margin", "two-layers"):
        (line,) = [line for line in done.stdout.splitlines() if line.startswith(f"{name} ")]
        assert "(from regionbench-example)" in line


SMALL = ["--trials", "0", "--epochs", "1", "--train-size", "60", "--test-size", "12"]
TINY = [*SMALL, "--tracking", "none", "--quiet", "--json"]
ONE_METRIC = [*TINY, "--metrics", "clean_accuracy"]


def records(done: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    assert done.returncode == 0, done.stderr
    return [json.loads(Path(path).read_text()) for path in json.loads(done.stdout)]


@pytest.mark.slow
def test_its_defense_and_network_run_by_name(installed: Path, tmp_path: Path) -> None:
    names = ["--defense", "input-noise", "--model", "two-layers", "--set", "sigma=0.2"]
    (record,) = records(bench("run", *names, *TINY, "--out", str(tmp_path), path=installed))
    assert record["defense"]["name"] == "input-noise"
    assert record["defense"]["hyperparameters"] == {"sigma": 0.2}
    assert record["model"] == "two-layers"


@pytest.mark.long
@pytest.mark.slow
def test_it_joins_a_composition(installed: Path, tmp_path: Path) -> None:
    names = ["--defense", "input-noise+at", "--set", "input-noise.sigma=0.2", "--set", "at.steps=1"]
    (record,) = records(bench("run", *names, *ONE_METRIC, "--out", str(tmp_path), path=installed))
    assert record["defense"]["name"] == "input-noise+at"
    assert record["defense"]["hyperparameters"]["input-noise.sigma"] == 0.2


@pytest.mark.long
@pytest.mark.slow
def test_its_defense_runs_as_module_and_class_without_installing(tmp_path: Path) -> None:
    path = "regionbench_example.input_noise:InputNoise"
    (record,) = records(
        bench("run", "--defense", path, *ONE_METRIC, "--out", str(tmp_path), path=tmp_path, cwd=EXAMPLES)
    )
    assert record["defense"]["name"] == path


BROKEN = {
    "raises": ("broken:Defense", "raise RuntimeError('no licence')", "RuntimeError: no licence"),
    "absent": ("missing_module:Defense", "", "missing_module"),
    "no-defense": ("broken:Defense", "class Defense: pass", "is no defense"),
}


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["absent", *(pytest.param(name, marks=pytest.mark.long) for name in ("raises", "no-defense"))]
)
def test_a_broken_plug_in_is_named_and_hides_no_other(name: str, tmp_path: Path) -> None:
    target, source, message = BROKEN[name]
    (tmp_path / "broken.py").write_text(source)
    metadata = tmp_path / "faulty_package-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: faulty-package\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(f"[bench.defenses]\n{name} = {target}\n")

    listed = bench("list", "defenses", path=tmp_path)
    assert listed.returncode == 0, listed.stderr
    assert any(line.startswith("standard ") for line in listed.stdout.splitlines())
    (line,) = [line for line in listed.stdout.splitlines() if line.startswith(f"{name} ")]
    ran = bench("run", "--defense", name, *TINY, "--out", str(tmp_path / "runs"), path=tmp_path)
    assert ran.returncode == 2
    for text in (line, ran.stderr):
        assert "faulty-package" in text
        assert message in text


#: How each example of data is asked for, from within its folder.
DATA = {
    "numpy_arrays.py": "numpy_arrays:load",
    "tensors.py": "tensors:load",
    "torch_dataset.py": "torch_dataset:Squares",
    "rows.py": "rows:load",
    "npz_file.py": "digits.npz",
    "raw_data.py": "raw_data:load",
}


@pytest.mark.parametrize("file", DATA)
def test_examples_of_data_are_found_and_loaded(
    file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(EXAMPLES / "data" / file, tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, file.removesuffix(".py"), raising=False)
    if DATA[file].endswith(".npz"):
        load_object(f"{file.removesuffix('.py')}:write", "script")(DATA[file])
    assert f"`--data {DATA[file]}`" in (EXAMPLES / "data" / file).read_text()
    data = load(DATA[file], data_dir=tmp_path)
    assert load(DATA[file], data_dir=tmp_path).fingerprint == data.fingerprint
    assert data.test.images.float().std() > 0


def test_every_example_of_data_is_tried() -> None:
    assert {path.name for path in (EXAMPLES / "data").glob("*.py")} == set(DATA)
