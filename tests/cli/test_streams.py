"""Results on standard output, whatever its encoding."""

import io
import json
import sys

import pytest

from bench.cli.streams import prepare_streams, print_json, print_result


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8"])
def test_json_is_the_same_in_every_encoding(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    value = {"threat": "ℓ∞, ε = 0.1", "message": "Größe\x1b[31m", "n": 3}
    content = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(content, encoding=encoding))
    print_json(value)
    sys.stdout.flush()
    assert content.getvalue().isascii()
    assert json.loads(content.getvalue()) == value


def test_text_that_the_encoding_lacks_is_escaped(monkeypatch: pytest.MonkeyPatch) -> None:
    content = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(content, encoding="ascii"))
    prepare_streams()
    print_result("ℓ∞")
    sys.stdout.flush()
    assert content.getvalue() == b"\\u2113\\u221e\n"


def test_a_closed_stream_takes_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    prepare_streams()
    print_result("ℓ∞")
    sys.stdout.close()
