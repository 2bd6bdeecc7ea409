"""The trials of a search: which comes next and, where several processes search, which of them does it.

A search has a number of settings to try, each with a number from 0. In a study that processes share, each number is
enqueued with its first attempt, and a process takes a waiting one; the storage lets only one process do so.

A process that ends fails its trial, and the same number waits again with the same setting. One that dies is silent:
its trial fails when it has shown no life for a while, by the clock of the process that looks. What two processes
enqueue at once counts once: the first in the study's order.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState

from bench.core.errors import UserError
from bench.core.randomness import derive_seed
from bench.training.storage import is_of_storage
from defenses.base import Defense
from defenses.space import Choice, LogUniform, Range

#: Seconds without a sign of life after which a trial is taken over, and how many signs there are in that time.
PATIENCE = 60.0
SHARE = 6
#: Seconds between two looks at what other processes do.
PAUSE = 1.0
#: Processes that may die over one setting before it counts as failed.
MOST_DEATHS = 3
#: Attributes of a trial: its number and attempt, the processes that died over it, a sign of life, how it was left.
NUMBER, ATTEMPT, DEATHS, BEAT, LEFT = "number", "attempt", "deaths", "beat", "left"
STOPPED, SILENT = "stopped", "silent"

#: Every argument that Optuna's defaults would decide, so that another version of Optuna moves no search.
SAMPLER: dict[str, Any] = {
    "n_startup_trials": 10,
    "n_ei_candidates": 24,
    "multivariate": True,
    "group": False,
    "constant_liar": True,
}
PRUNER = {"n_startup_trials": 3, "n_warmup_steps": 3}

Sampler = Callable[[int], optuna.samplers.BaseSampler]


def number_of(trial: FrozenTrial | optuna.Trial) -> int:
    """The number of a trial, from 0, which a further attempt keeps."""
    return int(trial.user_attrs.get(NUMBER, trial.number))


@dataclass
class Trials:
    """The trials of a study that one process works on.

    Attributes:
        study: that holds them.
        count: how many settings are tried.
        sampler: makes the sampler of a trial from its number: its state is not stored, and must not depend on how
            often the search was interrupted, or on which process asks.
    """

    study: optuna.Study
    count: int
    sampler: Sampler

    def all(self) -> list[FrozenTrial]:
        """Every trial that was begun, by its number."""
        return self.study.get_trials(deepcopy=False)

    def ended(self) -> list[FrozenTrial]:
        """Those that are over."""
        return [trial for trial in self.all() if trial.state.is_finished()]

    def take(self, wait: Callable[[str], None]) -> optuna.Trial | None:
        """The trial that the last process left unfinished, else a new one, else None.

        Args:
            wait: told once what is waited for.
        """
        unfinished = self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        number = unfinished[0].number if unfinished else len(self.ended())
        if not unfinished and number >= self.count:
            return None
        self.study.sampler = self.sampler(number)
        return optuna.Trial(self.study, unfinished[0]._trial_id) if unfinished else self.study.ask()

    @contextmanager
    def held(self, trial: optuna.Trial) -> Iterator[None]:
        """Show others that a trial is worked on while the block runs."""
        yield


@dataclass
class SharedTrials(Trials):
    """The trials of a study that several processes work on.

    Attributes:
        storage: of the study.
        first: values of the first trial.
        patience: seconds without a sign of life after which a trial is taken over.
    """

    storage: BaseStorage = field(kw_only=True)
    first: dict[str, Any] = field(kw_only=True)
    patience: float = field(default=PATIENCE, kw_only=True)
    _seen: dict[int, tuple[Any, float]] = field(default_factory=dict, init=False)

    def all(self) -> list[FrozenTrial]:
        """The latest attempt of every number, waiting ones among them."""
        latest: dict[int, FrozenTrial] = {}
        for trial in self.study.get_trials(deepcopy=False):
            before = latest.get(number_of(trial))
            if before is None or _attempt(trial) > _attempt(before):
                latest[number_of(trial)] = trial
        return [latest[number] for number in sorted(latest)]

    def ended(self) -> list[FrozenTrial]:
        """Those that are over, and will not be tried again."""
        return [trial for trial in self.all() if trial.state.is_finished() and not _comes_again(trial)]

    def take(self, wait: Callable[[str], None]) -> optuna.Trial | None:
        """A trial that nobody works on; None when all are over. It waits while others may leave theirs."""
        waited = False
        while True:
            trials = self.all()
            for trial in trials:
                if trial.state == TrialState.WAITING and self._claim(trial):
                    self.study.sampler = self.sampler(number_of(trial))
                    return optuna.Trial(self.study, trial._trial_id)
            busy = [trial for trial in trials if trial.state == TrialState.RUNNING]
            again = [trial for trial in trials if _comes_again(trial)]
            if not busy and not again:
                return None
            for trial in busy:
                if self._is_silent(trial):
                    self._leave(trial._trial_id, SILENT)
            for trial in again:
                self._enqueue(trial.params, number_of(trial), _attempt(trial) + 1, _deaths(trial))
            if busy and not again:
                if not waited:
                    wait(f"waiting for {len(busy)} trials of other processes")
                waited = True
                time.sleep(min(PAUSE, self.patience / SHARE))

    @contextmanager
    def held(self, trial: optuna.Trial) -> Iterator[None]:
        """Give signs of life while the block runs; a block that raises leaves the trial to others."""
        ended = threading.Event()
        thread = threading.Thread(target=self._beat, args=(trial._trial_id, ended), name="trial", daemon=True)
        thread.start()
        try:
            yield
        except BaseException:
            ended.set()
            with suppress(Exception):  # the storage may be the reason
                self._leave(trial._trial_id, STOPPED)
            raise
        finally:
            ended.set()
            thread.join()

    def enqueue_all(self) -> None:
        """Enqueue every number that is missing; processes do it one after another, where they can lock."""
        known = {number_of(trial) for trial in self.study.get_trials(deepcopy=False)}
        for number in range(self.count):
            if number not in known:
                self._enqueue({} if number else self.first, number, 0, 0)

    def _enqueue(self, values: dict[str, Any], number: int, attempt: int, deaths: int) -> None:
        self.study.enqueue_trial(values, user_attrs={NUMBER: number, ATTEMPT: attempt, DEATHS: deaths})

    def _claim(self, trial: FrozenTrial) -> bool:
        try:
            return self.storage.set_trial_state_values(trial._trial_id, TrialState.RUNNING)
        except UpdateFinishedTrialError:
            return False

    def _is_silent(self, trial: FrozenTrial) -> bool:
        now, beat = time.monotonic(), trial.user_attrs.get(BEAT)
        seen, since = self._seen.get(trial._trial_id, (None, 0.0))
        if not since or seen != beat:
            self._seen[trial._trial_id] = (beat, now)
            return False
        return now - since > self.patience

    def _leave(self, trial_id: int, how: str) -> None:
        with suppress(UpdateFinishedTrialError):
            self.storage.set_trial_user_attr(trial_id, LEFT, how)
            self.storage.set_trial_state_values(trial_id, TrialState.FAIL)

    def _beat(self, trial_id: int, ended: threading.Event) -> None:
        beats = 0
        while not ended.wait(self.patience / SHARE):
            beats += 1
            try:
                self.storage.set_trial_user_attr(trial_id, BEAT, beats)
            except UpdateFinishedTrialError:  # taken over, which the next report says
                break
            except Exception as error:
                if not is_of_storage(error):  # one that cannot be reached may come back
                    break
        if isinstance(self.storage, optuna.storages.RDBStorage):
            self.storage.remove_session()


def _attempt(trial: FrozenTrial) -> int:
    return int(trial.user_attrs.get(ATTEMPT, 0))


def _deaths(trial: FrozenTrial) -> int:
    """Processes that have died over a number, this attempt's among them."""
    return int(trial.user_attrs.get(DEATHS, 0)) + (trial.user_attrs.get(LEFT) == SILENT)


