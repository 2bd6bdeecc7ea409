"""Do the cells of a sweep as tasks of a Ray cluster, whose nodes share the folder of the runs."""

import importlib
import json
import os
import secrets
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from math import ceil
from pathlib import Path
from typing import Any

from bench.core.errors import UserError
from bench.core.progress import Progress
from bench.evaluation.battery import Battery
from bench.runs.config import RunConfig
from bench.runs.job import STORAGE_VARIABLE
from bench.sweep.cells import FOLDER, Board, Cell, Request, make_cells
from bench.sweep.leases import Leases
from bench.sweep.work import Worker, run_cell
from bench.tracking.settings import ENVIRONMENT
from bench.training.storage import is_shared
from bench.version import __version__

#: How often Ray starts a task again whose process or machine has died.
RETRIES = 5
#: Seconds between two looks at the tasks.
PAUSE = 0.5
#: Seconds that a cluster may take to answer, and tries to be let in, one a second, of which Ray makes 20 itself.
CONNECT = 5.0
TRIES = 5


@contextmanager
def cluster(address: str | None, jobs: int) -> Iterator[Any]:
    """Ray, in touch with a cluster while the block runs.

    Args:
        address: of a cluster; None takes that of `RAY_ADDRESS`, else starts one here, on loopback, with a token.
        jobs: processors of a cluster that is started here.

    Raises:
        UserError: when Ray is not installed or its cluster cannot be reached.
    """
    address = address or os.environ.get("RAY_ADDRESS")
    if address:
        os.environ.setdefault("RAY_NUM_REDIS_GET_RETRIES", str(TRIES))
    else:
        _stay_alone()
    ray = _load()
    try:
        _connect(ray, address, jobs)
        yield ray
    finally:
        ray.shutdown()


def run_on_ray(
    ray: Any,
    cells: Sequence[Cell],
    *,
    gpus_per_cell: float,
    earlier: Mapping[str, str],
    retry: int,
    patience: float,
    look: Callable[[], None],
) -> None:
    """Do what is left of a sweep, one task for each cell; a task that is started again repeats nothing.

    Args:
        ray: from `cluster`.
        cells: all of the sweep.
        gpus_per_cell: devices of a cell on a cluster that has any.
        earlier, retry: as for `bench.sweep.work.Worker`.
        patience: as for `bench.sweep.leases.Leases`.
        look: called twice a second.

    Raises:
        UserError: when a node cannot do cells, or a task of Ray failed.
    """
    gpus = gpus_per_cell if ray.cluster_resources().get("GPU") else 0
    task = ray.remote(num_cpus=1, num_gpus=gpus, max_retries=RETRIES)(_do)
    place = {"folder": str(Path.cwd()), "version": __version__, "paths": _paths(), "secrets": _secrets()}
    crowd = _crowd(cells, _places(ray.cluster_resources(), gpus))
    pending: dict[str, list[Any]] = {}
    for cell in cells:  # searches come first, so that their seeds can name them
        config = cell.request.config.model_dump_json(), cell.request.battery, cell.request.command
        pending[cell.key] = [
            task.options(name=cell.title).remote(
                config, cell.key, place, dict(earlier), retry, patience, *pending.get(cell.needs, [])
            )
            for _ in range(crowd.get(cell.key, 1))
        ]
    waiting = [reference for references in pending.values() for reference in references]
    while waiting:
        ready, waiting = ray.wait(waiting, num_returns=len(waiting), timeout=PAUSE)
        for reference in ready:
            _read(ray, reference)
        look()


def _stay_alone() -> None:
    """Keep a cluster that is started here on loopback, with a token that no file holds."""
    # Without it Ray takes the machine's address on Linux, even where it is told another one.
    os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
    if "RAY_AUTH_MODE" not in os.environ:
        os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}


def _places(resources: Mapping[str, float], gpus: float) -> int:
    """How many tasks a cluster does at once."""
    places = resources.get("CPU", 1)
    return int(min(places, resources["GPU"] / gpus) if gpus else places)


def _crowd(cells: Sequence[Cell], places: int) -> dict[str, int]:
    """How many tasks work on each search that several processes may share: together, they fill the cluster."""
    shared = [cell for cell in cells if cell.kind == "search" and is_shared(cell.job.storage)]
    return {cell.key: min(cell.job.trials, max(1, ceil(places / len(shared)))) for cell in shared}


