"""Open published data sets through torchvision, with advice when files are missing or damaged."""

import os
import shutil
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from bench.core.errors import UserError
from bench.core.temporary import temporary_folder

#: Opens the training part (True) or the test part (False) from a folder; with True, torchvision may download there.
OpenPart = Callable[[bool, Path, bool], Any]


def open_published(
    name: str,
    data_dir: Path,
    files: Iterable[str],
    download: bool,
    open_part: OpenPart,
    archives: Iterable[str] = (),
) -> tuple[Any, Any]:
    """Open the training and the test part of a published data set.

    Args:
        name: name of the data set, for messages.
        data_dir: folder that `files` are relative to.
        files: the files that are needed.
        download: fetch the files where they are missing or damaged.
        open_part: opens a part through torchvision.
        archives: what torchvision unpacks the files from, relative to `data_dir`; one that is there is not fetched.

    Raises:
        UserError: when files are missing or damaged, or the download fails.
    """
    files = list(files)
    try:
        return open_part(True, data_dir, False), open_part(False, data_dir, False)
    # torchvision, pickle and the network raise many kinds of errors; the advice is the same for all.
    except Exception as error:
        if not download:
            raise _advice(name, data_dir, files, error) from error
        if not _missing(data_dir, files):
            reason = (
                f"{name}: the files in {data_dir} are damaged or not the published ones ({_reason(error)})"
            )
            warnings.warn(f"{reason}; they are fetched again", stacklevel=2)
    try:
        _fetch(name, data_dir, files, archives, open_part)
        return open_part(True, data_dir, False), open_part(False, data_dir, False)
    except UserError:
        raise
    except Exception as error:
        wanted = ", ".join(_missing(data_dir, files) or files)
        raise UserError(
            f"{name}: the download failed ({_reason(error)}); on a machine without internet access, "
            f"copy {wanted} to {data_dir} from another one"
        ) from error


def _fetch(name: str, data_dir: Path, files: list[str], archives: Iterable[str], open_part: OpenPart) -> None:
    """Download into a folder beside the files, so that a kill leaves no half file in their place."""
    data_dir.mkdir(parents=True, exist_ok=True)
    with temporary_folder(data_dir / name) as scratch:
        for archive in archives:
            if (data_dir / archive).is_file():
                (scratch / archive).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(data_dir / archive, scratch / archive)
        for train in (True, False):
            open_part(train, scratch, True)
        for file in files:
            (data_dir / file).parent.mkdir(parents=True, exist_ok=True)
            os.replace(scratch / file, data_dir / file)


def _advice(name: str, data_dir: Path, files: list[str], error: Exception) -> UserError:
    missing = _missing(data_dir, files)
    if not missing:
        return UserError(
            f"{name}: the files in {data_dir} are damaged or not the published ones ({_reason(error)}); "
            f"add --download to fetch them again, or copy {', '.join(files)} there again"
        )
    packed = [file for file in missing if (data_dir / f"{file}.gz").is_file()]
    unpack = f"unpack the .gz files there with gunzip {data_dir / packed[0]}.gz …, " if packed else ""
    return UserError(
        f"{name}: expected {', '.join(files)} in {data_dir}, missing {_list(missing, files)}; "
        f"{unpack}add --download, or copy the files there from a machine with internet access"
    )


def _missing(data_dir: Path, files: list[str]) -> list[str]:
    return [file for file in files if not (data_dir / file).is_file()]


def _reason(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__


def _list(missing: list[str], files: list[str]) -> str:
    return "all of them" if len(missing) == len(files) else ", ".join(missing)
