import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from bench.core.errors import UserError
from bench.geometry.regions import (
    count_regions,
    find_regions,
    in_majority,
    live_units,
    major_region_vectors,
    major_regions,
    membership,
    pack,
    row_hash,
    within_class,
)

#: Few columns and few values a word, so that rows often repeat and often differ in one word only.
signs = arrays(bool, array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=40))
#: Keys that collide always, almost always, and only by chance.
hashes = st.sampled_from(
    [
        lambda rows: np.zeros(len(rows), np.uint64),
        lambda rows: row_hash(rows) & np.uint64(1),
        lambda rows: row_hash(rows) << np.uint64(62),
        row_hash,
        lambda rows: row_hash(rows, seed=2**64 - 1),
    ]
)
partitions = st.sampled_from([1, 2, 7, 1 << 20])


def features(rows):
    return torch.as_tensor(np.where(rows, 1.0, -1.0))


def narrow(rows):
    """The same rows in three columns, so that many coincide."""
    return rows[:, :3]


@given(signs)
def test_pack_keeps_every_bit_and_pads_with_zeros(rows):
    packed = pack(features(rows))
    assert packed.shape == (len(rows), math.ceil(rows.shape[1] / 64))
    bits = np.unpackbits(packed.view(np.uint8), axis=1, bitorder="little")
    assert np.array_equal(bits[:, : rows.shape[1]], rows)
    assert not bits[:, rows.shape[1] :].any()


def test_zero_counts_as_the_negative_side():
    assert np.array_equal(pack(torch.tensor([[0.0, -0.0, 1e-30]])), pack(torch.tensor([[-1.0, -1.0, 1.0]])))


def test_nan_features_are_refused():
    with pytest.raises(UserError, match="NaN"):
        pack(torch.tensor([[1.0, math.nan]]))


def test_infinite_features_have_a_side():
    assert np.array_equal(pack(torch.tensor([[math.inf, -math.inf]])), pack(torch.tensor([[1.0, -1.0]])))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.double])
def test_every_float_type_keeps_its_signs(dtype):
    z = torch.tensor([[torch.finfo(dtype).tiny, -torch.finfo(dtype).tiny, 0.0]], dtype=dtype)
    assert np.array_equal(pack(z), pack(torch.tensor([[1.0, -1.0, -1.0]])))


@given(signs, hashes, partitions)
def test_regions_are_the_distinct_rows_whatever_the_hash_and_the_partition(rows, hash_rows, rows_at_once):
    for each in (rows, narrow(rows)):
        regions = find_regions(pack(features(each)), hash_rows=hash_rows, rows_at_once=rows_at_once)
        distinct, inverse, counts = np.unique(each, axis=0, return_inverse=True, return_counts=True)
        assert len(regions.sizes) == len(distinct)
        assert np.array_equal(each[regions.examples][regions.ids], each)
        assert np.array_equal(regions.sizes[regions.ids], counts[inverse.reshape(-1)])


@given(signs, st.randoms(use_true_random=False), hashes, partitions)
def test_numbering_of_regions_does_not_depend_on_the_order_of_rows(rows, random, hash_rows, rows_at_once):
    packed = pack(features(narrow(rows)))
    order = np.array(random.sample(range(len(rows)), len(rows)))
    straight = find_regions(packed, hash_rows=hash_rows, rows_at_once=rows_at_once)
    shuffled = find_regions(packed[order], hash_rows=hash_rows, rows_at_once=rows_at_once)
    assert np.array_equal(straight.ids[order], shuffled.ids)
    assert np.array_equal(straight.sizes, shuffled.sizes)


@given(signs, signs, hashes, partitions)
def test_membership_is_that_of_a_set_of_rows(test, train, hash_rows, rows_at_once):
    width = min(test.shape[1], train.shape[1], 4)
    test, train = test[:, :width], train[:, :width]
    inside = membership(
        pack(features(test)), pack(features(train)), hash_rows=hash_rows, rows_at_once=rows_at_once
    )
    known = {row.tobytes() for row in train}
    assert inside.tolist() == [row.tobytes() in known for row in test]


def test_rows_of_many_words_are_counted_as_numpy_counts_them():
    generator = np.random.default_rng(0)
    rows = generator.random((3000, 200)) > 0.5
    rows = rows[generator.integers(0, 2000, 5000)]
    packed = pack(features(rows))
    expected = len(np.unique(rows, axis=0))
    assert count_regions(packed) == expected
    assert count_regions(packed, rows_at_once=100) == expected


def test_rows_that_differ_in_one_word_get_different_keys():
    words = np.arange(10_000, dtype=np.uint64)
    for column in range(3):
        rows = np.full((len(words), 3), 7, dtype=np.uint64)
        rows[:, column] = words
        assert len(np.unique(row_hash(rows))) == len(words)


def test_rows_of_different_width_cannot_be_compared():
    with pytest.raises(ValueError, match="equally wide"):
        membership(pack(torch.ones(1, 65)), pack(torch.ones(1, 64)))


def test_identity_with_points_in_three_quadrants_populates_three_of_four():
    points = torch.tensor([[1.0, 1.0], [2.0, 1.0], [-1.0, 1.0], [-1.0, -1.0]])
    assert count_regions(pack(points)) / len(points) == 0.75


def test_dead_units_leave_one_region_and_no_live_unit():
    dead = torch.randn(50, 70).abs().neg()
    assert count_regions(pack(dead)) == 1
    assert not live_units(pack(dead), 70).any()


