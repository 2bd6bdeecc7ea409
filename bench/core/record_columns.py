"""A record as one row: its parameters, scores and tags by name, as tables show them."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from bench.core.keys import safe_keys
from bench.core.record import Record, Value
from bench.core.standing import standing

if TYPE_CHECKING:
    import pandas


def frame(records: Iterable[Record]) -> "pandas.DataFrame":
    """One row for each record, in columns named as `mlflow.search_runs` does: `metrics.…`, `params.…`, `tags.…`.

    The index is the record's id. Numbers stay numbers; MLflow has parameters as text.
    """
    import pandas

    chosen = list(records)
    return pandas.DataFrame(map(_row, chosen), index=[record.id for record in chosen])


def _row(record: Record) -> dict[str, Value]:
    groups: dict[str, Mapping[str, Value]] = {
        "tags": tags(record),
        "params": params(record),
        "metrics": scores(record),
    }
    return {
        f"{group}.{key}": value
        for group, values in groups.items()
        for key, value in safe_keys(values).items()
    }


def tags(record: Record) -> dict[str, str]:
    """What a record is about, and its alarms, as text."""
    raised = [alarm.name for alarm in record.alarms if alarm.raised]
    stands = standing(record)
    unknown = [alarm.name for alarm in record.alarms if alarm.raised is None]
    undefined = [name for name, score in record.metrics.items() if score.value is None]
    lists = {"alarms_not_checked": unknown, "undefined_scores": undefined}
    return {
        "role": "final",
        "bench.run": record.provenance.run,
        "bench.record": record.id,
        "schema_version": record.schema_version,
        "defense": record.defense.name,
        "model": record.model,
        "feature_site": record.feature_site,
        "dataset": record.dataset.name,
        "dataset_fingerprint": record.dataset.fingerprint,
        "evaluated_fingerprint": record.dataset.evaluated_fingerprint,
        "threat": f"{record.threat.norm}:{record.threat.eps}",
        "battery": record.battery.name,
        "battery_version": record.battery.version,
        "seed": str(record.seed),
        "hardware": ", ".join(f"{name}: {value}" for name, value in record.provenance.hardware.items()),
        "alarms": ", ".join(raised) or "none",
        **({"in_doubt": str(stands.in_doubt)} if stands.raised else {}),
        **({"alarms_answered": stands.answer} if stands.raised and stands.answer else {}),
        **{name: ", ".join(names) for name, names in lists.items() if names},
        **({"dirty": str(record.provenance.dirty)} if record.provenance.dirty is not None else {}),
    }


def choices(record: Record) -> dict[str, Value]:
    """What a record was made with, beside the hyper-parameters of the defense."""
    ours: dict[str, Value] = {
        "defense": record.defense.name,
        "model": record.model,
        "dataset": record.dataset.name,
        "threat": f"{record.threat.norm}:{record.threat.eps}",
        "battery": f"{record.battery.name} {record.battery.version}",
        "seed": record.seed,
        "evaluated_size": record.dataset.evaluated_size,
        "parameters": record.parameters,
    }
    if record.training:
        ours |= {
            "epochs": record.training.epochs,
            "epoch_of_weights": record.training.epoch_of_weights,
            "precision": record.training.precision,
            **{f"recipe/{name}": value for name, value in record.training.recipe.items()},
        }
    return ours


def params(record: Record) -> dict[str, Value]:
    """The choices behind a record, hyper-parameters among them."""
    ours, theirs = choices(record), record.defense.hyperparameters.items()
    return {**ours, **{f"defense/{name}" if name in ours else name: value for name, value in theirs}}


def scores(record: Record) -> dict[str, float]:
    """Every score with the ends of its interval, and the cost."""
    values: dict[str, float | None] = {}
    for name, score in record.metrics.items():
        values |= {name: score.value, f"{name}.low": score.low, f"{name}.high": score.high}
    cost = record.cost.model_dump(exclude={"seconds_by_metric", "passes_by_metric"})
    values |= {f"cost/{name}": value for name, value in cost.items()}
    return {name: float(value) for name, value in values.items() if value is not None}
