"""Data in the forms that people have: arrays, tensors, torch data sets, mappings of columns or of rows."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, SequentialSampler

from bench.core.errors import UserError
from bench.data.pixels import as_images, as_labels
from bench.data.raw import RawData
from bench.data.splits import stratified_order

#: What a message says that data may be.
FORMS = (
    "(images, labels), a torch Dataset, a mapping with images and labels, or two of these as "
    '{"train": …, "test": …}'
)
#: Names of the columns, and of the parts, in the order in which they are looked for.
IMAGES = ("images", "image", "img", "x", "data", "pixel_values")
LABELS = ("labels", "label", "y", "target", "targets", "fine_label")
TRAIN, TEST = ("train", "training"), ("test", "testing")
#: The column that says to which part an image belongs.
SPLIT = "split"


@dataclass(frozen=True)
class Examples:
    """Images uint8 [N, C, H, W], labels int64 [N], and the names of the classes where the source says them."""

    images: Tensor
    labels: Tensor
    classes: tuple[str, ...] = ()


def as_raw(given: Any) -> RawData:
    """Turn what a loader gave into `RawData`.

    A single set of images is divided: a fixed stratified fifth of it serves as test set, as for `digits`.

    Args:
        given: `RawData`; training and test part as a mapping, a pair, or arrays `x_train`, `y_train`, `x_test`,
            `y_test`; or one part. A part is `(images, labels)`, a mapping of columns, a torch `Dataset`, a
            sequential `DataLoader`, or a sequence of examples. Columns may be divided by one called `split`.

    Raises:
        UserError: for something else, with what came and what is needed.
    """
    if isinstance(given, RawData):
        return given
    parts = _parts(given)
    if parts is None:
        return _divided(read_examples(given, ""))
    train, test = (read_examples(part, name) for part, name in zip(parts, ("training", "test"), strict=True))
    if train.images.shape[1:] != test.images.shape[1:]:
        raise UserError(
            f"expected training and test images of one shape, got {tuple(train.images.shape)} and "
            f"{tuple(test.images.shape)}"
        )
    own = _names(given) if isinstance(given, Mapping) else ()
    return _raw(own or train.classes or test.classes, train, test)


def is_one_set(given: Any) -> bool:
    """Whether these are images with labels that are not divided into training and test set."""
    return not isinstance(given, RawData) and _parts(given) is None


def read_examples(given: Any, part: str) -> Examples:
    """Read one set of images with labels.

    Args:
        given: as a part for `as_raw`.
        part: what messages call it, such as "training"; may be empty.

    Raises:
        UserError: when it is something else, or its images or labels are.
    """
    name = f"{part} " if part else ""
    images, labels, classes = _columns(given, f"{name}data")
    read = as_images(images, f"{name}images"), as_labels(labels, f"{name}labels")
    if len(read[0]) == len(read[1]) == 0:
        raise UserError(f"expected at least one of the {name}images, with its label, got none")
    if len(read[0]) != len(read[1]):
        raise UserError(f"expected as many {name}images as labels, got {len(read[0])} and {len(read[1])}")
    return Examples(*read, classes)


def _parts(given: Any) -> tuple[Any, Any] | None:
    """The training and the test part of what was given; None where it is one part."""
    if isinstance(given, Mapping):
        return _parts_of_mapping(given)
    if not isinstance(given, tuple):
        return None
    if len(given) == 4:
        return given[:2], given[2:]
    pair = len(given) == 2 and not any(_is_array(part) for part in given)
    # Two lists of numbers or images are the columns of one part.
    if pair and not any(isinstance(part, list) and not _is_pair(part[0] if part else ()) for part in given):
        return given[0], given[1]
    return None


def _parts_of_mapping(given: Mapping[Any, Any]) -> tuple[Any, Any] | None:
    train, test = _find(given, TRAIN), _find(given, TEST)
    if train is not None and test is not None:
        return given[train], given[test]
    if train is not None:
        others = ", ".join(str(key) for key in given if key != train)
        raise UserError(
            f'expected {{"train": …, "test": …}}, got train and {others or "nothing else"}; name one test'
        )
    flat = [
        next((key for column in columns for key in _spelled(column, part) if key in given), None)
        for part in ("train", "test")
        for columns in (IMAGES, LABELS)
    ]
    if all(key is not None for key in flat):
        classes = {"classes": given["classes"]} if "classes" in given else {}
        return tuple(  # type: ignore[return-value]
            {"images": given[images], "labels": given[labels], **classes}
            for images, labels in (flat[:2], flat[2:])
        )
    if any(key is not None for key in flat):
        raise UserError(
            "expected arrays x_train, y_train, x_test and y_test, or images and labels, got "
            f"{', '.join(map(str, given))}"
        )
    return _parts_by_column(given) if SPLIT in given else None


def _spelled(column: str, part: str) -> tuple[str, str]:
    return f"{part}_{column}", f"{column}_{part}"


def _parts_by_column(given: Mapping[Any, Any]) -> tuple[Any, Any]:
    column = np.asarray([str(each) for each in given[SPLIT]])
    names = sorted(set(column.tolist()))
    if not (_find(dict.fromkeys(names), TRAIN) and _find(dict.fromkeys(names), TEST)):
        raise UserError(f"the column {SPLIT}: expected train and test, got {', '.join(names[:5])}")
    columns = {key: value for key, value in given.items() if key not in (SPLIT, "classes")}
    classes = {"classes": given["classes"]} if "classes" in given else {}
    parts = []
    for part in (TRAIN, TEST):
        rows = np.flatnonzero(np.isin(column, part))
        parts.append({key: _rows_of(value, rows, len(column)) for key, value in columns.items()} | classes)
    return parts[0], parts[1]


def _rows_of(values: Any, rows: np.ndarray, size: int) -> Any:
    if len(values) != size:
        raise UserError(f"expected columns of {size} rows, as {SPLIT} has, got one of {len(values)}")
    if isinstance(values, list | tuple):
        return [values[row] for row in rows]
    return values[torch.from_numpy(rows)] if isinstance(values, Tensor) else np.asarray(values)[rows]


def _columns(given: Any, what: str) -> tuple[Any, Any, tuple[str, ...]]:
    """Images, labels and the names of the classes, unconverted."""
    if isinstance(given, Mapping):
        return given[_column(given, IMAGES, what)], given[_column(given, LABELS, what)], _names(given)
    if isinstance(given, DataLoader):
        return *_batches(given, what), _class_names(given.dataset)
    if isinstance(given, tuple) and len(given) == 2:
        return given[0], given[1], ()
    if isinstance(given, list) and len(given) == 2 and _is_array(given[0]):
        return given[0], given[1], ()
    readable = hasattr(given, "__len__") and hasattr(given, "__getitem__")
    if isinstance(given, IterableDataset | type | str) or not readable:
        came = "the class " + given.__name__ if isinstance(given, type) else type(given).__name__
        endless = isinstance(given, Iterable) and not isinstance(given, type | str)
        hint = "; it has no order, so give list(…) of it" if endless else ""
        hint = "; bench.data.load gives a data set by its name" if isinstance(given, str) else hint
        raise UserError(f"{what}: expected {FORMS}, got {came}{hint}")
    if _is_array(given):
        raise UserError(f"{what}: expected {FORMS}, got images of shape {tuple(given.shape)} without labels")
    return *_rows(given, what), _class_names(given)


def _rows(given: Any, what: str) -> tuple[list[Any], list[Any]]:
    """The columns of a torch data set, or of another sequence of examples."""
    if len(given) == 0:
        raise UserError(f"{what}: expected at least one example, got none")
    first, again = given[0], given[0]
    columns: Any = (0, 1)
    if isinstance(first, Mapping):
        columns = _column(first, IMAGES, what), _column(first, LABELS, what)
    elif not isinstance(first, tuple | list) or len(first) < 2:
        raise UserError(f"{what}: expected examples (image, label), the first is {type(first).__name__}")
    images, labels = [], []
    for number in range(len(given)):
        row = given[number]
        images.append(row[columns[0]])
        labels.append(int(row[columns[1]]) if _is_number(row[columns[1]]) else row[columns[1]])
    if not _equal(first[columns[0]], again[columns[0]]):
        raise UserError(
            f"{what}: gives another image each time it is asked for the same one; leave random transforms out, "
            "for the fingerprint needs fixed images (a recipe augments them in training)"
        )
    return images, labels


def _batches(loader: "DataLoader[Any]", what: str) -> tuple[Any, Any]:
    if not isinstance(loader.sampler, SequentialSampler):
        raise UserError(
            f"{what}: this DataLoader shuffles, and the fingerprint of the data needs an order; give it with "
            "shuffle=False, or give its dataset"
        )
    batches = list(loader)
    if not batches:
        raise UserError(f"{what}: expected at least one batch, got none")
    columns: Any = (0, 1)
    if isinstance(batches[0], Mapping):
        columns = _column(batches[0], IMAGES, what), _column(batches[0], LABELS, what)
    images, labels = ([torch.as_tensor(batch[column]) for batch in batches] for column in columns)
    return torch.cat(images), torch.cat(labels)


def _names(given: Mapping[Any, Any]) -> tuple[str, ...]:
    """The names of the classes in a mapping, under "classes"; they may be an array."""
    names = given.get("classes", ())
    return tuple(map(str, getattr(names, "tolist", lambda: names)()))


def _class_names(given: Any) -> tuple[str, ...]:
    """Names that a torch data set, a subset of one, or the label column of a Hugging Face data set has."""
    while not hasattr(given, "classes") and hasattr(given, "dataset"):
        given = given.dataset
    features = getattr(given, "features", None)
    if isinstance(features, Mapping):
        label = _find(features, LABELS)
        names = getattr(features[label], "names", None) if label is not None else None
    else:
        names = getattr(given, "classes", None)
    return tuple(map(str, names)) if isinstance(names, list | tuple) else ()


def _divided(examples: Examples) -> RawData:
    """A fixed stratified fifth for testing, the rest for training, each in the order given."""
    order = stratified_order(examples.labels, "given")
    size = round(len(order) / 5)
    if size == 0:
        raise UserError(f"expected at least 5 images to divide into training and test set, got {len(order)}")
    test, train = order[:size].sort().values, order[size:].sort().values
    parts = (Examples(examples.images[rows], examples.labels[rows]) for rows in (train, test))
    return _raw(examples.classes, *parts)


def _raw(classes: tuple[str, ...], train: Examples, test: Examples) -> RawData:
    labels = torch.cat([train.labels, test.labels])
    if not classes:
        least, most = int(labels.min()), int(labels.max())
        if least > 0:
            raise UserError(f"expected labels from 0 on, got {least} to {most}; give labels - {least}")
        if most >= len(labels):
            raise UserError(
                f"expected labels that number the classes from 0 on, got up to {most} for {len(labels)} images"
            )
        classes = tuple(map(str, range(most + 1)))
    return RawData(classes, train.images, train.labels, test.images, test.labels)


def _column(given: Mapping[Any, Any], names: tuple[str, ...], what: str) -> Any:
    found = _find(given, names)
    if found is None:
        raise UserError(
            f"{what}: expected {names[0]} among its columns, got {', '.join(map(str, given)) or 'none'}"
        )
    return found


def _find(given: Mapping[Any, Any], names: tuple[str, ...]) -> Any:
    return next((name for name in names if name in given), None)


def _is_array(value: Any) -> bool:
    return isinstance(value, Tensor | np.ndarray)


def _is_pair(value: Any) -> bool:
    return isinstance(value, tuple | Mapping)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | np.integer) or (_is_array(value) and value.ndim == 0 and _is_whole(value))


def _is_whole(value: Any) -> bool:
    return not value.is_floating_point() if isinstance(value, Tensor) else value.dtype.kind in "iu"


def _equal(first: Any, second: Any) -> bool:
    return np.array_equal(np.asarray(first), np.asarray(second))
