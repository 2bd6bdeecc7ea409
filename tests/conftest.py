"""Fixtures that several folders of tests share."""

import os

# Before torch is loaded: the workers share the cores, and small networks gain nothing from several threads.
os.environ.setdefault("OMP_NUM_THREADS", "1")

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from bench.core import secrets
from bench.core.record import Record
from tests import records, shortened
from tests.browser import ARGUMENTS, CHROMIUM

# Fewer examples than Hypothesis' hundred, which `--hypothesis-profile=default` brings back.
# A busy machine fails no test.
hypothesis.settings.register_profile(
    "quick", max_examples=40, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("quick")


@pytest.fixture(autouse=True)
def _no_secrets_of_other_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(secrets, "_known", {})


@pytest.fixture(scope="session", autouse=True)
def _extra_checks_when_asked() -> Iterator[None]:
    """Extra checks take longer than most tests: only `escalate=True` runs them, or `--suspicious`."""
    with pytest.MonkeyPatch.context() as patch:
        shortened.extra_checks_when_asked(patch)
        yield


@pytest.fixture
def make_record() -> Callable[..., Record]:
    """`records.make_record`: a valid record with some fields changed."""
    return records.make_record


@pytest.fixture
def write_record() -> Callable[..., Path]:
    """`records.write_record`: put a record and its arrays into a folder."""
    return records.write_record


@pytest.fixture
def short_autoattack(monkeypatch: pytest.MonkeyPatch) -> None:
    """AutoAttack with fewer iterations."""
    shortened.shorten_autoattack(monkeypatch)


@pytest.fixture
def still_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trainings without the standard training that they are timed against."""
    shortened.stop_clock(monkeypatch)


@pytest.fixture
def blank_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures with nothing on them."""
    shortened.blank_pictures(monkeypatch)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """A browser without windows, for the tests of one module."""
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=str(CHROMIUM), args=ARGUMENTS)
        yield browser
        browser.close()
