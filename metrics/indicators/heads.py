"""What enters the last linear layer."""

from torch import Tensor

from bench.core.classifier import AnyClassifier, Classifier


def head_input(classifier: AnyClassifier, images: Tensor) -> Tensor:
    """The input of the last linear layer [B, D], behind its activation; the network must have such a layer."""
    features = classifier.features(images)
    return behind_activation(classifier, features)


def behind_activation(classifier: AnyClassifier, features: Tensor) -> Tensor:
    """The input of the last linear layer, of features Z [B, D] as `forward_with_features` gives them."""
    return classifier.activation(features) if isinstance(classifier, Classifier) else features
