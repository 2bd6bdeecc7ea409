"""The sources of plug-ins: found, kept as they were when they were loaded, and copied without secrets."""

import hashlib
import json
import sys
from pathlib import Path

import pytest
from torch import nn

import bench
from bench.core import secrets
from bench.core.foreign_code import register
from bench.core.plugin_sources import own_classes, sources_of, write_sources
from bench.core.record import load_record
from bench.core.registry import load_object
from bench.data import load
from metrics.accuracy.clean_accuracy import CleanAccuracy

METRIC = '''
import numpy as np
from metrics import Metric

class Zero(Metric):
    """Nothing."""
    name = "zero"
    def measure(self, evaluation):
        return {"zero": np.zeros(1)}
    def reduce(self, arrays):
        return {"zero": self.score(0.0)}
'''
NETWORK = """
from torch import nn
class Flat(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Flatten(), nn.Linear(64, 10))
"""


@pytest.fixture
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a metric and a network, which no test before has imported."""
    for name, text in (("source_metric", METRIC), ("source_network", NETWORK)):
        (tmp_path / f"{name}.py").write_text(text)
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setattr("bench.core.foreign_code._contents", {})
    monkeypatch.setattr("bench.core.foreign_code._plugins", {})
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_record_names_and_copies_the_sources_of_its_plug_ins(modules: Path) -> None:
    network = load_object("source_network:Flat", "loader")()
    asked = ["clean_accuracy", "source_metric:Zero"]
    digits = load("digits", train_size=20, test_size=10)
    (modules / "source_network.py").write_text("# edited while it runs")
    bench.evaluate(network, digits, "linf:0.1", metrics=asked, out=modules / "out")
    record = load_record(modules / "out", check_files=True)
    found = {source.part: source for source in record.provenance.sources}
    assert found.keys() == {"network", "metric zero"}
    assert found["network"].name == "source_network:Flat"
    for part, file, text in (
        ("network", "source_network.py", NETWORK),
        ("metric zero", "source_metric.py", METRIC),
    ):
        assert (modules / "out" / "sources" / file).read_text() == text
        assert (found[part].file, found[part].sha256) == (file, hashlib.sha256(text.encode()).hexdigest())
        assert record.files[f"source/{file}"].sha256 == found[part].sha256
    assert str(modules) not in json.dumps(record.model_dump(mode="json"))


def test_parts_of_ours_and_of_installed_packages_have_no_sources() -> None:
    assert sources_of([("metric", CleanAccuracy()), ("network", nn.Linear(1, 1)), ("data", load)]) == []
    assert own_classes([pytest.Item, nn.Linear(1, 1)])[1:] == []


def test_a_source_with_a_secret_is_not_copied_and_other_files_of_one_name_are(
    modules: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    metric = load_object("source_metric:Zero", "metric")
    register(metric, "source_metric", "metric")
    (one,) = sources_of([("metric zero", metric)])
    other = type(one)("network", "x:y", one.file, b"y = 1")
    written = write_sources(modules / "out", [one, other, one])
    assert written.keys() == {"source/source_metric.py", f"source/{other.sha256[:8]}-source_metric.py"}
    monkeypatch.setattr(secrets, "_known", {"correct-horse-battery-1": "***"})
    secret = type(one)("network", "x:y", "z.py", b"token = 'correct-horse-battery-1'")
    assert write_sources(modules / "more", [secret]) == {}
