import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics.pairwise import cosine_similarity

from bench.geometry.cosines import (
    cosine_matrix,
    from_upper_triangle,
    mean_off_diagonal,
    upper_triangle,
)


def mean(weight):
    return mean_off_diagonal(cosine_matrix(torch.as_tensor(weight, dtype=torch.float32)))


def test_orthogonal_rows_have_cosine_zero_and_equal_rows_one():
    assert mean(np.eye(4)) == 0
    assert mean(np.tile([0.3, -2.0, 5.0], (4, 1))) == pytest.approx(1)


def test_two_classes_with_opposite_rows_have_cosine_minus_one():
    assert mean([[1.0, 2.0], [-1.0, -2.0]]) == pytest.approx(-1)


def test_the_length_of_rows_does_not_matter_down_to_tiny_ones():
    assert mean([[1e-30, 1e-30], [1e30, 1e30]]) == pytest.approx(1)


def test_a_row_of_zeros_counts_as_orthogonal():
    matrix = cosine_matrix(torch.tensor([[0.0, 0.0], [1.0, 0.0], [1.0, 0.0]]))
    assert matrix.tolist() == [[0, 0, 0], [0, 1, 1], [0, 1, 1]]
    assert mean_off_diagonal(matrix) == pytest.approx(1 / 3)


@settings(deadline=None)
@given(arrays(np.float64, (5, 3), elements=st.integers(-9, 9)))
def test_the_matrix_is_that_of_scikit_learn(weight):
    assert np.allclose(cosine_matrix(torch.from_numpy(weight)), cosine_similarity(weight))


@pytest.mark.parametrize("classes", [2, 3, 10])
def test_the_upper_triangle_gives_the_matrix_back_as_list_and_as_the_text_of_older_records(classes):
    matrix = cosine_matrix(torch.randn(classes, 7, generator=torch.Generator().manual_seed(classes)))
    entries = upper_triangle(matrix)
    assert len(entries) == classes * (classes - 1) // 2
    for written in (entries, " ".join(f"{value:.3f}" for value in entries)):
        found = from_upper_triangle(written)
        assert np.allclose(found, matrix, atol=5.1e-4)
        assert np.array_equal(found, found.T)
        assert (found.diagonal() == 1).all()


@pytest.mark.parametrize("entries", [None, "", "a b c", "0.1 0.2", "nan", 0.5, [], [0.1, 0.2], [None], ["a"]])
def test_what_is_no_upper_triangle_gives_no_matrix(entries):
    assert from_upper_triangle(entries) is None
