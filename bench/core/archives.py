"""Read npz archives that others wrote: every array is checked by its declared type and size before it is read."""

import io
import math
import os
import struct
import zipfile
from collections.abc import Callable, Iterable
from functools import lru_cache
from pathlib import Path

import numpy as np

from bench.core.errors import UserError
from bench.core.files import open_regular
from bench.core.values import shown

#: Limits of an archive: bytes of all arrays when read, and their number.
MOST_BYTES = 4 * 2**30
MOST_ARRAYS = 20_000
#: Arrays of more bytes may take at most so many times the bytes of their archive: `np.savez` does not compress.
SMALL, MOST_COMPRESSED = 64 * 2**20, 20
#: numpy itself reads no longer header of an archive that is not trusted.
_LONGEST_HEADER = 10_000 + 12
#: The header that zip puts before a member, up to the lengths of its name and of what else it holds.
_LOCAL_HEADER = struct.Struct("<26xHH")
#: Bytes of most headers of numpy, and of a local header with a name before one.
_FIRST, _ENOUGH = 128, 512
#: Kinds of numpy types: booleans, integers, floats, complex numbers, text.
_KINDS = "biufcU"


def read_npz(path: Path, names: Iterable[str] | Callable[[str], bool] | None = None) -> dict[str, np.ndarray]:
    """Read the arrays of an npz archive.

    Args:
        names: which arrays to read, of those that are there, or what tells them; None reads all. The declarations
            of all are checked.

    Raises:
        UserError: when it is no archive of plain arrays of at most `MOST_BYTES`, encrypted, or damaged.
    """
    with open_regular(path) as stream:
        try:
            size = os.fstat(stream.fileno()).st_size
            # Hundreds of headers are read far sooner from memory.
            with zipfile.ZipFile(io.BytesIO(stream.read()) if size <= SMALL else stream) as archive:
                members = _members(archive, min(MOST_BYTES, max(SMALL, MOST_COMPRESSED * size)))
                choose = names if callable(names) else None if names is None else set(names).__contains__
                wanted = members if choose is None else filter(choose, members)
                return {name: _read(archive, members[name]) for name in wanted}
        # A damaged archive ends the parsers of zip, zlib and numpy with errors of many classes.
        except Exception as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            raise UserError(f"{path} is not a readable npz archive ({reason[:200]})") from error


def _members(archive: zipfile.ZipFile, most: int) -> dict[str, zipfile.ZipInfo]:
    """The archive's members by the name of their array, whose declarations agree with their sizes."""
    members: dict[str, zipfile.ZipInfo] = {}
    if len(archive.infolist()) > MOST_ARRAYS:
        raise ValueError(f"more than {MOST_ARRAYS:,} arrays")
    total = sum(member.file_size for member in archive.infolist())
    if total > most:
        raise ValueError(f"its arrays take {total:,} bytes, expected at most {most:,}")
    for member in archive.infolist():
        name = member.filename.removesuffix(".npy")
        if member.flag_bits & 1:
            raise ValueError(f"{shown(name)} is encrypted")
        if name in members or name == member.filename:
            raise ValueError(f"expected each array once as NAME.npy, got {shown(member.filename)}")
        members[name] = member
        _check_header(_start(archive, member), member)
    return members


def _start(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bytes:
    """The first bytes of a member, with the header of its array."""
    raw = archive.fp
    if raw is None or member.compress_type != zipfile.ZIP_STORED:
        with archive.open(member) as stream:
            return stream.read(_LONGEST_HEADER)
    # Opening each of hundreds of members takes most of the time of reading an archive.
    raw.seek(member.header_offset)
    block = raw.read(_ENOUGH)
    at = _LOCAL_HEADER.size + sum(_LOCAL_HEADER.unpack_from(block))
    start = block[at : at + min(_FIRST, member.file_size)]
    length = min(max(_header_length(start), _FIRST), _LONGEST_HEADER, member.file_size)
    if len(start) < length:
        raw.seek(member.header_offset + at)
        start = raw.read(length)
    return start


def _check_header(start: bytes, member: zipfile.ZipInfo) -> None:
    shape, dtype, _, length = _declared(start[: _header_length(start)])
    if dtype.kind not in _KINDS or dtype.subdtype is not None:
        raise ValueError(f"{shown(member.filename)} has type {dtype}, expected numbers or text")
    declared = math.prod(shape) * dtype.itemsize
    if min(shape, default=0) < 0 or max(shape, default=0) > MOST_BYTES:
        raise ValueError(f"{shown(member.filename)} declares the shape {list(shape)}")
    if length + declared != member.file_size:
        raise ValueError(f"{shown(member.filename)} declares {declared:,} bytes and has another size")


def _header_length(start: bytes) -> int:
    """The bytes before an array's values, of versions 1 and 2 of numpy's format."""
    size = 4 if start[6:8] == b"\x02\x00" else 2
    return 8 + size + int.from_bytes(start[8 : 8 + size], "little")


# The archives of one battery have the same few hundred headers, and parsing one takes longer than reading it.
@lru_cache(4096)
def _declared(header: bytes) -> tuple[tuple[int, ...], np.dtype, bool, int]:
    """Shape, type, whether the first index runs fastest, and length of a header.

    Raises:
        ValueError: when it is none.
    """
    stream = io.BytesIO(header)
    version = np.lib.format.read_magic(stream)
    read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    if version not in read:
        raise ValueError(f"version {version} of numpy's format")
    shape, columns_first, dtype = read[version](stream)
    return shape, dtype, columns_first, stream.tell()


def _read(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> np.ndarray:
    if member.file_size > SMALL:
        with archive.open(member) as stream:
            large: np.ndarray = np.lib.format.read_array(stream, allow_pickle=False)
            return large
    content = archive.read(member)
    shape, dtype, columns_first, length = _declared(content[: _header_length(content)])
    # A copy, as an array of these bytes could not be changed.
    return np.ndarray(shape, dtype, content, length, order="F" if columns_first else "C").copy()
