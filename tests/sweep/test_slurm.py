"""Submission to Slurm, with scripts in the place of its commands."""

import os
import subprocess
import time
from pathlib import Path

import pytest

from bench.core.errors import UserError
from bench.sweep.slurm import check_options, submit


def install(folder: Path, monkeypatch: pytest.MonkeyPatch, **scripts: str) -> None:
    folder.mkdir()
    for name, text in scripts.items():
        (folder / name).write_text(f"#!/bin/bash\n{text}\n")
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")


def test_arrays_are_split_at_the_sites_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(
        tmp_path / "bin",
        monkeypatch,
        sbatch='grep -h "^#SBATCH --array" "$2" >&2; echo "17;cluster"',
        scontrol='echo "MaxArraySize            = 5"',
    )
    jobs = submit(
        ["bench", "sweep", "a b.yaml"], tmp_path / "s", name="x", count=10, options=["--gres=gpu:1"]
    )
    assert jobs == ["17", "17", "17"]
    scripts = sorted((tmp_path / "s").glob("*.sbatch"))
    texts = [path.read_text() for path in scripts]
    assert [path.name for path in scripts] == ["sweep-0.sbatch", "sweep-4.sbatch", "sweep-8.sbatch"]
    assert ["#SBATCH --array=0-3" in texts[0], "#SBATCH --array=0-1" in texts[2]] == [True, True]
    assert all("'a b.yaml'" in text and "\n#SBATCH --gres=gpu:1\n" in text for text in texts)
    assert "--index $((SLURM_ARRAY_TASK_ID + 8)) --count 10" in texts[2]
    for path in scripts:
        subprocess.run(["bash", "-n", str(path)], check=True)


def test_the_time_limits_signal_ends_the_worker_and_queues_the_task_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(
        tmp_path / "bin",
        monkeypatch,
        sbatch="echo 1",
        scontrol='echo "$@" >> "$REQUEUED"',
        worker='trap \'echo "kept $*" > "$KEPT"; exit 143\' TERM; touch "$KEPT.ready"; sleep 60 & wait',
    )
    monkeypatch.setenv("KEPT", str(tmp_path / "kept"))
    monkeypatch.setenv("REQUEUED", str(tmp_path / "requeued"))
    submit(["worker"], tmp_path / "s", name="x", count=2, options=[])
    variables = {"SLURM_ARRAY_TASK_ID": "1", "SLURM_ARRAY_JOB_ID": "40", "SLURM_JOB_ID": "41"}
    task = subprocess.Popen(["bash", str(tmp_path / "s" / "sweep.sbatch")], env={**os.environ, **variables})
    while not (tmp_path / "kept.ready").exists():
        assert task.poll() is None
        time.sleep(0.02)
    task.terminate()
    assert task.wait(20) == 0
    assert (tmp_path / "kept").read_text() == "kept --index 1 --count 2\n"
    assert (tmp_path / "requeued").read_text().splitlines()[-1] == "requeue 40_1"


def test_without_slurm_the_script_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match=r"there is no `sbatch` here; .* is written"):
        submit(["worker"], tmp_path / "s", name="x", count=2, options=[])
    assert (tmp_path / "s" / "sweep.sbatch").is_file()


def test_a_refusal_and_a_bad_option_are_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path / "bin", monkeypatch, sbatch="echo invalid partition >&2; exit 1", scontrol="true")
    with pytest.raises(UserError, match=r"sbatch refused .*invalid partition"):
        submit(["worker"], tmp_path / "s", name="x", count=2, options=[])
    with pytest.raises(UserError, match="expected an option such as --partition=gpu"):
        check_options(["--gres=gpu:1", "partition=gpu"])
