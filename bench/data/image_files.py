"""Find the image files of a folder with one folder for each class, and put the classes in order."""

import os
import stat
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from torchvision.datasets.folder import IMG_EXTENSIONS

from bench.core.errors import UserError, unknown_name
from bench.core.values import has_control_characters, shown

#: Folders that programs leave behind, besides those whose name begins with a dot.
HIDDEN = ("__MACOSX", "__pycache__", "@eaDir", "$RECYCLE.BIN", "System Volume Information", "lost+found")
#: The value of `--class-order` for the order of torchvision's `ImageFolder`.
AS_TEXT = "text"


@dataclass
class ClassFiles:
    """The image files of one part, such as `train`.

    Attributes:
        files: class → its files, in the order of torchvision's `ImageFolder`.
        skipped: extension, or "hidden" → how many entries of the folder are no images.
    """

    files: dict[str, list[str]] = field(default_factory=dict)
    skipped: Counter[str] = field(default_factory=Counter)


def find_images(folder: Path) -> ClassFiles:
    """Find the images of every class below a folder, through links too.

    Raises:
        UserError: for a folder without classes or a class without images, a name that cannot be printed, a folder
            that is reached twice, or an image that is no regular file.
    """
    found = ClassFiles()
    try:
        seen = {_identity(folder)}
        for entry in _entries(folder, found):
            if not entry.is_dir():
                found.skipped[_kind(entry.name)] += 1
                continue
            found.files[entry.name] = []
            for _, files in sorted(_walk(entry.path, seen, found)):
                found.files[entry.name] += files
    except OSError as error:
        raise UserError(f"cannot read {error.filename or folder}: {error.strerror or error}") from error
    if empty := [name for name, files in found.files.items() if not files]:
        others = f"; skipped there and elsewhere: {describe(found.skipped)}" if found.skipped else ""
        raise UserError(
            f"{folder}: expected one folder of images per class, {shown(empty[0])} has none{others}"
        )
    if not found.files:
        raise UserError(f"{folder}: expected one folder of images per class, found no folder")
    return found


def describe(skipped: Counter[str]) -> str:
    """Counts of what was skipped, the most frequent first."""
    return ", ".join(f"{count} {kind}" for kind, count in skipped.most_common(5))


def order_classes(names: Sequence[str], wanted: Sequence[str]) -> list[str]:
    """Put classes in order: numbers as numbers if all of them are, else as text; or as wanted.

    Args:
        names: of the classes.
        wanted: each of them once, or `AS_TEXT` alone, or nothing.

    Raises:
        UserError: when other classes are wanted.
    """
    if wanted and list(wanted) != [AS_TEXT]:
        for name in wanted:
            if name not in names:
                raise unknown_name("class in --class-order", name, names)
        if missing := sorted(set(names) - set(wanted)):
            raise UserError(
                f"--class-order names {len(wanted)} of {len(names)} classes; {missing[0]} is missing"
            )
        return list(wanted)
    if not wanted and all(name.isascii() and name.isdigit() for name in names):
        return sorted(names, key=lambda name: (int(name), name))
    return sorted(names)


def _walk(folder: str, seen: set[tuple[int, int]], found: ClassFiles) -> Iterator[tuple[str, list[str]]]:
    """Each folder below one, with its image files."""
    identity = _identity(folder)
    if identity in seen:
        raise UserError(f"{folder} is reached twice: a link leads back to it, or two links lead there")
    seen.add(identity)
    files = []
    for entry in _entries(folder, found):
        if entry.is_dir():
            yield from _walk(entry.path, seen, found)
        elif not entry.name.lower().endswith(IMG_EXTENSIONS):
            found.skipped[_kind(entry.name)] += 1
        elif not stat.S_ISREG(entry.stat().st_mode):
            raise UserError(f"cannot read {entry.path} as an image: it is no regular file")
        else:
            files.append(entry.path)
    yield folder, sorted(files)


def _entries(folder: Path | str, found: ClassFiles) -> Iterator["os.DirEntry[str]"]:
    """What a folder holds, without what is hidden."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith(".") or entry.name in HIDDEN:
                found.skipped["hidden"] += 1
                continue
            if has_control_characters(entry.name):
                raise UserError(
                    f"{folder} holds {shown(entry.name)}, a name with characters that cannot be printed"
                )
            yield entry


def _kind(name: str) -> str:
    return os.path.splitext(name)[1].lower()[:20] or "without extension"


def _identity(folder: Path | str) -> tuple[int, int]:
    about = os.stat(folder)
    return about.st_dev, about.st_ino
