"""Opening files that torchvision knows, and saying what to do when they are not there."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from bench.core.errors import UserError


def open_published(
    name: str, data_dir: Path, files: Iterable[str], download: bool, open_part: Callable[[bool], Any]
) -> tuple[Any, Any]:
    """The training and the test part of a published data set.

    Args:
        name: of the data set, for messages.
        data_dir: the folder that `files` are relative to.
        files: what must be there.
        download: whether `open_part` may fetch what is missing.
        open_part: opens the training part (True) or the test part (False) through torchvision.

    Raises:
        UserError: when files are missing or damaged, or the download fails.
    """
    files = list(files)
    try:
        return open_part(True), open_part(False)
    # Whatever torchvision, pickle or the network raise over such files, the user needs the same advice.
    except Exception as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        missing = [file for file in files if not (data_dir / file).is_file()]
        if missing and download:
            raise UserError(
                f"{name}: the download failed ({reason}); on a machine without internet, "
                f"copy {', '.join(missing)} below {data_dir} from elsewhere"
            ) from error
        if missing:
            packed = [file for file in missing if (data_dir / f"{file}.gz").is_file()]
            unpack = (
                f"unpack the .gz files there with gunzip {data_dir / packed[0]}.gz …; or " if packed else ""
            )
            raise UserError(
                f"{name}: expected {', '.join(files)} below {data_dir}, missing {_list(missing, files)}; "
                f"{unpack}add --download, or copy the files there from a machine with internet"
            ) from error
        raise UserError(
            f"{name}: the files below {data_dir} are damaged or not the published ones ({reason}); "
            f"delete {', '.join(files)} and add --download, or copy them there again"
        ) from error


def _list(missing: list[str], files: list[str]) -> str:
    return "all of them" if len(missing) == len(files) else ", ".join(missing)
