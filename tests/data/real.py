"""Real data files, for tests that run only where the environment points at them."""

import os
from pathlib import Path

import pytest

REAL = Path(os.environ.get("REGIONBENCH_DATA", ""))
real_data = pytest.mark.skipif("REGIONBENCH_DATA" not in os.environ, reason="REGIONBENCH_DATA is not set")
