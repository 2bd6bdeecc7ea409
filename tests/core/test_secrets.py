"""No secret leaves, whatever its URI looks like; and nothing else is lost."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.core.files import write_json
from bench.core.secrets import HIDDEN, hide, redact

SECRET = "S3cret-Pw_99"
#: Where a secret may stand in a URI, in valid ones and in those that no parser takes.
PLACES = [
    "http://me:{}@host:5000",
    "https://{}@host",
    "http://host:{}",
    "http://host:{}/path",
    "http://host:5000/#{}",
    "http://host:5000?key={}",
    "http://host:5000/?a=b&access_token={}",
    "http://me:a#{}@host",
    "http://me:a/{}@host:5000",
    "http://me:a?{}@host",
    "http://me:a@{}@host",
    "postgresql://me:{}@host/db",
    "postgresql://me:{}",
    "postgresql+psycopg2://me:x#{}@host:port/db",
    "mysql://host/db?password={}",
    "mssql://[::1]:{}/db",
    "ftp://me:{}@host/path",
    "s3://me:{}@bucket/path",
    "wasbs://container@account.net/x?sig={}",
    "sqlite:////a/b.db?key={}",
    "nonsense://{}@",
    "me:{}@host",
    "http:me:{}@host",
]


@pytest.mark.parametrize("place", PLACES)
def test_a_secret_is_hidden_wherever_it_stands_in_a_uri(place: str) -> None:
    uri = place.format(SECRET)
    assert SECRET not in redact(uri)
    for text in (uri, f"cannot reach {uri}/api: refused", repr(uri), f"port {SECRET!r} is no number"):
        assert SECRET not in hide(text)
    assert hide("cannot reach the server") == "cannot reach the server"


@given(
    scheme=st.sampled_from(["http", "postgresql+psycopg", "x"]),
    password=st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=5),
    host=st.from_regex(r"[a-z]{1,9}", fullmatch=True),
)
def test_any_password_is_hidden(scheme: str, password: str, host: str) -> None:
    uri = f"{scheme}://me:p{password}@{host}"
    assert redact(uri) == f"{scheme}://{host}"
    assert hide(f"at {uri}: refused") == f"at {scheme}://{host}: refused"


@pytest.mark.parametrize(
    "uri",
    [
        "http://host:5000",
        "https://host/prefix/",
        "http://[::1]:5000/a",
        "postgresql://host/db",
        "sqlite:////home/me@work/a b/mlflow.db",
        "s3://bucket/path",
        "./mlruns",
    ],
)
def test_a_uri_without_secrets_stays(uri: str) -> None:
    assert redact(uri) == uri
    assert hide(f"at {uri}: refused") == f"at {uri}: refused"


def test_the_address_of_a_page_stays() -> None:
    page = "http://127.0.0.1:5000/#/experiments/1/runs?orderByAsc=false&orderByKey=metrics.%60a%60&keyword=b"
    assert hide(f"results: {page}") == f"results: {page}"


@pytest.mark.parametrize(
    "text",
    [
        f"at postgresql://me:{SECRET}@host/db",
        f"https://{SECRET}@host",
        f"no such file: postgresql:/me:{SECRET}@host/db",
        f"/path?api_key={SECRET}&x=1",
        f"https://bucket/x?a=b&X-Amz-Signature={SECRET}",
        f"https://host/x?apikey={SECRET}",
        f"Authorization: Bearer {SECRET}",
        f"connection password={SECRET} host=h",
    ],
)
def test_what_has_the_form_of_a_secret_is_hidden_without_being_known(text: str) -> None:
    assert SECRET not in hide(text)
    assert HIDDEN in hide(text)


@pytest.mark.parametrize(
    "name", ["AWS_SECRET_ACCESS_KEY", "MLFLOW_TRACKING_TOKEN", "MLFLOW_TRACKING_PASSWORD", "MY_SECRET", "key"]
)
def test_values_of_variables_named_like_secrets_are_hidden(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, SECRET)
    assert hide(f"refused {SECRET}") == f"refused {HIDDEN}"
    monkeypatch.setenv(name, "true")
    assert hide("true") == "true"


def test_a_login_in_any_variable_is_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_PROXY", f"http://me:{SECRET}@proxy")
    assert hide(f"the proxy said {SECRET}") == f"the proxy said {HIDDEN}"


def test_files_lose_secrets_and_no_everyday_word(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", SECRET)
    monkeypatch.setenv("MY_PASSWORD", "standard")
    write_json(tmp_path / "x.json", {"defense": "standard", "message": f"got {SECRET}"})
    text = (tmp_path / "x.json").read_text()
    assert SECRET not in text
    assert "standard" in text


def test_short_passwords_are_hidden_as_words() -> None:
    redact("postgresql://me:abc@host/db")
    assert hide("abc and abcd") == f"{HIDDEN} and abcd"


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_streams_warnings_logs_and_tracebacks_pass_the_filter(encoding: str) -> None:
    code = (
        "import logging, sys, warnings; from bench.cli.streams import without_secrets\n"
        "with without_secrets():\n"
        "    uri = 'http://me:S3cret-Pw_99@host'\n"
        "    import click; click.echo(uri); click.echo(uri, err=True)\n"
        "    print(uri); print(uri, file=sys.stderr); warnings.warn(uri); logging.error('%s', uri)\n"
        "    sys.stdout.writelines(['http://me:', 'S3cret-Pw_99@host'])\n"
        "    raise ValueError(uri)\n"
    )
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert done.returncode == 1
    assert "ValueError" in done.stderr
    assert done.stderr.count("http://") >= 5
    assert done.stdout.count("http://") == 3
    assert "S3cret" not in done.stdout + done.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_process_list_does_not_show_the_secrets_of_arguments() -> None:
    code = (
        "import sys; from bench.core.command_line import hide_arguments; hide_arguments()\n"
        "print(open('/proc/self/cmdline').read().replace(chr(0), ' '), sys.argv[1])\n"
    )
    uri = f"--tracking=http://me:{SECRET}@host"
    done = subprocess.run([sys.executable, "-c", code, uri], capture_output=True, text=True, check=True)
    shown, _, kept = done.stdout.strip().rpartition(" ")
    assert kept == uri
    assert "--tracking=" in shown
    assert SECRET not in shown
