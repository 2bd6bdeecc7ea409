"""Secrets wherever a URI or a token can enter: none may be printed, written or shown in a process list."""

import random
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

from benchmarks.faults.command import Bench, Outcome
from benchmarks.faults.fake_server import fake_server
from benchmarks.faults.trial import Fault, FaultClass, Trial

SECRET = "s3cr3t-Pw4X9zQ"
#: Where a secret stands in the URI of a store; HOST is a server that repeats what it is told.
STORES = [
    f"http://me:{SECRET}@HOST",
    f"http://{SECRET}@HOST",
    f"http://me:{SECRET}@127.0.0.1:1",
    f"http://me:a#{SECRET}@127.0.0.1:1",
    f"http://me:a/{SECRET}@127.0.0.1:1",
    f"http://127.0.0.1:{SECRET}",
    f"http://HOST/?key={SECRET}",
    f"http://HOST/#{SECRET}",
    f"http://me:{SECRET}@127.0.0.1:99999",
    f"postgresql://me:{SECRET}@127.0.0.1:1/db",
    f"postgresql://me:x#{SECRET}@127.0.0.1/db",
    f"postgresql://me:{SECRET}",
    f"postgresql+psycopg2://127.0.0.1:1/db?password={SECRET}",
    f"mysql+pymysql://me:{SECRET}@127.0.0.1:port/db",
    f"ftp://me:{SECRET}@127.0.0.1/x",
    f"sqlite:////proc/nowhere/x.db?key={SECRET}",
    f"me:{SECRET}@host",
]
SMALL = ["--epochs", "1", "--train-size", "60", "--test-size", "20", "--metrics", "clean_accuracy"]
RUN = ["run", "--defense", "standard", "--trials", "0", *SMALL]
EVALUATE = ["evaluate", "--model", "cnn6", "--checkpoint", "nowhere.pt"]
#: Commands that take the URI of a store.
WITH_STORE: list[list[str]] = [
    RUN,
    EVALUATE,
    ["study", "nowhere.yaml"],
    ["track", "made"],
    ["ui", "--port", "0"],
    ["leaderboard", "build", "--out", "site"],
]
#: Commands that take a path, where somebody may paste a URI.
WITH_PATH = [
    "show",
    "compare",
    "verify",
    "figures",
    "track",
    "study",
    "run",
    "leaderboard check",
    "leaderboard build --records",
    "evaluate --model cnn6 --checkpoint",
    "run --defense",
    "run --defense standard --trials 0 --epochs 1 --train-size 60 --metrics clean_accuracy --data-dir",
    "run --defense standard --dataset",
    "run --defense standard --threat",
    "evaluate --loader",
]
#: Commands during which the process list is watched.
TITLES = [("track", "made"), ("doctor",), ("leaderboard", "build", "--out", "site")]
TOKENS = {
    "MLFLOW_TRACKING_TOKEN": SECRET,
    "MLFLOW_TRACKING_USERNAME": "me",
    "MLFLOW_TRACKING_PASSWORD": f"{SECRET}2",
    "AWS_SECRET_ACCESS_KEY": SECRET,
}


def _provoke(bench: Bench, folder: Path, tries: int, draw: random.Random) -> Iterator[Trial]:
    with ExitStack() as stack:
        host = stack.enter_context(fake_server("echo")).address
        commands = list(_commands(host))
        draw.shuffle(commands)
        _make_records(bench, folder)
        for line in TITLES[:tries]:
            place = _make_place(folder, f"title-{line[0]}")
            yield Trial(f"process list: {line[0]}", tuple(_titles(bench, place, line, host)))
        for number, (words, environment, file) in enumerate(commands[: max(0, tries - len(TITLES))]):
            place = _make_place(folder, str(number))
            if file:
                (place / "mlflow.yaml").write_text(file)
            outcome = bench(*words, folder=place, environment=environment, cpu_seconds=60)
            what = " ".join([*(f"{name}={value}" for name, value in environment.items()), *words, file])
            yield Trial(what, tuple(_leaks(outcome, place)))


