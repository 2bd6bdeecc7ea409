"""Names: those of scores in a record, and those made from values (digests, file names, slugs)."""

import hashlib
import json
import re
import unicodedata
from typing import Any

#: Scores that other parts read by name. Each metric defines its own name and may have more scores.
CLEAN_ACCURACY = "clean_accuracy"
ROBUST_ACCURACY = "robust_accuracy/"  # and the attack
FGSM = ROBUST_ACCURACY + "fgsm"
BIM = ROBUST_ACCURACY + "bim"
PGD20 = ROBUST_ACCURACY + "pgd20"
PGD100 = ROBUST_ACCURACY + "pgd100"
CW = ROBUST_ACCURACY + "cw"
CW100X5 = ROBUST_ACCURACY + "cw100x5"
ADAPTIVE = ROBUST_ACCURACY + "adaptive"
AUTOATTACK = ROBUST_ACCURACY + "autoattack"
WORST_CASE = ROBUST_ACCURACY + "worst_case"
SUSPICIOUS = "suspicious/"  # and the check that answers an alarm
PRS_RATIO = "prs_ratio"
INCLUSION_RATIO = "inclusion_ratio"
DETECTION_AUC = "detection_auc"
DETECTION_AUC_CALIBRATED = "detection_auc_calibrated"
TIME_PER_EPOCH = "time_per_epoch"
TIME_PER_EPOCH_RATIO = "time_per_epoch_ratio"
#: Of the front of a search: no score of the battery, and measured on validation images.
HYPERVOLUME = "hypervolume"

#: Longest name that is made of words, in bytes: file systems take 255, and a hash or a suffix may follow.
MOST_BYTES_OF_NAME = 230

#: What comes before the path in the name of an image folder, and of an npz file.
FOLDER_PREFIX, NPZ_PREFIX = "imagefolder:", "npz:"
#: Name of a data set that was given without one.
OWN_DATA = "own-data"


def is_accuracy(name: str) -> bool:
    """Whether a score of this name is an accuracy, clean or robust: pages show it in per cent."""
    return name.split("/")[0] in (CLEAN_ACCURACY, ROBUST_ACCURACY.rstrip("/"))


def identity(values: dict[str, Any]) -> str:
    """Eight hex digits that name a set of values: equal values give equal digits, on every machine."""
    text = json.dumps(values, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def safe_name(word: str) -> str:
    """A word that can be the name of a file or folder: no path, and no longer than file systems allow.

    Of a longer one the beginning is kept, and a hash of all of it.
    """
    name = "".join(character if character.isalnum() or character in "-_." else "_" for character in word)
    if not name.strip("."):  # "." and ".." are folders
        return name.replace(".", "_") or "_"
    if len(name.encode()) <= MOST_BYTES_OF_NAME:
        return name
    mark = f"-{short_hash(word)}"
    return name.encode()[: MOST_BYTES_OF_NAME - len(mark)].decode(errors="ignore") + mark


def slug(text: str, limit: int = 48) -> str:
    """A lower-case name of letters, digits and single hyphens; "x" when nothing else is left.

    Two texts can share a slug, so a file name adds `short_hash` of what it stands for.
    """
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", plain)[:limit].strip("-") or "x"


def short_hash(value: Any) -> str:
    """Eight hex digits that identify any JSON value."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:8]


def data_source(name: str) -> str:
    """The name of a data set as records keep it: a file `PATH.npz` becomes `npz:PATH.npz`."""
    return f"{NPZ_PREFIX}{name}" if name.endswith(".npz") and ":" not in name else name


def is_local_path(name: str) -> bool:
    """Whether the name of a data set leads to a file or folder of this machine."""
    return name.startswith((FOLDER_PREFIX, NPZ_PREFIX))


def dataset_label(name: str) -> str:
    """The name of a data set without the folders in front of it ("imagefolder:/a/b" → "imagefolder:b")."""
    kind, colon, path = name.partition(":")
    last = re.split(r"[\\/]", (path if colon else kind).rstrip("\\/"))[-1]
    return kind + colon + last if colon else last
