"""The processes of `torchrun`: the first one runs, and the others take part in its trainings and attacks."""

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from bench.attacks.calls import Call, call_of
from bench.core.classifier import AnyClassifier
from bench.core.errors import UserError, first_line
from bench.core.guards import full_precision, random_state_kept
from bench.core.progress import Progress
from bench.core.torchrun import processes
from bench.models.weights import weights_of
from bench.training.exchange import gather, receive, send
from bench.training.loop import train
from bench.training.plan import Plan
from bench.training.ranks import dividing, together
from defenses.base import Defense
from metrics.evaluation import Helped, alone

#: Seconds in which an error that all processes meet has reached them all.
PATIENCE = 30.0
#: A process may wait for as long as another one searches or measures alone.
LONGEST = timedelta(days=100)
#: Keys of the store that processes share: the first one has ended, and a process has said why it ends.
ENDED, SAID = "regionbench/ended", "regionbench/said"

_store: dist.Store | None = None
_tasks = 0


def own_device(asked: str) -> str:
    """The device of this process, where the same was asked for in all."""
    if processes() > 1 and asked in ("auto", "cuda") and torch.cuda.is_available():
        return f"cuda:{os.environ['LOCAL_RANK']}"
    return asked


@contextmanager
def joined(device: str) -> Iterator[None]:
    """Connect the processes of `torchrun` while the block runs; nothing without it.

    Args:
        device: that the networks are trained on.
    """
    global _store
    if processes() == 1:
        yield
        return
    # The first optimizer imports this too. Imported beside a process group it keeps that group's threads alive,
    # and one that frees a tensor while Python ends aborts the process.
    import torch._dynamo  # noqa: F401

    backend = "nccl" if device.startswith("cuda") else "gloo"
    _store, rank, size = next(iter(dist.rendezvous("env://")))
    _store.set_timeout(timedelta(seconds=PATIENCE))
    dist.init_process_group(backend, store=_store, rank=rank, world_size=size, timeout=LONGEST)
    try:
        yield
        if not rank:
            send(None)
    except UserError as error:
        if rank:
            _say(str(error))
        raise
    finally:
        if not rank:
            _store.set(ENDED, "")
        with suppress(RuntimeError):
            dist.destroy_process_group()
        _store = None


@contextmanager
def shared_task(plan: Plan, defense: Defense, seed: int, thorough: bool) -> Iterator[None]:
    """Have the other processes train what the block trains.

    Raises:
        UserError: when not all processes fail where this one does.
    """
    task = {
        "data": plan.dataset.fingerprint,
        "hyperparameters": defense.hyperparameters(),
        "precision": plan.precision,
        "seed": seed,
        "thorough": thorough,
    }
    with _shared({"train": task}), together():
        yield


def helpers_of(network: AnyClassifier, images: Tensor) -> Helped:
    """Has the other processes make calls of attacks on the network that they serve, as `Evaluation.helped`.

    Args:
        network: in eval mode; one whose logits of the images [n, C, H, W] differ between two passes, or between
            processes that have the same weights, is attacked by this process alone: it draws random numbers pass
            after pass, or keeps something that is no weight.
    """
    if _store is None:
        return alone
    with torch.no_grad(), random_state_kept(), full_precision():
        if not torch.equal(network(images), network(images)):
            return alone
    weights = {name: value.cpu() for name, value in weights_of(network).items()}
    with _shared({"network": weights, "images": images}):
        if not _agree(network, images):
            return alone

    @contextmanager
    def helped(call: Call) -> Iterator[None]:
        with _shared({"call": call.values()}), dividing():
            yield

    return helped


@contextmanager
def _shared(task: dict[str, Any]) -> Iterator[None]:
    """Have the other processes do a task that the block is this process's share of; nothing without any."""
    if _store is None:
        yield
        return
    try:
        send(task)
        yield
    except Exception as error:
        if _store.check([SAID]):
            sys.exit(2)
        if _all_failed():
            raise
        raise UserError(f"the processes of torchrun are no longer together: {first_line(error)}") from error
    finally:
        _next_task()


def _agree(network: AnyClassifier, images: Tensor) -> bool:
    """Whether the network has the same logits in all processes, up to rounding."""
    with torch.no_grad(), random_state_kept(), full_precision():
        first, *others = gather(network(images))
    return all(torch.allclose(first, other, rtol=1e-4, atol=1e-5) for other in others)


def serve(network: AnyClassifier, plan: Plan | None = None) -> None:
    """Take part in the trainings and attacks of the first process until it ends.

    Args:
        network: that is attacked, on the device of this process; it gets the weights of the first process.
        plan: of the run, as this process resolved it; None where nothing is trained.
    """
    network.eval()
    while (task := _received()) is not None:
        try:
            if plan is not None and "train" in task:
                _train(plan, **task["train"])
            elif "network" in task:
                network.load_state_dict(task["network"], strict=False)
                _agree(network, task["images"])
            else:
                with dividing(), full_precision():
                    call_of(task["call"])(network, Progress())
        except Exception as error:
            if not _all_failed():
                _say(first_line(error))
                sys.exit(2)
        finally:
            _next_task()


def _train(
    plan: Plan, data: str, hyperparameters: dict[str, Any], precision: str, seed: int, thorough: bool
) -> None:
    if data != plan.dataset.fingerprint:
        raise UserError("the data are not those of the first process; give all the same")
    with together():
        train(
            plan.defense.make(hyperparameters),
            plan.classifier(seed),
            plan.dataset,
            plan.recipe,
            plan.threat,
            epochs=plan.epochs,
            seed=seed,
            precision=precision,
            thorough=thorough,
        )


def _received() -> Any:
    try:
        return receive()
    except RuntimeError:  # the first process is gone, and said why
        sys.exit(2)


def _next_task() -> None:
    global _tasks
    _tasks += 1


def _all_failed() -> bool:
    """Whether every process has failed in the present task, with an error that does not depend on the process."""
    assert _store is not None
    key, deadline = f"regionbench/failed/{_tasks}", time.monotonic() + PATIENCE
    failed = _store.add(key, 1)
    while failed < processes() and time.monotonic() < deadline:
        if _store.check([ENDED]):
            return True
        time.sleep(0.05)
        failed = _store.add(key, 0)
    return failed >= processes()


def _say(reason: str) -> None:
    """Say why this process ends, unless the first one ends as well and says it."""
    assert _store is not None
    deadline = time.monotonic() + PATIENCE
    while not _store.check([ENDED]):
        if time.monotonic() > deadline:
            if _store.add(SAID, 1) == 1:
                print(f"Error: process {os.environ['RANK']}: {reason}", file=sys.__stderr__, flush=True)
            return
        time.sleep(0.05)
