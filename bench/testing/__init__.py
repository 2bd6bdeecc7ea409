"""What every defense, metric, network and data set keeps to, as checks that a plug-in's author can run.

`bench check my_package:MyDefense` runs them all; from pytest:

    import pytest
    from bench.testing import DEFENSE_CHECKS
    from my_package import MyDefense

    @pytest.mark.parametrize("check", DEFENSE_CHECKS, ids=lambda check: check.__name__)
    def test_contract(check):
        check(MyDefense)

A check takes the class of a defense, a metric, the builder of a network, or a function that loads a data set, works
on a toy for a moment on the CPU, and raises `AssertionError` with what was broken.
"""

from bench.testing.datasets import (
    DATASET_CHECKS,
    DatasetLoader,
    images_differ,
    loading_twice_gives_the_same,
    no_test_image_is_a_training_image,
    the_splits_hold_every_class,
)
from bench.testing.defenses import (
    DEFENSE_CHECKS,
    Run,
    a_saved_state_goes_on_bit_for_bit,
    a_single_image_is_enough,
    bfloat16_autocast_works,
    gradients_are_finite,
    the_card_is_complete,
    the_loss_leaves_everything_as_it_was,
    the_same_seed_gives_the_same_weights,
    two_classes_and_colour_are_enough,
    two_steps_change_weights_and_lower_the_loss,
)
from bench.testing.metrics import (
    METRIC_CHECKS,
    MetricFactory,
    measuring_leaves_the_network_alone,
    measuring_twice_gives_the_same,
    scores_are_well_formed,
    toy_evaluation,
)
from bench.testing.networks import (
    NETWORK_CHECKS,
    NetworkBuilder,
    every_weight_learns,
    images_stand_for_themselves,
    logits_and_features_have_their_shapes,
    weights_depend_on_the_seed_alone,
)
from bench.testing.toys import BATCH, EPOCHS, THREAT, Shape, quick, tiny_classifier, tiny_dataset

__all__ = [
    "BATCH",
    "DATASET_CHECKS",
    "DEFENSE_CHECKS",
    "EPOCHS",
    "METRIC_CHECKS",
    "NETWORK_CHECKS",
    "THREAT",
    "DatasetLoader",
    "MetricFactory",
    "NetworkBuilder",
    "Run",
    "Shape",
    "a_saved_state_goes_on_bit_for_bit",
    "a_single_image_is_enough",
    "bfloat16_autocast_works",
    "every_weight_learns",
    "gradients_are_finite",
    "images_differ",
    "images_stand_for_themselves",
    "loading_twice_gives_the_same",
    "logits_and_features_have_their_shapes",
    "measuring_leaves_the_network_alone",
    "measuring_twice_gives_the_same",
    "no_test_image_is_a_training_image",
    "quick",
    "scores_are_well_formed",
    "the_card_is_complete",
    "the_loss_leaves_everything_as_it_was",
    "the_same_seed_gives_the_same_weights",
    "the_splits_hold_every_class",
    "tiny_classifier",
    "tiny_dataset",
    "toy_evaluation",
    "two_classes_and_colour_are_enough",
    "two_steps_change_weights_and_lower_the_loss",
    "weights_depend_on_the_seed_alone",
]
