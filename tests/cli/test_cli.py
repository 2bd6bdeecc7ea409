"""The command line: help at once, one line for a mistake, exit code 2."""

import errno
import importlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import click
import pytest
import torch
from click.testing import CliRunner

from bench import cli
from bench.cli import catalog
from bench.cli.main import TRACEBACK
from bench.core import foreign_code
from bench.core.record import Record
from bench.models import build
from bench.tracking import Fetched


def bench(
    *words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> tuple[int, str, str]:
    """Run the command line as the console script does: exit code, standard output, standard error."""
    monkeypatch.setattr(sys, "argv", ["bench", *words])
    code = 0
    try:
        cli.main()
    except SystemExit as leave:
        code = int(leave.code or 0)
    out, err = capsys.readouterr()
    return code, out, err


def test_help_loads_nothing_heavy() -> None:
    script = (
        "import sys; sys.argv = ['bench', '--help']\n"
        "from bench.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'numpy', 'mlflow', 'optuna', 'pandas', 'pydantic', 'rich'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "leaderboard" in done.stdout


@pytest.mark.parametrize("name", sorted(cli.cli.commands))
def test_every_command_has_help(name: str) -> None:
    result = CliRunner().invoke(cli.cli, [name, "--help"])
    assert result.exit_code == 0
    assert "Usage" in result.output


def test_help_prints_the_defaults() -> None:
    output = CliRunner().invoke(cli.cli, ["run", "--help"]).output
    for default in ("digits", "cnn6", "quick", "paper", "per data set", "runs"):
        assert f"[default: {default}]" in " ".join(output.split())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["run"], "--defense is missing"),
        (["run", "--defense", "prss"], "did you mean prs"),
        (["run", "--defense", "prs", "--threat", "linf:300"], "between 0 and 1"),
        (["run", "--defense", "prs", "--set", "ham"], "name=value"),
        (["run", "--defense", "prs", "--set", "ham=-1"], "ham must be greater than or equal to 0"),
        (["run", "--defense", "prs", "--seeds", "0,a"], "whole numbers"),
        (["run", "--defense", "prs", "--seeds", "1,1"], "differ"),
        (["run", "--defense", "prs", "--epochs", "0"], "epochs: expected greater than or equal to 1"),
        (["run", "--defense", "prs", "--epochs", "x"], "not a valid integer"),
        (["run", "--defense", "prs", "--battery", "huge"], "battery"),
        (["run", "--defence", "prs"], "No such option"),
        (["run", "nowhere.yaml"], "cannot read nowhere.yaml"),
        (["runn"], "No such command"),
        (["list", "defences"], "defenses"),
        (["list"], "Choose from: defenses, models"),
        (["show", "nowhere.json"], "cannot read nowhere.json"),
        (["evaluate"], "give --checkpoint"),
        (["evaluate", "--checkpoint", "x.pt"], "give --checkpoint FILE with --model"),
        (["evaluate", "--checkpoint", "x.pt", "--model", "cnn6"], "no such checkpoint"),
        (["evaluate", "--checkpoint", "x.pt", "--model", "cnn6", "--device", "gpu"], "device"),
        (["evaluate", "--checkpoint", "x.pt", "--model", "cnn6", "--seed", "-1"], "seeds"),
        (["evaluate", "--checkpoint", "x.pt", "--model", "cnn6", "--paper", "javascript:x"], "https://"),
        (["run", "--defense", "standard", "--trials", "0", "--out", "/proc/nowhere"], "choose another --out"),
        (["leaderboard", "build", "--records", "nowhere"], "no such folder"),
        (["leaderboard", "check", "nowhere.json"], "cannot read"),
        (["run", "--defense", "prs", "--threat", ""], "expected some text"),
        (["run", "--defense", "prs", "--out", ""], "expected some text"),
        (["run", "--defense", "prs", "--seeds", "1e26"], "whole numbers"),
        (["run", "--defense", "prs", "--seeds", "١"], "whole numbers"),
        (["run", "--defense", "prs", "--epochs", "١"], "digits from 0 to 9"),
        (["run", "--defense", "prs", "--recipe", "paper,batch_size=1e20"], "batch_size"),
        (["run", "--defense", "prs", "--recipe", f"paper,batch_size={10**20}"], "batch_size"),
        (["run", "--defense", "prs", "--recipe", "paper,lr=1,lr=2"], "twice"),
        (["run", "--defense", "prs", "--set", "ham=1", "--set", "ham=2"], "--set ham is given twice"),
        (["run", "--defense", "prs", "--set", "ham="], "name=value"),
        (["run", "--defense", "prs", "--data-dir", "/dev/null"], "expected a folder"),
        (["verify", "x", "--attacks", ""], "expected some text"),
        (["verify", "x", "--attacks", "pgd20,pgd20"], "named twice"),
        (["verify", "x", "--device", "x"], "expected one of auto, cpu, cuda"),
        (["evaluate", "--loader", "x"], "expected module:function"),
        (["evaluate", "--loader", "a:b", "--seed", "1e26"], "digits from 0 to 9"),
        (["ui", "--port", "99999"], "expected at most 65535"),
        (["ui", "--port", "0"], "expected at least 1"),
        (["leaderboard", "build", "--port", "١٢"], "expected digits from 0 to 9"),
        (["ui", "--host", "a b"], "expected a host"),
        (["track", "nowhere"], "expected a record, a seed folder or a run folder, found none at"),
        (["track", "x", "--tracking", ""], "expected some text"),
        (["doctor", "--tracking", "x"], "expected a store"),
        (["doctor", "--data-dir", "/dev/null"], "expected a folder"),
        (["study", "nowhere.yaml", "--out", "/proc/nowhere"], "choose another --out"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(
    words: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = bench(*words, monkeypatch=monkeypatch, capsys=capsys)
    assert code == 2
    assert message in err
    assert err.startswith("Error: ")
    assert err.count("\n") == 1
    assert out == ""
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), 2, "the disk is full"),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), 2, "the disk is full"),
        (OSError(errno.EMFILE, "Too many open files"), 1, "too many open files; raise the limit"),
        (OSError(errno.EMFILE, "Too many open files", "x"), 1, "too many open files; raise the limit"),
        (OSError(errno.EACCES, "Permission denied", "a.json"), 2, "a.json: Permission denied"),
        (OSError(errno.EIO, "Input/output error"), 1, "the system refused: [Errno 5] Input/output error"),
        (TimeoutError("too\nlate"), 1, "the system refused: too late; BENCH_TRACEBACK=1 shows where"),
        (OSError(), 1, "the system refused: OSError"),
        (MemoryError(), 1, "out of memory (MemoryError); free some"),
        (RuntimeError("[x] DefaultCPUAllocator: can't allocate memory:\n9 bytes"), 1, "out of memory ([x] "),
        (ImportError("libtorch.so: failed to map"), 1, "a library cannot be imported: libtorch.so: failed"),
    ],
    ids=str,
)
@pytest.mark.parametrize("traced", [False, True])
def test_what_the_system_refuses_is_one_line_and_its_traceback_is_in_reach(
    error: Exception,
    code: int,
    message: str,
    traced: bool,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail(**_: object) -> None:
        raise error

    monkeypatch.setattr(cli.cli.commands["list"], "callback", lambda kind, name: fail())
    monkeypatch.setenv(TRACEBACK, "1" if traced else "")
    got, out, err = bench("list", "models", monkeypatch=monkeypatch, capsys=capsys)
    assert (got, out) == (code, "")
    assert ("Traceback" in err) is traced
    assert err.splitlines()[-1].startswith(f"Error: {message}")
    assert traced or err.count("\n") == 1


def test_a_library_that_fails_while_it_is_imported_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    line = 'raise RuntimeError("operator torchvision::nms does not exist")'
    (tmp_path / "library_of_another_build.py").write_text(line)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(
        cli.cli.commands["list"],
        "callback",
        lambda kind, name: importlib.import_module("library_of_another_build"),
    )
    code, out, err = bench("list", "models", monkeypatch=monkeypatch, capsys=capsys)
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert "cannot be imported: operator torchvision::nms does not exist (torch and torchvision have" in err


def test_a_working_folder_that_is_gone_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def gone() -> str:
        raise FileNotFoundError(errno.ENOENT, "No such file or directory")

    monkeypatch.setattr(os, "getcwd", gone)
    code, out, err = bench("list", "models", monkeypatch=monkeypatch, capsys=capsys)
    assert (code, out, err) == (2, "", "Error: the working folder was deleted; change to another one\n")


@pytest.mark.parametrize(
    ("error", "plugins", "code", "message"),
    [
        (
            EOFError("Ran out of input"),
            {},
            1,
            "Error: a file or an answer ended too early: Ran out of input; ",
        ),
        (
            EOFError("Ran out"),
            {"mine": ["defense 'mine:X'"]},
            2,
            "Error: EOFError: Ran out; the cause may be",
        ),
        (click.Abort(), {}, 130, "stopped; the same command goes on from here"),
        (KeyboardInterrupt(), {}, 130, "stopped; the same command goes on from here"),
        (
            KeyboardInterrupt(),
            {"mine": ["defense 'mine:X'"]},
            130,
            "stopped; the same command goes on from here",
        ),
    ],
)
def test_only_ctrl_c_and_the_end_of_what_is_typed_stop_a_command(
    error: BaseException,
    plugins: dict[str, list[str]],
    code: int,
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail(kind: str) -> str:
        raise error

    monkeypatch.setattr(foreign_code, "_plugins", plugins)
    monkeypatch.setattr(catalog, "describe", fail)
    got, out, err = bench("list", "models", monkeypatch=monkeypatch, capsys=capsys)
    assert (got, out) == (code, "")
    assert err.strip().startswith(message)


def test_a_record_without_a_threat_is_no_submission_and_says_its_path_once(
    tmp_path: Path,
    make_record: Callable[..., Record],
    write_record: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = write_record(tmp_path / "r", make_record(threat={"eps": "0"}))
    code, _, err = bench("leaderboard", "check", str(path), monkeypatch=monkeypatch, capsys=capsys)
    assert code == 2
    assert err.count(str(path)) == 1
    assert "threat.eps is 0, which is clean accuracy" in err


def test_show_says_that_nothing_repeats_a_record_made_from_python(
    tmp_path: Path,
    make_record: Callable[..., Record],
    write_record: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    bare = {"hyperparameters": {}, "defaults": {}}
    path = write_record(tmp_path / "r", make_record(provenance={"command": ""}, defense=bare))
    code, out, _ = bench("show", str(path), monkeypatch=monkeypatch, capsys=capsys)
    assert code == 0
    assert out.splitlines()[-1] == "again: made from Python, no command repeats it"
    assert "hyper-parameters" not in out


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("defense: [", "not valid YAML at line"),
        ("- a\n- b", "must hold settings"),
        ("defense: prs\nepoch: 3", "unknown setting 'epoch'; did you mean epochs"),
        ("defense: prs\nset: 3", "set"),
        ("defense: prs\nseeds: [a]", "seeds"),
    ],
)
def test_broken_yaml_is_told(
    text: str,
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(text)
    code, _, err = bench("run", str(path), monkeypatch=monkeypatch, capsys=capsys)
    assert code == 2
    assert message in err


@pytest.mark.parametrize(
    "kind", ["defenses", "models", "datasets", "metrics", "attacks", "batteries", "recipes", "alarms"]
)
def test_lists_name_their_parts(
    kind: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = bench("list", kind, monkeypatch=monkeypatch, capsys=capsys)
    known = {
        "defenses": "prs",
        "models": "resnet18",
        "datasets": "imagefolder:PATH",
        "metrics": "prs_ratio",
        "attacks": "pgd100",
        "batteries": "standard",
        "recipes": "strong",
        "alarms": "zero gradients",
    }
    assert code == 0
    assert known[kind] in out


@pytest.mark.slow
@pytest.mark.usefixtures("short_autoattack")
def test_yaml_evaluate_show_check_build_and_track_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One small run through most commands, as a user would string them together."""
    monkeypatch.chdir(tmp_path)
    Path("run.yaml").write_text(
        "defense: standard\ntrain-size: 60\ntest_size: 12\nepochs: 9\ntrials: 0\nseeds: 0\n"
        "tracking: none\njson: true\nquiet: true\n"
    )
    code, out, err = bench("run", "run.yaml", "--epochs", "2", monkeypatch=monkeypatch, capsys=capsys)
    assert (code, err) == (0, "")
    (record,) = json.loads(out)
    assert "epochs 2" in json.loads(Path(record).read_text())["provenance"]["command"]

    code, out, _ = bench("show", record, monkeypatch=monkeypatch, capsys=capsys)
    assert code == 0
    assert "robust_accuracy/worst_case" in out

    code, out, _ = bench("leaderboard", "check", record, monkeypatch=monkeypatch, capsys=capsys)
    assert code == 0

    code, out, _ = bench("leaderboard", "build", "--out", "pages", monkeypatch=monkeypatch, capsys=capsys)
    assert code == 0
    assert Path("pages/index.html").exists()

    weights = Path(record).parent / "weights.safetensors"
    words = ["--train-size", "60", "--test-size", "12", "--tracking", "none", "--json", "--quiet"]
    code, out, err = bench(
        "evaluate",
        "--checkpoint",
        str(weights),
        "--model",
        "cnn6",
        *words,
        monkeypatch=monkeypatch,
        capsys=capsys,
    )
    assert (code, err) == (0, "")
    ours, theirs = (json.loads(Path(path).read_text())["metrics"] for path in (record, *json.loads(out)))
    for name in ("clean_accuracy", "robust_accuracy/autoattack", "prs_ratio"):
        assert ours[name] == theirs[name]
    assert theirs["time_per_epoch"]["reason"] == "the network was not trained here"


def test_a_loader_function_brings_its_own_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine_loader.py").write_text(
        "import torch\n"
        "def make():\n    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10))\n"
        "def broken():\n    raise ValueError('no weights')\n"
        "def wrong():\n    return 3\n"
    )
    words = ["--metrics", "clean_accuracy", "--train-size", "60", "--test-size", "12"]
    words += ["--tracking", "none", "--json", "--quiet"]
    code, out, _ = bench(
        "evaluate", "--loader", "mine_loader:make", *words, monkeypatch=monkeypatch, capsys=capsys
    )
    assert code == 0
    assert json.loads(Path(json.loads(out)[0]).read_text())["model"] == "make"
    # Another network behind the same name is another result.
    source = Path("mine_loader.py").read_text()
    Path("mine_loader.py").write_text(source.replace("Flatten(),", "Flatten(), torch.nn.ReLU(),"))
    monkeypatch.delitem(sys.modules, "mine_loader")
    importlib.invalidate_caches()
    code, again, _ = bench(
        "evaluate", "--loader", "mine_loader:make", *words, monkeypatch=monkeypatch, capsys=capsys
    )
    assert code == 0
    assert json.loads(again) != json.loads(out)
    for function, message in (
        ("broken", "ValueError: no weights"),
        ("wrong", "got int"),
        ("absent", "unknown"),
    ):
        code, _, err = bench(
            "evaluate", "--loader", f"mine_loader:{function}", *words, monkeypatch=monkeypatch, capsys=capsys
        )
        assert code == 2
        assert message in err


def test_weights_of_another_network_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save(build("cnn6", input_shape=(3, 8, 8), num_classes=10, seed=0).state_dict(), "w.pt")
    code, _, err = bench(
        "evaluate",
        "--checkpoint",
        "w.pt",
        "--model",
        "cnn6",
        "--tracking",
        "none",
        monkeypatch=monkeypatch,
        capsys=capsys,
    )
    assert code == 2
    assert "does not fit the network" in err
    assert not Path("runs").exists()


def test_the_doctor_looks_at_everything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, _ = bench("doctor", "--tracking", "none", monkeypatch=monkeypatch, capsys=capsys)
    assert code == 0
    for word in ("versions", "processor", "data digits", "data cifar10", "tracking", "disk"):
        assert word in out


def test_the_doctor_calls_no_place_ok_that_cannot_be_written(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir("/proc")
    store = "sqlite:////proc/none/mlflow.db"
    code, out, _ = bench("doctor", "--tracking", store, monkeypatch=monkeypatch, capsys=capsys)
    assert code == 0
    lines = out.splitlines()
    assert any(line.startswith("!!  tracking") and "cannot be written" in line for line in lines)
    assert any(line.startswith("!!  the working folder cannot be written") for line in lines)
    assert not any(line.startswith(("ok  tracking", "ok  disk")) for line in lines)


@pytest.mark.parametrize("command", ["track", "ui"])
def test_bad_arguments_leave_no_fresh_database(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("junk.json").write_text("{")
    bad = {"track": ["junk.json"], "ui": ["--host", "no.such.host.invalid"]}[command]
    store = ["--tracking", "sqlite:///fresh.db"]
    code, out, err = bench(command, *bad, *store, monkeypatch=monkeypatch, capsys=capsys)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert [path.name for path in tmp_path.iterdir()] == ["junk.json"]


@pytest.mark.parametrize("words", [("list", "x" * 5_000), ("list", f"--{'x' * 5_000}"), ("x" * 5_000,)])
def test_long_words_are_repeated_in_part(
    words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, err = bench(*words, monkeypatch=monkeypatch, capsys=capsys)
    assert code == 2
    assert len(err) < 1_100
    assert err.endswith("--help`)\n")


def test_the_path_of_a_record_is_printed_before_the_pages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stopped(*_: object) -> Path:
        raise KeyboardInterrupt

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("bench.runs.external.evaluate_checkpoint", lambda *_, **options: Path("record.json"))
    monkeypatch.setattr("bench.runs.run.build_pages", stopped)
    words = ("evaluate", "--checkpoint", "x.pt", "--model", "cnn6", "--tracking", "none", "--json")
    code, out, _ = bench(*words, monkeypatch=monkeypatch, capsys=capsys)
    assert (code, out) == (130, '["record.json"]\n')


def test_building_from_mlflow_sweeps_what_kills_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    left = tmp_path / ".regionbench.0123abcd.part"
    (left / "record").mkdir(parents=True)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(
        "bench.tracking.fetch_records", lambda settings, out: Fetched([], {}, {out / "r": "gone"})
    )
    words = ("leaderboard", "build", "--tracking", "sqlite:///nowhere.db")
    code, _, err = bench(*words, monkeypatch=monkeypatch, capsys=capsys)
    assert (code, err) == (2, "Error: no records in sqlite:///nowhere.db; left out: gone\n")
    assert not list(tmp_path.iterdir())