def _comes_again(trial: FrozenTrial) -> bool:
    left = trial.state == TrialState.FAIL and LEFT in trial.user_attrs
    return left and _deaths(trial) < MOST_DEATHS


def make_sampler(number: int) -> optuna.samplers.TPESampler:
    """The sampler of the trial with a number."""
    return optuna.samplers.TPESampler(seed=derive_seed("sampler", number) % 2**32, **SAMPLER)


def make_pruner() -> optuna.pruners.MedianPruner:
    """It stops a trial below the median of all processes' trials."""
    return optuna.pruners.MedianPruner(**PRUNER)


def suggest(trial: optuna.Trial, name: str, search_range: Range, defense: type[Defense]) -> Any:
    """The value that the sampler of a trial proposes for a hyper-parameter of a defense.

    Raises:
        UserError: when the default lies outside the range, so that it could not be the first trial.
    """
    if isinstance(search_range, Choice):
        return trial.suggest_categorical(name, list(search_range.values))
    default = defense.make({}).hyperparameters()[name]
    if (
        not search_range.low
        <= (default if isinstance(default, int | float) else search_range.low)
        <= search_range.high
    ):
        raise UserError(
            f"defense {defense.name}: the default of {name} ({default}) lies outside its search range "
            f"{search_range.low:g} … {search_range.high:g}"
        )
    log = isinstance(search_range, LogUniform)
    if isinstance(default, int) and not isinstance(default, bool):
        return trial.suggest_int(name, int(search_range.low), int(search_range.high), log=log)
    return trial.suggest_float(name, search_range.low, search_range.high, log=log)
