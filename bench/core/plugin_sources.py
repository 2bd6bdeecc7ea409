"""The source files of plug-ins, as they were when they were loaded, for the records of what they did."""

import hashlib
import inspect
import sysconfig
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.core.files import replacing
from bench.core.foreign_code import content_of, file_of, is_foreign
from bench.core.names import safe_name
from bench.core.record import File, Source
from bench.core.secrets import hide

#: Folder of the copies, beside the record.
FOLDER = "sources"


@dataclass(frozen=True)
class PluginSource:
    """The source behind one part of a result.

    Attributes:
        role: the part, such as "defense" or "metric mean_margin".
        name: of the class or function, with its module.
        file: its file's name, without folders.
        content: of the file; of the class or function alone where it has no file, as in a notebook.
    """

    role: str
    name: str
    file: str
    content: bytes

    @property
    def sha256(self) -> str:
        """The hash of the content, as hex."""
        return hashlib.sha256(self.content).hexdigest()


def sources_of(parts: Iterable[tuple[str, object]]) -> list[PluginSource]:
    """The sources of the foreign ones among parts of a result; a part whose source is unknown is left out.

    Args:
        parts: the role of each, and a class, a function or another object. The bases of a class count too.
    """
    found: dict[tuple[str, str], PluginSource] = {}
    for role, part in parts:
        owner = part if isinstance(part, type) or callable(part) else type(part)
        for each in owner.__mro__ if isinstance(owner, type) else (owner,):
            module = str(getattr(each, "__module__", "") or "")
            # What a notebook defines is in __main__, which counts as a module of Python.
            if is_foreign(module) or module == "__main__":
                source = _source(role, each, module)
                if source is not None:
                    found.setdefault((role, source.sha256), source)
    return list(found.values())


def write_sources(folder: Path, sources: Sequence[PluginSource]) -> dict[str, File]:
    """Copy sources beside a record; one that holds a secret of this process is not copied.

    Returns:
        The files for the record, by a name such as "source/my_defense.py".
    """
    written: dict[str, File] = {}
    for source in sources:
        text = source.content.decode("utf-8", errors="replace")
        if hide(text, only_certain=True) != text:
            continue
        name = source.file
        known = written.get(f"source/{name}")
        if known is not None and known.sha256 != source.sha256:
            name = f"{source.sha256[:8]}-{name}"
        with replacing(folder / FOLDER / name) as temporary:
            temporary.write_bytes(source.content)
        written[f"source/{name}"] = File(path=f"{FOLDER}/{name}", sha256=source.sha256)
    return written


def describe_sources(sources: Iterable[PluginSource]) -> list[Source]:
    """The sources as a record names them."""
    return [Source(part=each.role, name=each.name, file=each.file, sha256=each.sha256) for each in sources]


def own_classes(parts: Iterable[object]) -> list[type]:
    """The classes of parts, without those of installed packages."""
    installed = tuple({sysconfig.get_path("purelib"), sysconfig.get_path("platlib")})
    kinds = dict.fromkeys(type(part) for part in parts)
    return [kind for kind in kinds if not str(file_of(kind.__module__) or "").startswith(installed)]


def _source(role: str, part: object, module: str) -> PluginSource | None:
    qualified = str(getattr(part, "__qualname__", type(part).__qualname__))
    path, content = file_of(module), content_of(module)
    if path is not None and content is not None:
        return PluginSource(role, f"{module}:{qualified}", safe_name(path.name), content)
    try:
        text = inspect.getsource(part)  # type: ignore[arg-type]
    except (OSError, TypeError, IndexError):
        return None
    return PluginSource(role, f"{module}:{qualified}", f"{safe_name(qualified)}.py", text.encode())
