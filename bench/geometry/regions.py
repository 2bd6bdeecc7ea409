"""Decision regions: sign patterns packed to 64-bit words, counted exactly and in bounded memory."""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from bench.core.errors import NotFinite, UserError

#: Packed sign patterns, uint64 [N, ceil(D / 64)].
Patterns = NDArray[np.uint64]
#: Patterns [N, W] to one 64-bit key per row [N]; equal rows must get equal keys.
HashRows = Callable[[Patterns], NDArray[np.uint64]]

#: Rows sorted at once; larger sets are first partitioned by the leading bits of their hash.
ROWS_AT_ONCE = 1 << 20
#: Rows hashed or compared at once: few enough to stay in the cache.
_CHUNK = 1 << 14


class Regions(NamedTuple):
    """The distinct rows among N patterns: the populated regions (P1, definition 3).

    Attributes:
        ids: int64 [N], the region of each row, 0 … R − 1; the numbering depends only on the set of rows, not on
            their order.
        sizes: int64 [R], number of rows in each region.
        examples: int64 [R], the position of one row of each region.
    """

    ids: NDArray[np.int64]
    sizes: NDArray[np.int64]
    examples: NDArray[np.int64]


@dataclass(frozen=True)
class MajorRegions:
    """The major region of every class and its mean vector (P1, definitions 4 and 5).

    Attributes:
        mrv: MRV [C, D] in the features' dtype and on their device.
        counts: int64 [C] on the CPU, number of training samples of the class in its major region.
        fell_back: the classes whose major region was too small, so that `mrv` is the mean over the whole class.
        patterns: uint64 [C, ceil(D / 64)], the packed row of each major region.
    """

    mrv: Tensor
    counts: Tensor
    fell_back: tuple[int, ...]
    patterns: Patterns


def pack(features: Tensor) -> Patterns:
    """Pack the sign pattern `Z > 0` of each row; zero counts as the negative side (P1, definition 2).

    Args:
        features: Z [N, D].

    Returns:
        uint64 [N, ceil(D / 64)]; unit d is bit d mod 8 of byte d // 8, and bits beyond D are 0.

    Raises:
        UserError: when a feature is NaN, which has no sign.
    """
    # A sum is much cheaper than a test of every value, and it is NaN whenever a value is.
    if features.sum().isnan() and features.isnan().any():
        raise NotFinite("expected features that are numbers, got NaN: the network has most likely diverged")
    # numpy does not support bfloat16; widening preserves every sign.
    values = features.to(torch.promote_types(features.dtype, torch.float32)).numpy(force=True)
    rows = np.packbits(values > 0, axis=1, bitorder="little")
    return np.pad(rows, ((0, 0), (0, -rows.shape[1] % 8))).view(np.uint64)


def row_hash(patterns: Patterns, seed: int = 0) -> NDArray[np.uint64]:
    """A 64-bit key for each row: for each word, xor it in, multiply by an odd constant, fold the high half down.

    Every step is a bijection of the key, so two rows that differ in a single word never have the same key.

    Args:
        patterns: uint64 [N, W].
        seed: 0 … 2⁶⁴ − 1, the initial value of every key.
    """
    keys = np.full(len(patterns), seed, dtype=np.uint64)
    for start in range(0, len(patterns), _CHUNK):
        part = keys[start : start + _CHUNK]
        for words in patterns[start : start + _CHUNK].T:
            part ^= words
            part *= np.uint64(0x9E3779B97F4A7C15)
            part ^= part >> np.uint64(32)
    return keys


def find_regions(
    patterns: Patterns, *, hash_rows: HashRows = row_hash, rows_at_once: int = ROWS_AT_ONCE
) -> Regions:
    """Assign every row to its region. This is exact: rows with equal hashes are compared in full.

    Args:
        patterns: uint64 [N, W].
        hash_rows: patterns to the key of each row; a poor hash costs time but not correctness.
        rows_at_once: approximate number of rows to sort at once, which bounds the memory in addition to `patterns`.
    """
    keys = hash_rows(patterns)
    ids = np.empty(len(patterns), dtype=np.int64)
    examples, found = [], 0
    for index in _partitions(keys, _prefix_bits(len(patterns), rows_at_once)):
        order, first = _group(patterns[index], keys[index])
        ids[index[order]] = found + np.cumsum(first) - 1
        examples.append(index[order[first]])
        found += len(examples[-1])
    return Regions(ids, np.bincount(ids, minlength=found), np.concatenate(examples))


