"""Fixtures that several folders of tests share."""

from collections.abc import Callable
from pathlib import Path

import pytest

from bench.core.record import Record
from tests import records


@pytest.fixture
def make_record() -> Callable[..., Record]:
    """`records.make_record`: a valid record with some fields changed."""
    return records.make_record


@pytest.fixture
def write_record() -> Callable[..., Path]:
    """`records.write_record`: put a record and its arrays into a folder."""
    return records.write_record
