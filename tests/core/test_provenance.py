"""Where a number comes from."""

import subprocess
from pathlib import Path

import pytest

from bench.core import provenance

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="the tests do not run in a checkout")
def test_the_commit_is_that_of_the_checkout() -> None:
    head = subprocess.run(
        ["git", "-C", ROOT, "rev-parse", "HEAD"], capture_output=True, text=True, check=True
    )
    commit, dirty = provenance.commit()
    assert commit == head.stdout.strip()
    assert dirty is not None
