"""Strange folders of images: what is no image is skipped and counted, what cannot be read is refused by name."""

import os
import random
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.faults.bad_input import refused_in_one_line
from benchmarks.faults.command import Bench
from benchmarks.faults.trial import Fault, FaultClass, Trial

RUN = (
    *("run", "--defense", "standard", "--dataset", "imagefolder:photos", "--epochs", "1", "--trials", "0"),
    *("--metrics", "clean_accuracy", "--tracking", "none", "--quiet"),
)
NUMBERS = tuple(map(str, range(12)))


Change = Callable[[Path], object]


@dataclass(frozen=True)
class Folder:
    """A folder of images, spoiled by one change.

    Attributes:
        change: spoils the folder.
        said: a part of the message, which every trial must show; "" for silence.
        works: whether the command must succeed.
        words: further options.
    """

    change: Change
    said: str = ""
    works: bool = False
    words: tuple[str, ...] = ()
    classes: tuple[str, ...] = ("cat", "dog")


def paint(path: Path, side: int = 9, value: int = 0) -> None:
    """Write a small gray picture."""
    Image.fromarray(np.full((side, side), value % 256, dtype=np.uint8)).save(path)


def png(width: int, height: int, extra: bytes = b"") -> bytes:
    """A PNG that claims a size, and holds no pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + extra + chunk(b"IDAT", zlib.compress(b"0")) + chunk(b"IEND", b"")


def text_bomb() -> bytes:
    """A PNG with a compressed comment of 200 MB."""
    data = b"Comment\0\0" + zlib.compress(b"\0" * 200_000_000)
    return png(
        9, 9, struct.pack(">I", len(data)) + b"zTXt" + data + struct.pack(">I", zlib.crc32(b"zTXt" + data))
    )


def _first(root: Path) -> Path:
    return root / "train/cat/000.png"


def _touch(name: str) -> Change:
    return lambda root: (root / name).touch()


def _hide(name: str) -> Change:
    def change(root: Path) -> None:
        (root / name).mkdir()
        paint(root / name / "0.png")

    return change


def _write(data: bytes) -> Change:
    return lambda root: _first(root).write_bytes(data)


def _link(name: str, target: str) -> Change:
    return lambda root: (root / name).symlink_to(target)


def _mode(mode: str) -> Change:
    def change(root: Path) -> None:
        Image.new(mode, (9, 9)).save(_first(root).with_suffix(".tiff"))
        _first(root).unlink()

    return change


def _empty(root: Path) -> None:
    for file in root.glob("train/dog/*"):
        file.unlink()


def _each(
    title: str,
    change: Callable[[str], Change],
    said: str,
    names: Iterable[str],
    works: bool = False,
) -> dict[str, Folder]:
    """One folder for each of several names."""
    return {f"{title} {name!a}": Folder(change(name), said, works) for name in names}


HIDDEN = (".ipynb_checkpoints", "__MACOSX", ".git", ".Trash-1000", "@eaDir", "$RECYCLE.BIN", "lost+found")
SKIPPED = ("a.gif", "a.txt", "a.heic", "README", "a.png.part", "Thumbs.db", "a.jp2")
LINKS = ("loop", "..", "/", "../dog", "../..")
UNPRINTABLE = ("\x1b[31m", "a\nb", "\udcff", "\u202ex")
DAMAGED = {
    "of 60000x60000": png(60_000, 60_000),
    "of 10000x9000": png(10_000, 9_000),
    "2^31 wide": png(2**31 - 1, 1),
    "of no bytes": b"",
    "of text": b"no image",
    "cut": png(9, 9)[:45],
    "without pixels": png(9, 9),
    "of 0x0": png(0, 0),
    "that is a zip": b"PK\x03\x04" + b"\0" * 50,
    "of a JPEG's head": b"\xff\xd8\xff\xe0" + b"\0" * 9,
}


def folders() -> dict[str, Folder]:
    """Every folder by what is strange about it."""
    return {
        **_each("hidden folder", lambda name: _hide(f"train/{name}"), "skipped", HIDDEN, True),
        **_each("in a class, hidden folder", lambda name: _hide(f"test/cat/{name}"), "skipped", HIDDEN, True),
        **_each("file", lambda name: _touch(f"test/dog/{name}"), "skipped", SKIPPED, True),
        **_each("beside the classes, file", lambda name: _touch(f"train/{name}"), "skipped", SKIPPED, True),
        **_each(
            "hidden file", lambda name: _touch(f"train/cat/{name}"), "skipped", (".x.png", "._0.png"), True
        ),
        **{f"an image {what}": Folder(_write(data), "000.png") for what, data in DAMAGED.items()},
        "an image with a comment of 200 MB": Folder(lambda root: _write(text_bomb())(root), "000.png"),
        **_each("a link to", lambda to: _link("train/cat/loop", to), "loop", LINKS),
        **_each(
            "a file called", lambda name: _touch(f"train/cat/{name}.png"), "cannot be printed", UNPRINTABLE
        ),
        **_each("a class called", lambda name: _hide(f"train/{name}"), "cannot be printed", UNPRINTABLE),
        **_each("mode", _mode, "8 bits", ("I;16", "F", "I")),
        **_each("mode", _mode, "", ("CMYK", "LA", "P"), True),
        "a link to the other part": Folder(_link("train/cat/loop", "../../test/cat"), "", True),
        "a broken link": Folder(_link("train/cat/x.png", "absent"), "x.png"),
        "a link to a device": Folder(_link("train/cat/x.png", "/dev/zero"), "x.png"),
        "a pipe": Folder(lambda root: os.mkfifo(root / "train/cat/x.png"), "x.png"),
        "a folder called x.png": Folder(lambda root: (root / "train/cat/x.png").mkdir(), "", True),
        "an empty class": Folder(_empty, "'dog' has none"),
        "a class of only skipped files": Folder(_class_of_texts, "'texts' has none"),
        "no class": Folder(_no_class, "per class"),
        "a class in one part": Folder(_hide("train/horse"), "in only one of them: horse"),
        "no test part": Folder(lambda root: (root / "test").rename(root / "tests"), "does not exist"),
        "a file as part": Folder(_part_as_file, "test"),
        "another size": Folder(lambda root: paint(_first(root), 12), "--image-size"),
        "too small": Folder(_small, "at least 8"),
        "long and thin": Folder(_long, "1x60000", words=("--image-size", "512")),
        "classes that are numbers": Folder(lambda root: None, "0, 1, 2, 3", True, classes=NUMBERS),
        "an order of all classes": Folder(lambda root: None, "", True, words=("--class-order", "dog,cat")),
        "the order of text": Folder(
            lambda root: None, "", True, words=("--class-order", "text"), classes=NUMBERS
        ),
        "an order of one class": Folder(lambda root: None, "cat is missing", words=("--class-order", "dog")),
        "an order of others": Folder(lambda root: None, "did you mean", words=("--class-order", "dogs,cat")),
        "one class": Folder(lambda root: None, "at least 2 classes", classes=("cat",)),
    }


def _class_of_texts(root: Path) -> None:
    for part in ("train", "test"):
        (root / part / "texts").mkdir()
        (root / part / "texts" / "a.txt").touch()


def _no_class(root: Path) -> None:
    for each in list((root / "train").iterdir()):
        each.rename(root / each.name)


def _part_as_file(root: Path) -> None:
    (root / "test").rename(root / "other")
    (root / "test").touch()


def _small(root: Path) -> None:
    for file in root.glob("*/*/*"):
        paint(file, 4)


def _long(root: Path) -> None:
    Image.new("L", (1, 60_000)).save(_first(root))


def _provoke(bench: Bench, folder: Path, tries: int, draw: random.Random) -> Iterator[Trial]:
    every = folders()
    for number, what in enumerate(draw.sample(list(every), min(tries, len(every)))):
        case, place = every[what], folder / str(number)
        value = 0
        for part, count in (("train", 12), ("test", 4)):
            for name in case.classes:
                (place / "photos" / part / name).mkdir(parents=True)
                for index in range(count):
                    paint(place / "photos" / part / name / f"{index:03}.png", value=(value := value + 1))
        case.change(place / "photos")
        outcome = bench(*RUN, *case.words, folder=place, cpu_seconds=30)
        if not case.works:
            faults = list(refused_in_one_line(outcome))
            if (place / "runs").exists():
                faults.append(Fault("leftover", "runs"))
        else:
            faults = [] if outcome.code == 0 else [Fault("refused", outcome.last_line)]
        if not faults and case.said not in outcome.errors:
            faults.append(Fault("accepted", f"not said: {case.said}; but: {outcome.errors[-200:]}"))
        yield Trial(what, tuple(faults))


PICTURES = FaultClass(name="pictures", title="strange image folders", tries=100, sample=6, provoke=_provoke)
