"""What was run, for the page of a study: settings, data, budget and hardware."""

from collections.abc import Sequence
from typing import Any

from bench.core.names import dataset_label
from bench.core.record import Record
from bench.study.correlation import CorrelationResult
from bench.study.spec import CorrelationStudy, TableStudy
from bench.study.table import TableResult
from leaderboards import text


def budget_facts(records: Sequence[Record]) -> dict[str, str]:
    """Time, hardware and versions behind a set of records."""
    if not records:
        return {}
    hardware = {
        str(about.get("gpu") or about.get("processor") or about.get("device"))
        for about in (record.provenance.hardware for record in records)
    }
    training = sum(record.cost.train_seconds or 0.0 for record in records)
    measuring = sum(record.cost.evaluate_seconds for record in records)
    return {
        "Training time": f"{text.duration(training)} in all, without validation and probes",
        "Measuring time": text.duration(measuring),
        "Hardware": ", ".join(sorted(hardware)),
        "Precision": ", ".join(sorted({record.training.precision for record in records if record.training})),
        "Commit": ", ".join(sorted({(record.provenance.commit or "unknown")[:12] for record in records})),
        "torch": ", ".join(
            sorted({record.provenance.versions.get("torch", "unknown") for record in records})
        ),
    }


def dataset_facts(study: CorrelationStudy, result: CorrelationResult) -> dict[str, dict[str, Any]]:
    """Images, threat, budget and candidates of each data set, as far as its trainings ended."""
    found: dict[str, dict[str, Any]] = {}
    for name, data in study.datasets.items():
        own = [each for each in result.networks if each.dataset == name]
        runs = {each.run for each in own}
        record = next((each for each in result.records if each.provenance.run in runs), None)
        found[name] = {
            "record": record,
            "subset": data.train_size is not None or data.test_size is not None,
            "least": data.least_accuracy,
            "epochs": data.epochs or study.epochs,
            "every": data.probe_every or study.probe_every,
            "batch_sizes": data.batch_sizes or study.batch_sizes,
            "seeds": data.seeds or study.seeds,
            "probed": len(own),
            "kept": sum(each.kept for each in own),
            "attacked": max((each.attacked for each in own), default=0),
        }
    return found


def image_sets(study: TableStudy, result: TableResult) -> list[str]:
    """The different sets of images behind a table, in one sentence each."""
    sentences: dict[str, None] = {}
    for row in result.rows:
        config = study.rows[row.name].config
        for record in row.records:
            data = record.dataset
            subset = ", a subset" if config.train_size or config.test_size else ""
            sentences[
                f"{dataset_label(data.name)}: {data.train_size:,} training and {data.test_size:,} test images"
                f"{subset}; attacks on {data.evaluated_size:,} of the test images"
            ] = None
    return list(sentences)


def row_settings(study: TableStudy) -> dict[str, str]:
    """Row → the options of its training that differ from the defaults."""
    return {
        name: " ".join(row.config.model_copy(update={"data_dir": None}).words())
        for name, row in study.rows.items()
    }
