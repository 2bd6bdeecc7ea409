"""The board and the entry that a record belongs to, so that pages and tracking name them alike."""

from typing import Any

from bench.core.limits import exact_number
from bench.core.names import dataset_label, short_hash, slug
from bench.core.record import Record


def entry_identity(record: Record) -> dict[str, Any]:
    """What makes two records seeds of one entry: everything but the seed, as plain JSON.

    Of a network that was trained elsewhere only the weights and the code are known, so others are another entry.
    """
    training = record.training
    weights = record.files.get("weights") if training is None else None
    return {
        **({"network": network} if (network := foreign_network(record)) else {}),
        "defense": record.defense.name,
        "hyperparameters": {key: _plain(value) for key, value in record.defense.hyperparameters.items()},
        "model": record.model,
        "parameters": record.parameters,
        "recipe": {key: _plain(value) for key, value in training.recipe.items()} if training else None,
        "epochs": training.epochs if training else None,
        "precision": training.precision if training else None,
        "weights": weights.sha256 if weights else None,
        "board": board_identity(record),
    }


def entry_page(record: Record) -> str:
    """File name of the page of a record's entry, without suffix."""
    return f"{slug(record.defense.name)}-{slug(record.model)}-{short_hash(entry_identity(record))}"


def foreign_network(record: Record) -> dict[str, str]:
    """The loader of a network that was trained elsewhere, and the digits of what it answers, as far as known."""
    config = record.provenance.config if record.training is None else {}
    return {key: str(config[key]) for key in ("loader", "network") if config.get(key)}


def board_identity(record: Record) -> dict[str, Any]:
    """What records must share to be compared on one board, as plain JSON."""
    return {
        "dataset": dataset_label(record.dataset.name),
        "fingerprint": record.dataset.fingerprint,
        "evaluated": record.dataset.evaluated_fingerprint,
        "norm": record.threat.norm,
        "eps": str(exact_number(record.threat.eps)),
        "battery": record.battery.name,
        "version": record.battery.version,
    }


def _plain(value: Any) -> Any:
    # 1 and 1.0 are one setting, whichever way YAML or a search wrote it.
    return int(value) if isinstance(value, float) and value.is_integer() else value
