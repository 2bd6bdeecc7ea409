"""Open published data sets through torchvision, with advice when files are missing or damaged."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from bench.core.errors import UserError


def open_published(
    name: str, data_dir: Path, files: Iterable[str], download: bool, open_part: Callable[[bool], Any]
) -> tuple[Any, Any]:
    """Open the training and the test part of a published data set.

    Args:
        name: name of the data set, for messages.
        data_dir: folder that `files` are relative to.
        files: the files that are needed.
        download: whether `open_part` may download missing files.
        open_part: opens the training part (True) or the test part (False) through torchvision.

    Raises:
        UserError: when files are missing or damaged, or the download fails.
    """
    files = list(files)
    try:
        return open_part(True), open_part(False)
    # torchvision, pickle and the network raise many kinds of errors; the advice is the same for all.
    except Exception as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        missing = [file for file in files if not (data_dir / file).is_file()]
        if missing and download:
            raise UserError(
                f"{name}: the download failed ({reason}); on a machine without internet access, "
                f"copy {', '.join(missing)} to {data_dir} from another one"
            ) from error
        if missing:
            packed = [file for file in missing if (data_dir / f"{file}.gz").is_file()]
            unpack = f"unpack the .gz files there with gunzip {data_dir / packed[0]}.gz …, " if packed else ""
            raise UserError(
                f"{name}: expected {', '.join(files)} in {data_dir}, missing {_list(missing, files)}; "
                f"{unpack}add --download, or copy the files there from a machine with internet access"
            ) from error
        raise UserError(
            f"{name}: the files in {data_dir} are damaged or not the published ones ({reason}); "
            f"delete {', '.join(files)}, then add --download or copy them there again"
        ) from error


def _list(missing: list[str], files: list[str]) -> str:
    return "all of them" if len(missing) == len(files) else ", ".join(missing)
