"""The figures beside a record, as they lie there."""

from dataclasses import dataclass
from pathlib import Path

#: Pictures of what the page draws itself, sharper and with its data beside it.
DRAWN_HERE = ("security", "training")


@dataclass(frozen=True)
class Figure:
    """The files of one figure beside a record: a picture, the chart as data, or both; neither is read yet."""

    name: str
    picture: Path | None
    chart: Path | None

    @property
    def path(self) -> Path:
        """One of its files, to name it by."""
        path = self.chart or self.picture
        assert path is not None
        return path


def find_figures(folder: Path) -> tuple[Figure, ...]:
    """The figures in the folder `figures` beside a record."""
    folder = folder / "figures"
    found: dict[str, dict[str, Path]] = {}
    # A link could point at anything on the machine that builds the site.
    for path in sorted(folder.iterdir()) if folder.is_dir() and not folder.is_symlink() else []:
        readable = path.suffix in (".png", ".json") and path.is_file() and not path.is_symlink()
        if readable and path.stem not in DRAWN_HERE:
            found.setdefault(path.stem, {})[path.suffix] = path
    return tuple(Figure(name, files.get(".png"), files.get(".json")) for name, files in sorted(found.items()))
