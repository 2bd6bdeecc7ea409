import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pyautoattack.autopgd_base import APGDAttack
from torch.nn import functional as F

from bench.core.margins import cross_entropy, decision_function, dlr_loss, strongest_other

#: Appendix 8.1 of the decision-surface paper: logits (k, 1, …, 1), ten classes.
PAPER = (3.237, 2.303, 1.461, 0.797, 0.370, 0.153, 0.059, 0.022, 0.008, 0.003)


def logits_and_labels(seed, batch=12, classes=5):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(batch, classes, generator=generator)
    return logits, torch.randint(classes, (batch,), generator=generator)


@settings(deadline=None)
@given(st.integers(0, 10_000))
def test_decision_function_is_the_label_minus_the_best_other_logit(seed):
    logits, labels = logits_and_labels(seed)
    expected = [
        row[label] - max(value for place, value in enumerate(row.tolist()) if place != label)
        for row, label in zip(logits, labels.tolist(), strict=True)
    ]
    torch.testing.assert_close(decision_function(logits, labels), torch.stack(expected))
    assert torch.equal(decision_function(logits, labels) > 0, logits.argmax(dim=1) == labels)


def test_gradient_flows_through_the_label_and_the_best_other_logit_alone():
    logits = torch.tensor([[3.0, 1.0, 2.0], [0.0, 5.0, 1.0]], requires_grad=True)
    labels = torch.tensor([0, 2])
    (gradient,) = torch.autograd.grad(decision_function(logits, labels).sum(), logits)
    assert gradient.tolist() == [[1.0, 0.0, -1.0], [0.0, -1.0, 1.0]]
    assert strongest_other(logits, labels).tolist() == [2, 1]


def test_a_tie_is_on_the_boundary_and_not_positive():
    assert decision_function(torch.tensor([[2.0, 2.0, 0.0]]), torch.tensor([0])).tolist() == [0.0]


def test_decision_function_takes_a_second_derivative():
    point = torch.tensor([[0.5, 2.0]], requires_grad=True)
    (slope,) = torch.autograd.grad(
        decision_function(point**2, torch.tensor([1])).sum(), point, create_graph=True
    )
    (curvature,) = torch.autograd.grad(slope.sum(), point)
    assert curvature.tolist() == [[-2.0, 2.0]]


@pytest.mark.parametrize(("k", "value"), list(enumerate(PAPER)))
def test_cross_entropy_gives_the_table_of_the_paper(k, value):
    logits = torch.ones(1, 10)
    logits[0, 0] = k
    assert cross_entropy(logits, torch.tensor([0])).item() == pytest.approx(value, abs=5e-4)


@settings(deadline=None)
@given(st.integers(0, 10_000))
def test_dlr_equals_the_official_implementation(seed):
    logits, labels = logits_and_labels(seed)
    official = APGDAttack(None, eps=0.1).dlr_loss(logits, labels)
    torch.testing.assert_close(dlr_loss(logits, labels), official)


@settings(deadline=None)
@given(st.integers(0, 10_000), st.floats(0.1, 100), st.floats(-10, 10))
def test_dlr_knows_neither_scale_nor_shift(seed, scale, shift):
    logits, labels = logits_and_labels(seed)
    logits = logits.double()
    moved = dlr_loss(scale * logits + shift, labels)
    torch.testing.assert_close(moved, dlr_loss(logits, labels), rtol=1e-7, atol=1e-7)


def test_saturated_cross_entropy_has_no_gradient_in_float32_where_the_margin_has_one():
    logits = torch.tensor([[500.0, 0.0]], requires_grad=True)
    labels = torch.tensor([0])
    (flat,) = torch.autograd.grad(cross_entropy(logits, labels).sum(), logits)
    (steep,) = torch.autograd.grad(decision_function(logits, labels).sum(), logits)
    assert flat.tolist() == [[0.0, 0.0]]
    assert steep.tolist() == [[1.0, -1.0]]
    assert F.softmax(logits.double(), dim=1)[0, 1] > 0, "float64 still sees it"