def _make_place(folder: Path, name: str) -> Path:
    place = folder / name
    place.mkdir()
    (place / "made").symlink_to(folder / "made" / "runs")
    return place


def _commands(host: str) -> Iterator[tuple[list[str], Mapping[str, str], str]]:
    """Arguments, variables, and the content of `mlflow.yaml`."""
    for store in (store.replace("HOST", host) for store in STORES):
        for command in WITH_STORE:
            yield [*command, "--tracking", store], {}, ""
        yield ["track", "made"], {"MLFLOW_TRACKING_URI": store}, ""
        yield ["doctor"], {}, f'uri: "{store}"\n'
    for place in (f"s3://me:{SECRET}@bucket/x", f"gopher://me:{SECRET}@host", f"https://HOST/x?sig={SECRET}"):
        yield ["track", "made"], {"REGIONBENCH_MLFLOW_ARTIFACTS": place.replace("HOST", host)}, ""
    for words in WITH_PATH:
        yield [*words.split(), f"http://me:{SECRET}@host:5000/x?token={SECRET}"], {}, ""
        yield [*words.split(), f"postgresql://me:{SECRET}#@host"], {}, ""
    for command in WITH_STORE:
        if command[0] != "study":
            yield [*command, "--tracking", f"http://{host}"], TOKENS, ""
    yield ["show", SECRET], TOKENS, ""
    yield ["run", "--defense", f"nowhere:{SECRET}"], TOKENS, ""


def _make_records(bench: Bench, folder: Path) -> None:
    place = folder / "made"
    place.mkdir()
    done = bench(*RUN, "--tracking", "none", folder=place, cpu_seconds=120)
    if done.code:
        raise RuntimeError(done.text)


def _leaks(outcome: Outcome, place: Path) -> Iterator[Fault]:
    for line in outcome.text.splitlines():
        if SECRET in line:
            yield Fault("secret", f"printed: {line[:200]}")
            break
    if outcome.traceback:
        yield Fault("traceback", outcome.last_line)
    if outcome.hung:
        yield Fault("hang", f"after {outcome.seconds:.0f} s")
    yield from _written(place)


def _written(place: Path) -> Iterator[Fault]:
    for path in sorted(place.rglob("*")):
        if path.is_file() and path.name != "mlflow.yaml" and SECRET.encode() in path.read_bytes():
            yield Fault("secret", f"written: {path.relative_to(place)}")


def _titles(bench: Bench, place: Path, line: tuple[str, ...], host: str) -> Iterator[Fault]:
    """Look at the process list while a command and its children run."""
    store = f"http://me:{SECRET}@{host}"
    process = bench.start(*line, "--tracking", store, folder=place)
    seen: list[tuple[float, str]] = []
    started = time.monotonic()

    def watch() -> None:
        while process.poll() is None:
            for pid in (process.pid, *_children(process.pid)):
                title = _title(pid)
                if SECRET in title:
                    seen.append((time.monotonic() - started, title))
            time.sleep(0.05)

    watcher = threading.Thread(target=watch)
    watcher.start()
    output, errors = process.communicate(timeout=120)
    elapsed = time.monotonic() - started
    watcher.join()
    # An interpreter takes a moment to start; what it was given stands in the list until then.
    if late := [title for moment, title in seen if moment > max(1.5, elapsed / 2)]:
        yield Fault("secret", f"process list: {late[0][:200]}")
    if SECRET in output + errors:
        yield Fault("secret", "printed")


def _children(pid: int) -> list[int]:
    try:
        text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    except OSError:
        return []
    return [each for child in map(int, text.split()) for each in (child, *_children(child))]


def _title(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


SECRETS = FaultClass(
    name="secrets", title="secrets in URIs and variables", tries=200, sample=8, provoke=_provoke
)
