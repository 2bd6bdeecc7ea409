"""What a site leaves out, and why."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class LeftOut:
    """A record, or a figure of one, that no board shows, and why; the reason names no folder."""

    path: Path
    reason: str

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"

    @classmethod
    def because(cls, path: Path, error: Exception) -> "LeftOut":
        """What an error says of a file, without the folders of the machine that read it."""
        words = str(error).replace(f"{path.parent}/", "")
        return cls(path, words.removeprefix(path.name).removeprefix(":").strip())