def test_pre_activation_and_post_relu_give_the_same_regions():
    z = torch.randn(200, 5, generator=torch.Generator().manual_seed(0))
    assert np.array_equal(pack(z), pack(z.relu()))


@given(signs)
def test_a_unit_is_live_when_it_takes_both_signs(rows):
    live = live_units(pack(features(rows)), rows.shape[1])
    assert np.array_equal(live, rows.any(axis=0) & ~rows.all(axis=0))


def test_a_pattern_seen_only_in_another_class_is_included_but_not_in_its_class():
    pattern = pack(torch.tensor([[1.0, -1.0]]))
    train, test = within_class(pattern, np.array([1])), within_class(pattern, np.array([0]))
    assert membership(pattern, pattern).tolist() == [True]
    assert membership(test, train).tolist() == [False]


@given(signs, st.data())
def test_purity_is_the_share_of_the_most_frequent_label(rows, data):
    labels = np.array(data.draw(st.lists(st.integers(0, 3), min_size=len(rows), max_size=len(rows))))
    ids = find_regions(pack(features(narrow(rows)))).ids
    most = sum(np.bincount(labels[ids == region]).max() for region in np.unique(ids))
    assert in_majority(ids, labels).sum() == most


@given(signs, st.data())
def test_major_region_is_the_commonest_row_of_the_class_and_ties_go_to_the_smallest_bytes(rows, data):
    labels = np.array(data.draw(st.lists(st.integers(0, 2), min_size=len(rows), max_size=len(rows))))
    packed = pack(features(narrow(rows)))
    major, counts = major_regions(packed, labels, 4)
    for label in range(4):
        own = [row.tobytes() for row in packed[labels == label]]
        best = min(own, key=lambda row: (-own.count(row), row), default=bytes(packed[:1].nbytes))
        assert major[label].tobytes() == best
        assert counts[label] == own.count(best)


def streams(z, labels, size=2):
    z, labels = torch.as_tensor(z, dtype=torch.float32), torch.as_tensor(labels)
    return lambda: zip(z.split(size), labels.split(size), strict=True)


def test_mean_vector_is_taken_over_the_major_region():
    z = [[1.0, 1.0], [3.0, 1.0], [1.0, -1.0]]
    major = major_region_vectors(streams(z, [0, 0, 0]), 1, min_count=0)
    assert major.mrv.tolist() == [[2.0, 1.0]]
    assert major.counts.tolist() == [2]
    assert major.fell_back == ()
    assert np.array_equal(major.patterns, pack(torch.ones(1, 2)))


def test_a_small_major_region_falls_back_to_the_whole_class():
    z = [[1.0, 1.0], [3.0, 1.0], [1.0, -1.0], [-2.0, -4.0], [-4.0, -4.0], [-6.0, -4.0]]
    major = major_region_vectors(streams(z, [0, 0, 0, 1, 1, 1]), 2, min_count=3)
    assert torch.allclose(major.mrv, torch.tensor([[5 / 3, 1 / 3], [-4.0, -4.0]]))
    assert major.fell_back == (0,)
    assert major.mrv.dtype == torch.float32


def test_samples_of_other_classes_in_the_major_region_do_not_enter_its_mean():
    z = [[1.0, 1.0], [3.0, 3.0], [100.0, 100.0], [-1.0, -1.0], [-1.0, -1.0]]
    major = major_region_vectors(streams(z, [0, 0, 1, 1, 1]), 2, min_count=0)
    assert major.mrv.tolist() == [[2.0, 2.0], [-1.0, -1.0]]


@settings(deadline=None)
@given(st.integers(1, 30), st.integers(0, 2**32 - 1))
def test_mean_vectors_do_not_depend_on_the_batches(size, seed):
    generator = torch.Generator().manual_seed(seed)
    z = torch.randn(30, 3, generator=generator)
    labels = torch.cat([torch.arange(3), torch.randint(3, (27,), generator=generator)])
    one = major_region_vectors(streams(z, labels, size), 3, min_count=4)
    whole = major_region_vectors(streams(z, labels, 30), 3, min_count=4)
    patterns, counts = major_regions(pack(z), labels.numpy(), 3)
    assert torch.allclose(one.mrv, whole.mrv)
    assert one.fell_back == whole.fell_back == tuple(np.flatnonzero(counts < 4))
    assert one.counts.tolist() == counts.tolist()
    for label in range(3):
        own = labels == label
        inside = own & torch.as_tensor((pack(z) == patterns[label]).all(axis=1))
        mean = z[own if counts[label] < 4 else inside].mean(dim=0)
        assert torch.allclose(one.mrv[label], mean, atol=1e-6)


def test_a_class_without_samples_is_named():
    with pytest.raises(UserError, match=r"none of \[1\]"):
        major_region_vectors(streams([[1.0], [2.0]], [0, 2]), 3)


def test_a_used_up_iterator_is_noticed():
    once = iter([(torch.ones(2, 2), torch.zeros(2, dtype=torch.long))])
    with pytest.raises(ValueError, match="same samples"):
        major_region_vectors(lambda: once, 1)


def test_mean_vectors_carry_no_gradient():
    z = torch.randn(4, 2, requires_grad=True)
    major = major_region_vectors(lambda: [(z * 2, torch.zeros(4, dtype=torch.long))], 1)
    assert not major.mrv.requires_grad
