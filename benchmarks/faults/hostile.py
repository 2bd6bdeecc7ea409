"""Folders with records that nobody would make by accident, each made from a good one."""

import json
import os
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.core.files import sha256

#: What lies outside the records and must not be published.
SECRET = "content-of-a-file-outside-the-folder"
WORST = "robust_accuracy/worst_case"
#: Fields whose words mean something, so that text of other kinds is not put there.
MEANT = ("schema_version", "norm", "eps", "feature_site", "created", "sha256", "path", "unit")

Change = Callable[[dict[str, Any]], Any]


@dataclass(frozen=True)
class Hostile:
    """A folder: its name, whether it must be refused, and what writes it beside a copy of the good one."""

    name: str
    refused: bool
    write: Callable[[Path], object]


def _edited(change: Change) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        path = folder / "record.json"
        record = json.loads(path.read_text(encoding="utf-8"))
        record["id"] = f"hostile-{folder.name}"
        record["defense"]["name"] = f"hostile-{folder.name}"
        changed = change(record)
        _agree(record)
        text = json.dumps(record if changed is None else changed)
        path.write_bytes(text.encode("utf-8", "surrogatepass"))

    return write


def _agree(record: dict[str, Any]) -> None:
    """Say the same in the settings, so that a record is refused for what it is, or not at all."""
    threat = record["threat"]
    record["provenance"]["config"] |= {
        "defense": record["defense"]["name"],
        "model": record["model"],
        "dataset": record["dataset"]["name"],
        "threat": f"{threat['norm']}:{threat['eps']}",
    }


def _put(place: str, value: Any) -> Change:
    """Set the value at a place such as defense|name."""

    def change(record: dict[str, Any]) -> None:
        *way, last = place.split("|")
        part: Any = record
        for key in way:
            part = part[int(key)] if isinstance(part, list) else part[key]
        part[last] = value

    return change


def _everywhere(text: str) -> Change:
    def walk(value: Any, key: str = "") -> Any:
        if isinstance(value, dict):
            return {name: walk(part, name) for name, part in value.items()}
        if isinstance(value, list):
            return [walk(part, key) for part in value]
        return text if isinstance(value, str) and key not in MEANT else value

    return lambda record: {**walk(record), "files": record["files"]}


def _raw(content: bytes) -> Callable[[Path], object]:
    return lambda folder: (folder / "record.json").write_bytes(content)


def _special(make: Callable[[Path], object]) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        (folder / "record.json").unlink()
        make(folder / "record.json")

    return write


def _with_arrays(content: Callable[[Path], object]) -> Callable[[Path], None]:
    """Replace the arrays, with their new hash in the record."""

    def write(folder: Path) -> None:
        content(folder / "arrays.npz")
        digest = sha256(folder / "arrays.npz")
        _edited(_put("files|arrays|sha256", digest))(folder)

    return write


def _npz(*members: tuple[str, bytes], compress: int = zipfile.ZIP_STORED) -> Callable[[Path], object]:
    def write(path: Path) -> None:
        with zipfile.ZipFile(path, "w", compress) as archive:
            for name, content in members:
                archive.writestr(name, content)

    return write


def _array(shape: str, dtype: str = "'|b1'", content: bytes = b"") -> bytes:
    text = f"{{'descr': {dtype}, 'fortran_order': False, 'shape': {shape}, }}".encode()
    return b"\x93NUMPY\x01\x00v\x00" + text.ljust(117) + b"\n" + content


