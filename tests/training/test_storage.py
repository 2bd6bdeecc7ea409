"""Searches that several processes share: each number once, the budget kept, dead processes' trials resumed."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from bench.core.errors import UserError
from bench.training.storage import check_storage, open_storage
from bench.training.trials import LEFT, SharedTrials, make_sampler, number_of
from benchmarks.faults.local_servers import free_port
from tests.postgres import postgres

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def database() -> Iterator[str]:
    with postgres() as address:
        yield address


def objective(trial: optuna.Trial) -> float:
    return -((trial.suggest_float("x", 0, 1) - 0.3) ** 2)


def work(address: str, name: str, count: int, patience: float = 60.0, die_at: int = -1) -> list[int]:
    """Work on a study as one process does; returns the numbers that were done."""
    done = []
    with open_storage(address) as storage:
        study = optuna.create_study(
            storage=storage, study_name=name, direction="maximize", load_if_exists=True
        )
        trials = SharedTrials(
            study, count, make_sampler, storage=storage, first={"x": 0.5}, patience=patience
        )
        with lock:
            trials.enqueue_all()
        while (trial := trials.take(lambda line: None)) is not None:
            if number_of(trial) == die_at:
                objective(trial)
                return done  # as one that was killed: nothing is told, and nothing shows life
            with trials.held(trial):
                study.tell(trial, objective(trial))
            done.append(number_of(trial))
    return done


lock = threading.Lock()


def several(address: str, count: int, workers: int) -> list[int]:
    done: list[int] = []
    threads = [
        threading.Thread(target=lambda: done.extend(work(address, f"several-{count}", count)))
        for _ in range(workers)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sorted(done)


def test_processes_on_a_journal_divide_the_numbers_and_keep_the_budget(tmp_path: Path) -> None:
    assert several(str(tmp_path / "s.journal"), 9, 3) == list(range(9))


def test_a_silent_trial_fails_and_the_same_setting_is_tried_again(tmp_path: Path) -> None:
    address = str(tmp_path / "s.journal")
    assert work(address, "s", 3, die_at=1) == [0]
    assert work(address, "s", 3, patience=0.2) == [2, 1]
    with open_storage(address) as storage:
        trials = optuna.load_study(storage=storage, study_name="s").get_trials()
    first, again = [trial for trial in trials if number_of(trial) == 1]
    assert (first.state, again.state) == (TrialState.FAIL, TrialState.COMPLETE)
    assert first.user_attrs[LEFT] == "silent"
    assert first.params == again.params
    assert [trial.state for trial in trials].count(TrialState.COMPLETE) == 3


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("oracle://host/name", "expected postgresql"),
        ("postgresql+nothing://host/name", "no database has this driver"),
        ("postgresql+psycopg://user:hunter22@127.0.0.1:1/name", "cannot be used.*refused"),
        ("grpc://host", "expected grpc://host:port"),
        ("sqlite://", "expected sqlite:///FILE"),
        ("study.db", "looks like a SQLite database"),
        ("/dev/full", "is no regular file"),
        ("/proc/s.journal", "cannot hold the lock of a journal"),
    ],
)
def test_a_storage_that_cannot_be_used_is_one_line_without_secrets(address: str, said: str) -> None:
    with pytest.raises(UserError, match=said) as caught:
        check_storage(address)
    assert "\n" not in str(caught.value)
    assert "hunter22" not in str(caught.value)


@pytest.mark.parametrize("address", ["sqlite:///{}/s.db", "{}/s.journal"])
def test_a_check_makes_no_file(address: str, tmp_path: Path) -> None:
    check_storage(address.format(tmp_path))
    assert not list(tmp_path.iterdir())


def test_a_second_process_on_sqlite_is_refused_with_the_reason(tmp_path: Path) -> None:
    address = f"sqlite:///{tmp_path}/s.db"
    with open_storage(address), pytest.raises(UserError, match="SQLite is for one process"):
        check_storage(address)


@pytest.mark.slow
def test_threads_on_postgresql_divide_the_numbers_and_a_wrong_password_is_one_line(database: str) -> None:
    assert several(database, 12, 4) == list(range(12))
    login, _, rest = database.partition("@")
    with pytest.raises(UserError, match="password authentication failed") as caught:
        check_storage(f"{login}x@{rest}")
    assert login.rpartition(":")[2] not in str(caught.value)


PROXY = """
import os, warnings
from optuna.storages import RDBStorage, run_grpc_proxy_server
warnings.simplefilter("ignore")
run_grpc_proxy_server(RDBStorage(os.environ["ADDRESS"]), host="localhost", port=int(os.environ["PORT"]))
"""


@pytest.mark.long
@pytest.mark.slow
def test_sixty_four_workers_behind_a_proxy_divide_the_numbers(database: str) -> None:
    pytest.importorskip("grpc")
    port = free_port()
    environment = {**os.environ, "ADDRESS": database, "PORT": str(port)}
    with subprocess.Popen([sys.executable, "-c", PROXY], env=environment, stderr=subprocess.DEVNULL) as proxy:
        try:
            while True:
                with suppress(UserError):
                    check_storage(f"grpc://localhost:{port}")
                    break
                assert proxy.poll() is None
            assert several(f"grpc://localhost:{port}", 192, 64) == list(range(192))
            with open_storage(database) as storage:
                found = optuna.load_study(storage=storage, study_name="several-192").get_trials()
            over = [number_of(trial) for trial in found if trial.state == TrialState.COMPLETE]
            assert sorted(over) == list(range(192))
            assert len(found) == 192
        finally:
            proxy.kill()


WORKER = """
import os, sys
from pathlib import Path
from bench.core.progress import Progress
from bench.training import trials
from bench.training.search import search
from tests.training.test_search import plan
original = trials.SharedTrials.__init__
trials.SharedTrials.__init__ = lambda self, *a, **k: original(self, *a, **{"patience": 3.0, **k})
found = search(plan(epochs=6), Path(sys.argv[1]), 8, 0.0, Progress(), storage=os.environ["REGIONBENCH_STORAGE"])
print(found.search.model_dump_json())
"""


@pytest.mark.long
@pytest.mark.slow
def test_four_processes_on_postgresql_lose_nothing_when_one_is_killed(database: str, tmp_path: Path) -> None:
    folder = tmp_path / "killed"
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER, str(folder)],
            env={**os.environ, "REGIONBENCH_STORAGE": database, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    while len(list(folder.glob("trials/*/checkpoint.pt"))) < 2:
        time.sleep(0.05)
        assert all(worker.poll() in (None, 0) for worker in workers)
    os.kill(workers[0].pid, signal.SIGKILL)
    said = [worker.communicate()[0].strip() for worker in workers]
    assert [worker.returncode for worker in workers] == [-signal.SIGKILL, 0, 0, 0]
    assert len(set(said[1:])) == 1
    with open_storage(database) as storage:
        found = optuna.load_study(storage=storage, study_name="killed").get_trials()
    over = [number_of(trial) for trial in found if trial.state.is_finished() and LEFT not in trial.user_attrs]
    assert sorted(over) == list(range(8))
    assert not any(trial.state == TrialState.RUNNING for trial in found)