def count_regions(
    patterns: Patterns, *, hash_rows: HashRows = row_hash, rows_at_once: int = ROWS_AT_ONCE
) -> int:
    """The number of populated regions: distinct rows among `patterns` (P1, definition 3).

    Args:
        patterns: uint64 [N, W].
        hash_rows, rows_at_once: as for `find_regions`.
    """
    return len(find_regions(patterns, hash_rows=hash_rows, rows_at_once=rows_at_once).sizes)


def membership(
    test_patterns: Patterns,
    train_patterns: Patterns,
    *,
    hash_rows: HashRows = row_hash,
    rows_at_once: int = ROWS_AT_ONCE,
) -> NDArray[np.bool_]:
    """Test rows [N] that occur among the training rows (P1 §3.3).

    Args:
        test_patterns, train_patterns: uint64 [N, W] and [M, W]; pass both through `within_class` to
            require training rows of the same class.
        hash_rows, rows_at_once: as for `find_regions`.

    Raises:
        ValueError: when the two have different numbers of words.
    """
    if test_patterns.shape[1] != train_patterns.shape[1]:
        raise ValueError(f"expected equally wide rows, got {test_patterns.shape} and {train_patterns.shape}")
    bits = _prefix_bits(len(test_patterns) + len(train_patterns), rows_at_once)
    test_keys, train_keys = hash_rows(test_patterns), hash_rows(train_patterns)
    inside = np.empty(len(test_patterns), dtype=bool)
    for test, train in zip(_partitions(test_keys, bits), _partitions(train_keys, bits), strict=True):
        order, first = _group(
            np.concatenate([train_patterns[train], test_patterns[test]]),
            np.concatenate([train_keys[train], test_keys[test]]),
        )
        ids = np.empty(len(order), dtype=np.int64)
        ids[order] = np.cumsum(first) - 1
        populated = np.zeros(len(order), dtype=bool)
        populated[ids[: len(train)]] = True
        inside[test] = populated[ids[len(train) :]]
    return inside


def within_class(patterns: Patterns, labels: NDArray[np.integer]) -> Patterns:
    """Rows [N, W + 1] that are equal only when both pattern and class are equal.

    Args:
        patterns: uint64 [N, W].
        labels: int [N].
    """
    return np.column_stack([patterns, labels.astype(np.uint64)])


def major_regions(
    patterns: Patterns, labels: NDArray[np.integer], num_classes: int
) -> tuple[Patterns, NDArray[np.int64]]:
    """The region that contains the most samples of each class (P1, definition 4).

    Among equally large regions the one with the smallest packed bytes is taken, whatever the order of the samples.

    Args:
        patterns: uint64 [N, W].
        labels: int [N], 0 … num_classes − 1.
        num_classes: C.

    Returns:
        The packed rows uint64 [C, W], and the number of samples of the class in each, int64 [C]; a class without
        samples has a row of zeros and count 0.
    """
    rows = np.zeros((num_classes, patterns.shape[1]), dtype=np.uint64)
    counts = np.zeros(num_classes, dtype=np.int64)
    for label in np.unique(labels):
        own = patterns[labels == label]
        regions = find_regions(own)
        counts[label] = regions.sizes.max()
        largest = regions.examples[regions.sizes == counts[label]]
        rows[label] = min((own[example] for example in largest), key=lambda row: row.tobytes())
    return rows, counts