def _encrypted(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[content.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(content)


def _broken_stream(path: Path) -> None:
    _npz((f"{WORST}.npy", _array("(200000,)", content=os.urandom(200_000))), compress=zipfile.ZIP_DEFLATED)(
        path
    )
    content = bytearray(path.read_bytes())
    content[200:400] = bytes(200)
    path.write_bytes(content)


def _linked(name: str) -> Callable[[Path], None]:
    """A file of the record is a link to one outside, whose hash the record states."""

    def write(folder: Path) -> None:
        outside = folder.parent.parent / "outside"
        outside.write_text(SECRET)
        kind = {"weights.safetensors": "weights", "arrays.npz": "arrays", "examples.npz": "examples"}[name]
        (folder / name).unlink(missing_ok=True)
        (folder / name).symlink_to(outside)
        entry = {"path": name, "sha256": sha256(outside)}
        _edited(_put(f"files|{kind}", entry))(folder)

    return write


def _linked_figure(folder: Path) -> None:
    outside = folder.parent.parent / "outside"
    outside.write_text(SECRET)
    shutil.rmtree(folder / "figures", ignore_errors=True)
    (folder / "figures").mkdir()
    (folder / "figures" / "x.png").symlink_to(outside)
    (folder / "figures" / "x.json").symlink_to(outside)
    _edited(lambda record: None)(folder)


def _chart(content: bytes) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        (folder / "figures").mkdir(exist_ok=True)
        (folder / "figures" / "chart.json").write_bytes(content)
        _edited(lambda record: None)(folder)

    return write


def _score(name: str, **fields: Any) -> Change:
    return lambda record: record["metrics"][name].update(fields)


_EPS = ["1e400", "1e1000000", "1e-9999999", "1e999999999999", "eight", "1/0", "-8/255", 0.2, ["8/255"], ""]
_EPS += ["9" * 5000, "2", "1e-30", "0x1p4"]
_BEYOND: list[Hostile] = [
    *(Hostile(f"eps-{at}", True, _edited(_put("threat|eps", eps))) for at, eps in enumerate(_EPS)),
    Hostile("above-one", True, _edited(_score(WORST, value=5.0, low=4.9, high=5.1))),
    Hostile("below-zero", True, _edited(_score("clean_accuracy", value=-3, low=-4, high=17))),
    Hostile("other-unit", True, _edited(_score(WORST, value=5.0, low=4.9, high=5.1, unit="points"))),
    Hostile("huge-ratio", True, _edited(_score("prs_ratio", value=1e308))),
    Hostile("turned-interval", True, _edited(_score(WORST, low=1.0, high=0.0))),
    Hostile("negative-auc", True, _edited(_put("metrics|auc", {"value": -1, "unit": "AUC"}))),
    Hostile("negative-seconds", True, _edited(_score("time_per_epoch", value=-1, low=-2, high=0))),
    Hostile("negative-costs", True, _edited(_put("cost|evaluate_seconds", -1))),
    Hostile("negative-forwards", True, _edited(_put("cost|forwards", -9))),
    Hostile("negative-size", True, _edited(_put("dataset|train_size", -1))),
    Hostile("large-seed", True, _edited(_put("seed", 10**40))),
    Hostile("infinite-history", True, _edited(_put("history|0|train_loss", float("inf")))),
    Hostile("late", True, _edited(_put("provenance|created", "9999-12-31T23:59:59-14:00"))),
    Hostile("never", True, _edited(_put("provenance|created", "now"))),
    Hostile("no-images", True, _edited(_put("dataset|evaluated_size", 0))),
    Hostile("more-images", True, _edited(_put("dataset|evaluated_size", 10**12))),
    Hostile("nameless", True, _edited(_put("defense|name", ""))),
    Hostile("blank", True, _edited(_put("model", " \t "))),
    Hostile("no-id", True, _edited(_put("id", ""))),
    Hostile("surrogate", True, _edited(_put("model", "x\ud800"))),
    Hostile("null", True, _edited(_put("id", "a\0b"))),
    Hostile("unknown-field", True, _edited(_put("extra", 1))),
    Hostile("future", True, _edited(_put("schema_version", "2.0"))),
    Hostile("list", True, _edited(lambda record: [record])),
]
_TEXTS: list[Hostile] = [
    Hostile("markup", False, _edited(_everywhere("<script>window.P=1</script><img src=x onerror='P=2'>"))),
    Hostile("close-script", False, _edited(_everywhere("</script><script>window.P=5</script><!--"))),
    Hostile("link", False, _edited(_everywhere('"\'><a href="javascript:alert(1)">x</a>'))),
    Hostile("template", False, _edited(_everywhere("{{ 7777 * 7777 }}{% raw %}"))),
    Hostile("traversal", False, _edited(_put("id", "../../../../escape"))),
    Hostile("rich", False, _edited(_put("id", "[/bold][link=file:///]x"))),
    Hostile("emoji", False, _edited(_put("model", ":smile: [red]"))),
    Hostile("formula", False, _edited(_put("defense|name", "=cmd|' /C calc'!A0"))),
    Hostile("home", False, _edited(_put("dataset|name", "imagefolder:/home/someone/pictures"))),
    Hostile("unranked", False, _edited(_score(WORST, value=None, low=None, high=None, reason="lost"))),
    Hostile("right-to-left", True, _edited(_everywhere("abc\u202egnp.exe\u2066\u200f"))),
    Hostile("long", True, _edited(_everywhere("A" * 10_240))),
    Hostile("longer-than-names", True, _edited(_put("defense|name", "A" * 1_000))),
    Hostile("escapes", True, _edited(_everywhere("\x1b]0;title\x07\x1b[31mred"))),
    Hostile("escape-in-text", False, _edited(_put("provenance|command", "\x1b]0;title\x07\x1b[31mred\r\nB"))),
    Hostile("code", False, _edited(_put("provenance|config|loader", "os:system"))),
]
_FILES: list[Hostile] = [
    Hostile("deep", True, _raw(b"[" * 100_000)),
    Hostile("deep-object", True, _raw(b'{"a":' * 5_000 + b"1" + b"}" * 5_000)),
    Hostile("deep-config", True, _edited(_put("provenance|config|x", json.loads("[" * 90 + "]" * 90)))),
    Hostile("empty", True, _raw(b"")),
    Hostile("bytes", True, _raw(b"\xff\xfe\x00garbage")),
    Hostile("twice", True, _raw(b'{"schema_version": "1.0", "schema_version": "1.0"}')),
    Hostile("not-a-number", True, _raw(b'{"metrics": NaN}')),
    Hostile("many-digits", True, _raw(b'{"seed": ' + b"9" * 100_000 + b"}")),
    Hostile("many-values", True, _raw(b"[" + b"0," * 3_000_000 + b"0]")),
    Hostile("pipe", True, _special(os.mkfifo)),
    Hostile("folder", True, _special(Path.mkdir)),
    Hostile("symlink", True, _special(lambda path: path.symlink_to("/etc/hostname"))),
    Hostile("loop", True, _special(lambda path: path.symlink_to(path.name))),
    Hostile("device", True, _special(lambda path: path.symlink_to("/dev/zero"))),
    Hostile("weights-link", True, _linked("weights.safetensors")),
    Hostile("arrays-link", True, _linked("arrays.npz")),
    Hostile("examples-link", True, _linked("examples.npz")),
    Hostile("absolute", True, _edited(_put("files|weights", {"path": "/etc/hostname", "sha256": "0"}))),
    Hostile("parent", True, _edited(_put("files|arrays", {"path": "../../outside", "sha256": "0"}))),
    Hostile("long-path", True, _edited(_put("files|arrays", {"path": "a" * 299, "sha256": "0"}))),
    Hostile("figure-links", False, _linked_figure),
]
_ARRAYS: list[Hostile] = [
    Hostile("claims-8TB", True, _with_arrays(_npz((f"{WORST}.npy", _array("(8000000000000,)"))))),
    Hostile("claims-less", True, _with_arrays(_npz((f"{WORST}.npy", _array("(12,)", content=bytes(5)))))),
    Hostile("objects", True, _with_arrays(_npz((f"{WORST}.npy", _array("(1,)", "'|O'", b"cos\nsystem\n"))))),
    Hostile("encrypted", True, _with_arrays(_encrypted)),
    Hostile("broken-stream", True, _with_arrays(_broken_stream)),
    Hostile(
        "bomb",
        True,
        _with_arrays(
            _npz(
                (f"{WORST}.npy", _array("(300000000,)", content=bytes(300_000_000))),
                compress=zipfile.ZIP_DEFLATED,
            )
        ),
    ),
    Hostile("no-archive", True, _with_arrays(lambda path: path.write_bytes(b"PK\x03\x04" + bytes(100)))),
    Hostile("other-length", True, _with_arrays(_npz((f"{WORST}.npy", _array("(5,)", content=bytes(5)))))),
    Hostile("other-mean", True, _with_arrays(_npz((f"{WORST}.npy", _array("(12,)", content=b"\1" * 12))))),
    Hostile("chart-deep", True, _chart(b"[" * 100_000)),
    Hostile("chart-empty", True, _chart(b"{}")),
]
HOSTILE: tuple[Hostile, ...] = (*_BEYOND, *_TEXTS, *_FILES, *_ARRAYS)
