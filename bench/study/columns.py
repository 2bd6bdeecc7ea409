"""The columns of a table study: scores of metrics, and attacks at their own ε."""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from bench.attacks import ATTACKS, Attack
from bench.charts.words import attack_title
from bench.core.errors import UserError, unknown_name
from bench.core.names import identity, is_accuracy
from bench.core.record import Value, describe
from bench.core.threat import Threat
from bench.evaluation.battery import Battery, make_battery, select
from metrics import METRICS
from metrics.accuracy.robust_accuracy import RobustAccuracy
from metrics.base import Metric
from metrics.evaluation import Arrays, Evaluation

ATTACK_AT = re.compile(r"(?P<attack>[^@\s]+)@(?P<threat>\S+)")


class AttackSettings(BaseModel):
    """An attack of a study, as changes of a built-in attack.

    Attributes:
        like: the built-in attack; by default the one of the same name.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    like: str | None = None
    steps: Annotated[int, Field(ge=1)] | None = None
    step_size: Literal["auto", "paper"] | Annotated[float, Field(gt=0)] | None = None
    loss: Literal["ce", "margin", "dlr"] | None = None
    random_start: bool | None = None
    restarts: Annotated[int, Field(ge=1)] | None = None

    @classmethod
    def make(cls, name: str, values: Any) -> Attack:
        """Make the attack called `name` from the changes in a study file.

        Raises:
            UserError: for an unknown key, a bad value, or an attack that does not exist.
        """
        if not isinstance(values, dict):
            raise UserError(f"expected settings such as {{steps: 10, step_size: 0.1}}, got {values!r}")
        for key in values:
            if key not in cls.model_fields:
                raise unknown_name("attack setting", str(key), cls.model_fields)
        try:
            settings = cls.model_validate(values)
        except ValidationError as error:
            raise UserError(describe(error)) from None
        like = settings.like or name
        if like not in ATTACKS:
            raise unknown_name("attack", like, ATTACKS)
        return replace(ATTACKS[like], name=name, **settings.model_dump(exclude={"like"}, exclude_none=True))


class Column(BaseModel):
    """One column.

    Attributes:
        name: name of the score, or ATTACK@ε.
        title: heading; "" for the title of the score.
        metric: the metric that gives the score; "" for ATTACK@ε.
        attack, threat: of ATTACK@ε.
    """

    model_config = ConfigDict(frozen=True, arbitrary_types_allowed=True)

    name: str
    title: str = ""
    metric: str = ""
    attack: Attack | None = None
    threat: Threat | None = None

    @property
    def percent(self) -> bool:
        """Whether the page and the paper's numbers are in per cent."""
        return self.attack is not None or is_accuracy(self.name)


class AttackAt(RobustAccuracy):
    """Share of the attacked test images that stay correct under one attack at its own ε.

    Args:
        name: name of the score, such as "bim@0.1".
        attack: the attack.
        threat: norm and ε, in place of the evaluation's threat.
    """

    def __init__(self, name: str, attack: Attack, threat: Threat) -> None:
        self.name, self.attack, self.threat = name, attack, threat

    def settings(self) -> dict[str, Value]:
        """Settings and threat of the attack."""
        return {**super().settings(), "threat": str(self.threat)}

    def measure(self, evaluation: Evaluation) -> Arrays:
        """Attack as `RobustAccuracy` does, at this metric's threat."""
        evaluated = evaluation.threat
        evaluation.threat = self.threat
        try:
            return super().measure(evaluation)
        finally:
            evaluation.threat = evaluated


def parse_column(entry: Any, attacks: Mapping[str, Attack]) -> Column:
    """Parse a column from its name, or from a mapping with `name` and optional `title` and `metric`.

    Args:
        entry: as in the study file.
        attacks: the study's attacks by name; they take precedence over the built-in ones.

    Raises:
        UserError: for an unknown key, metric or attack, or an ε that is not a number.
    """
    values = {"name": entry} if isinstance(entry, str) else entry
    if not isinstance(values, dict) or not isinstance(values.get("name"), str):
        raise UserError(f"expected a name such as clean_accuracy or pgd20@8/255, got {entry!r}")
    for key in values:
        if key not in ("name", "title", "metric"):
            raise unknown_name("key of a column", str(key), ("name", "title", "metric"))
    name, title = str(values["name"]), str(values.get("title", ""))
    if match := ATTACK_AT.fullmatch(name):
        attack = attacks.get(match["attack"]) or ATTACKS.get(match["attack"])
        if attack is None:
            raise unknown_name("attack", match["attack"], {*attacks, *ATTACKS})
        threat = Threat.parse(match["threat"])
        return Column(
            name=name,
            title=title or f"{attack_title(attack.name)} {match['threat']}",
            attack=attack,
            threat=threat,
        )
    metric = values.get("metric")
    return Column(name=name, title=title, metric=str(metric) if metric else metric_of(name))


def metric_of(score: str) -> str:
    """The registered metric that gives a score: the longest name that begins the score's name.

    Raises:
        UserError: when no metric's name begins the score's.
    """
    names = METRICS.names()
    beginnings = [name for name in names if score.startswith(name)]
    if beginnings:
        return max(beginnings, key=len)
    head = score.split("/")[0]
    families = [name for name in names if name.split("/")[0].split("_")[0] == head.split("_")[0]]
    if score not in names and families:
        raise UserError(
            f"{unknown_name('score', score, names)}; if a metric gives it, write "
            f"{{name: {score}, metric: {families[0]}}}"
        )
    raise unknown_name("metric or score", score, names)


def battery_of(
    columns: tuple[Column, ...], charts: tuple[str, ...], name: str, images: int | None
) -> Battery:
    """Make a battery of just the metrics that a table needs.

    Args:
        columns: the table's columns.
        charts: metrics that are measured for their figures.
        name: name of the battery that gives the sizes of the metrics.
        images: number of attacked test images; None is that battery's.
    """
    named = dict.fromkeys([*(column.metric for column in columns if column.metric), *charts])
    base = make_battery(name)
    attacks = tuple(
        AttackAt(column.name, column.attack, column.threat)
        for column in columns
        if column.attack is not None and column.threat is not None
    )
    metrics = (*_select(base, list(named)), *attacks)
    digits = identity({"metrics": {metric.name: metric.settings() for metric in metrics}, "like": name})
    return replace(
        base,
        name=f"study-{digits}",
        images=images or base.images,
        metrics=metrics,
        summary="a study's table",
    )


def metrics_of(names: tuple[str, ...], battery: str) -> tuple[Metric, ...]:
    """The named metrics and the metrics that they need, with the sizes of a battery.

    Raises:
        UserError: for an unknown metric or battery.
    """
    return _select(make_battery(battery), list(names))


def _select(battery: Battery, names: list[str]) -> tuple[Metric, ...]:
    """The named metrics and the metrics that they need; those of the battery first, in its order."""
    found: dict[str, Metric] = {}
    for name in names:
        for metric in select(battery, [name]).metrics:
            found.setdefault(metric.name, metric)
    places = {metric.name: place for place, metric in enumerate(battery.metrics)}
    return tuple(sorted(found.values(), key=lambda metric: places.get(metric.name, len(places))))