@torch.no_grad()
def major_region_vectors(
    batches: Callable[[], Iterable[tuple[Tensor, Tensor]]], num_classes: int, min_count: int = 50
) -> MajorRegions:
    """The mean feature vector of each class over its major region (P1, definition 5).

    MRV_c = mean of Z over the samples of class c in MR_c, or over all samples of class c when MR_c has fewer than
    `min_count`. The first pass finds the major regions, the second sums, so Z is never fully in memory.

    Args:
        batches: a function that iterates over the training set anew at every call and yields features Z [B, D]
            before the activation, and labels int64 [B]; the network should be in eval mode.
        num_classes: C.
        min_count: the smallest major region to average over, in samples; 0 follows the paper literally.

    Raises:
        UserError: when a class has no sample, or a feature is NaN.
        ValueError: when the second pass does not yield the samples of the first.
    """
    packed, targets = [], []
    for features, labels in batches():
        packed.append(pack(features))
        targets.append(labels.cpu().numpy())
    class_sizes = torch.from_numpy(np.bincount(np.concatenate(targets), minlength=num_classes))
    if not class_sizes.all():
        missing = torch.nonzero(class_sizes == 0).flatten().tolist()
        raise UserError(
            f"expected training samples of each of the {num_classes} classes, got none of {missing}"
        )
    patterns, _ = major_regions(np.concatenate(packed), np.concatenate(targets), num_classes)

    # Rows 0 … C − 1 are for the whole classes, the others for their major regions.
    sums, counts = torch.zeros(()), torch.zeros(2 * num_classes, dtype=torch.long)
    for features, labels in batches():
        inside = torch.from_numpy((pack(features) == patterns[labels.cpu().numpy()]).all(axis=1))
        of_class = F.one_hot(labels, num_classes).double().T
        members = torch.cat([of_class, of_class * inside.to(of_class)])
        sums = members @ features.double() + sums.to(members)
        counts += members.sum(dim=1).long().cpu()
    if not torch.equal(counts[:num_classes], class_sizes):
        raise ValueError(
            "expected batches() to give the same samples at every call; is it a used-up iterator?"
        )

    class_means, region_means = (sums / counts.clamp_min(1)[:, None].to(sums)).chunk(2)
    small = counts[num_classes:] < max(min_count, 1)
    mrv = torch.where(small[:, None].to(sums.device), class_means, region_means).to(features.dtype)
    return MajorRegions(mrv, counts[num_classes:], tuple(torch.nonzero(small).flatten().tolist()), patterns)


def live_units(patterns: Patterns, num_features: int) -> NDArray[np.bool_]:
    """Units [D] that take both signs; the others separate no two samples.

    Args:
        patterns: uint64 [N, ceil(D / 64)].
        num_features: D.
    """
    both = np.bitwise_or.reduce(patterns, axis=0) & ~np.bitwise_and.reduce(patterns, axis=0)
    return np.unpackbits(both.view(np.uint8), count=num_features, bitorder="little").astype(bool)


def in_majority(ids: NDArray[np.int64], labels: NDArray[np.integer]) -> NDArray[np.bool_]:
    """Samples [N] that have the most frequent label of their region; ties go to the smallest label.

    The mean is the purity of the regions.

    Args:
        ids: int64 [N], the region of each sample, 0 … R − 1.
        labels: int [N], from 0.
    """
    num_classes = int(labels.max(initial=0)) + 1
    pairs, counts = np.unique(ids * num_classes + labels, return_counts=True)
    region, label = np.divmod(pairs, num_classes)
    order = np.lexsort((label, -counts, region))
    _, first = np.unique(region[order], return_index=True)
    return label[order[first]][ids] == labels


def _prefix_bits(rows: int, rows_at_once: int) -> int:
    return max(0, math.ceil(math.log2(max(rows, 1) / rows_at_once)))


def _partitions(keys: NDArray[np.uint64], bits: int) -> Iterator[NDArray[np.int64]]:
    # Two shifts, because a shift by 64 bits is undefined. Numpy sorts 16 bits by radix, in one pass for all.
    prefix = (keys >> np.uint64(1) >> np.uint64(63 - bits)).astype(np.uint16 if bits <= 16 else np.uint64)
    order = np.argsort(prefix, kind="stable")
    ends = np.searchsorted(prefix, np.arange(1 << bits, dtype=prefix.dtype), side="right", sorter=order)
    start = 0
    for end in ends:
        yield order[start:end]
        start = end


def _group(rows: Patterns, keys: NDArray[np.uint64]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """An order in which equal rows are adjacent, and its positions [N] that start a new region."""
    order = np.argsort(keys)
    new_key = np.ones(len(keys), dtype=bool)
    new_key[1:] = keys[order[1:]] != keys[order[:-1]]
    first = _starts(rows, order, new_key)
    if (first != new_key).any():
        # Regions with the same hash may interleave; sorting also by the rows themselves separates them.
        order = np.lexsort((*rows.T, keys))
        first = _starts(rows, order, new_key)
    return order, first


def _starts(rows: Patterns, order: NDArray[np.int64], new_key: NDArray[np.bool_]) -> NDArray[np.bool_]:
    first = new_key.copy()
    repeated = np.flatnonzero(~new_key)
    for start in range(0, len(repeated), _CHUNK):
        at = repeated[start : start + _CHUNK]
        first[at] = (rows[order[at]] != rows[order[at - 1]]).any(axis=1)
    return first