def _secrets() -> dict[str, str]:
    """Addresses in this process's environment that may hold passwords; Ray's own channel alone carries them."""
    return {name: os.environ[name] for name in (STORAGE_VARIABLE, ENVIRONMENT["uri"]) if name in os.environ}


def _read(ray: Any, reference: Any) -> None:
    """Take the answer of a task that has ended."""
    try:
        refused = ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        raise UserError(
            f"a task of Ray failed: {' '.join(str(error.cause or error).split())[:300]}"
        ) from error
    except (
        ray.exceptions.RayError
    ):  # too many of its processes died; its cell is not done, which is said at the end
        return
    if refused:
        raise UserError(refused)


def _load() -> Any:
    # Ray sends usage figures home unless it is told not to, and warns about a change of its own defaults.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        return importlib.import_module("ray")
    except ImportError:
        raise UserError(
            "--executor ray needs Ray, which is not installed; `pip install 'regionbench[ray]'`"
        ) from None


def _connect(ray: Any, address: str | None, jobs: int) -> None:
    if address and address != "auto" and "://" not in address:
        _check_reachable(address)
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    with tempfile.TemporaryFile() as printed:
        try:
            if address:
                with _printing_to(printed.fileno()):
                    ray.init(address=address, **quiet)
            else:
                ray.init(num_cpus=jobs, include_dashboard=False, **quiet)
        except Exception as error:  # Ray has no common class for these
            printed.seek(0)
            reason = " ".join(str(error).split())[:300]
            if not address:
                raise UserError(
                    f"Ray cannot start here ({reason}); is the machine too busy for it?"
                ) from error
            where = f"the Ray cluster at {address}"
            if b"AuthToken" in printed.read() or "token" in str(error):
                raise UserError(
                    f"{where} lets nobody in without its token; set RAY_AUTH_MODE=token here, and "
                    f"RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH to that of the cluster"
                ) from error
            raise UserError(
                f"{where} cannot be used ({reason}); is it running, with the same version as here?"
            ) from error


@contextmanager
def _printing_to(descriptor: int) -> Iterator[None]:
    """Have what Ray's libraries print on standard error go elsewhere while the block runs."""
    sys.stderr.flush()
    before = os.dup(2)
    os.dup2(descriptor, 2)
    try:
        yield
    finally:
        sys.stderr.flush()
        os.dup2(before, 2)
        os.close(before)


def _check_reachable(address: str) -> None:
    """Ray itself tries for minutes."""
    host, colon, port = address.rpartition(":")
    if not colon or not port.isascii() or not port.isdigit():
        raise UserError(f"--ray-address: expected HOST:PORT or auto, got {address!r}")
    try:
        socket.create_connection((host, int(port)), timeout=CONNECT).close()
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(
            f"the Ray cluster at {address} cannot be reached ({reason}); is it running?"
        ) from error


def _paths() -> list[str]:
    """Folders of this process's modules, where tasks find the same plug-ins."""
    return [path for path in sys.path if path and Path(path).is_dir()]


def _do(
    request: tuple[str, Battery | None, str],
    key: str,
    place: Mapping[str, Any],
    earlier: Mapping[str, str],
    retry: int,
    patience: float,
    *after: Any,
) -> str:
    """Do one cell in a process of Ray's; "" or why no cell can be done there."""
    if __version__ != place["version"]:
        return f"{socket.gethostname()} has regionbench {__version__}, and the sweep {place['version']}"
    if not Path(place["folder"]).is_dir():
        return f"{socket.gethostname()} has no folder {place['folder']}; Ray's nodes need a shared one"
    os.chdir(place["folder"])
    os.environ.update(place["secrets"])
    sys.path += [path for path in place["paths"] if path not in sys.path]
    from bench.tracking import NullTracker, Tracker, load_settings

    config, battery, command = request
    cells = make_cells([Request(RunConfig.make(json.loads(config)), battery, command)])
    out = cells[0].job.config.out
    leases, progress = Leases(out / FOLDER, patience), _Printed()
    settings = load_settings(cells[0].job.config.tracking)
    tracker = Tracker(settings, progress.say) if settings else NullTracker()
    worker = Worker(
        cells,
        {key},
        Board(cells, out, leases, progress),
        leases,
        lambda cell: run_cell(cell, tracker, progress),
        progress,
        earlier,
        retry,
    )
    try:
        worker.work()
    finally:
        tracker.close()
    return ""


class _Printed(Progress):
    """Lines that Ray's dashboard shows in the log of a task."""

    def say(self, line: str) -> None:
        print(line, flush=True)
