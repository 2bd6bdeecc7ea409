import pytest
import torch
from torch import nn

from bench.attacks.zero_gradient import zero_gradients
from bench.core.classifier import WrappedClassifier
from bench.core.errors import UserError
from bench.core.passes import PassCount, counting


class Saturated(nn.Module):
    """Logits (gap, x_0) with the gap that the second pixel asks for: 500 where it is bright, else 1."""

    def forward(self, images):
        pixels = images.flatten(1)
        gap = 1 + 499 * (pixels[:, 1].detach() > 0.5).to(pixels)
        return torch.stack([gap, pixels[:, 0]], dim=1)


class Constant(nn.Module):
    def forward(self, images):
        return torch.tensor([3.0, 0.0], dtype=images.dtype).expand(len(images), 2)


def look(module, labels, loss="ce", bright=(1.0, 0.0, 1.0)):
    images = torch.tensor([[[[0.0, value]]] for value in bright])
    return zero_gradients(
        WrappedClassifier(module, (1, 1, 2), 2).eval(), images, torch.tensor(labels), loss, batch_size=2
    )


def test_logits_500_and_0_leave_cross_entropy_no_gradient_in_float32_but_one_in_float64():
    found = look(Saturated(), [0, 0, 0])
    assert found.float32.tolist() == [True, False, True]
    assert found.float64.tolist() == [False, False, False]


def test_the_margin_has_a_gradient_there():
    assert not look(Saturated(), [0, 0, 0], "margin").float32.any()


def test_a_constant_network_has_no_gradient_in_any_precision():
    found = look(Constant(), [0, 0, 0])
    assert found.float32.all()
    assert found.float64.all()


def test_misclassified_images_are_no_case_of_a_zero_gradient():
    found = look(Saturated(), [0, 0, 1])
    assert found.right.tolist() == [True, True, False]
    assert found.float32.tolist() == [True, False, False]
    module = Constant()
    with counting(module) as passes:
        none = look(module, [1, 1, 1])
    assert not (none.right | none.float32 | none.float64).any()
    assert passes.backwards == 0


def test_no_image_needs_no_pass():
    classifier = WrappedClassifier(Constant(), (1, 1, 2), 2).eval()
    with counting(classifier) as passes:
        found = zero_gradients(classifier, torch.zeros(0, 1, 1, 2), torch.zeros(0, dtype=torch.long))
    assert len(found.right) == 0
    assert passes == PassCount(0, 0)


def test_an_unknown_loss_is_told():
    with pytest.raises(UserError, match="unknown loss"):
        look(Constant(), [0, 0, 0], "cee")
