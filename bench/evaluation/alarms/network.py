"""Alarms about the network's output: random, dependent on the batch, tied, or broken in low precision alone."""

import numpy as np

from bench.core.checks import SAME_LOGITS
from bench.core.errors import NotFinite
from bench.core.names import AUTOATTACK, CLEAN_ACCURACY
from bench.core.record import Alarm
from bench.evaluation.alarms.make import exceeds, not_run, over
from bench.evaluation.files import ArraysByMetric

RANDOMIZED_OUTPUT = "randomised output"
BATCH_DEPENDENCE = "predictions depend on the batch"
TIED = "tied logits"
#: "randomised output": by how much logits may differ between two passes, relative to the largest.
OUTPUT_LIMIT = SAME_LOGITS
#: "predictions depend on the batch": by how much logits may move with what an image is batched with, relative to
#: the largest; networks that compute in 16 bits round by nearly as much ...
BATCH_LIMIT = 5e-3
#: ... and the share of images that may move further: a network with thresholds inside can jump by rounding.
BATCH_SHARE = 0.25
#: "tied logits": share of images whose second largest logit may say nothing.
TIED_LIMIT = 0.5
#: "precision": share of images that an attack may break in low precision alone.
LOW_PRECISION_LIMIT = 0.0


def randomized_output(measured: ArraysByMetric) -> Alarm:
    """Two passes over the same images give different logits: the network is stochastic."""
    name = RANDOMIZED_OUTPUT
    # AutoAttack compares two passes as well, where clean accuracy did not and its version is not "rand".
    compared = [
        arrays
        for key in (CLEAN_ACCURACY, AUTOATTACK)
        if "between_passes" in (arrays := measured.get(key, {}))
    ]
    if not compared:
        return not_run(name, "clean accuracy")
    moved = float(compared[0]["between_passes"][0])
    if not np.isfinite(moved):
        raise NotFinite("expected finite logits, the network gave NaN or infinity; did its training diverge?")
    message = (
        f"logits differ by {moved:.1e} between two passes, relative to the largest; up to {OUTPUT_LIMIT:.0e} "
        "is rounding"
    )
    return Alarm(name=name, raised=moved > OUTPUT_LIMIT, message=message, numbers={"difference": moved})


def depends_on_batch(measured: ArraysByMetric) -> Alarm:
    """Logits move by more than rounding when an image is alone, or in a batch of another order.

    Such a network, for example one with batch statistics in eval mode, has no accuracy of its own: every score
    holds for the batches it was measured in.
    """
    name = BATCH_DEPENDENCE
    arrays = measured.get(CLEAN_ACCURACY, {})
    if len(arrays.get("between_batches", ())) < 2:
        return not_run(name, "clean accuracy with several images, and each of them alone")
    if float(arrays["between_passes"][0]) > OUTPUT_LIMIT:
        return Alarm(name=name, raised=None, message="cannot be told, since the output is random")
    moved = arrays["between_batches"]
    share, middle = float((moved > BATCH_LIMIT).mean()), float(np.median(moved))
    raised = exceeds(share, BATCH_SHARE)
    message = (
        f"alone or in another order, {share:.0%} of {len(moved)} images have logits that differ by over "
        f"{BATCH_LIMIT:.1%} of the largest (median {middle:.1e})"
    )
    if raised:
        message += "; scores hold for the batches they were measured in"
    return Alarm(name=name, raised=raised, message=message, numbers={"share": share, "median": middle})


def tied_logits(measured: ArraysByMetric) -> Alarm:
    """For most images the second largest logit equals the third exactly, or is the same number for every image.

    A loss then sees the largest logit alone, and no attack can tell how near another class is.
    """
    tied = measured.get(CLEAN_ACCURACY, {}).get("tied")
    if tied is None or len(tied) < 2:
        return not_run(TIED, "clean accuracy with at least three classes and several images")
    share = float(tied.mean())
    return over(TIED, share, TIED_LIMIT, "images whose second largest logit says nothing", {"share": share})


def low_precision(measured: ArraysByMetric) -> Alarm:
    """An attack in low precision broke images that are right in float32 and that no other attack broke."""
    name = "precision"
    claims = {attack: arrays["unconfirmed"] for attack, arrays in measured.items() if "unconfirmed" in arrays}
    shares = {attack.rpartition("/")[2]: float(images.mean()) for attack, images in claims.items()}
    if not any(shares.values()):
        message = "every broken image is misclassified in float32"
        return Alarm(name=name, raised=False, message=message, numbers={**shares})
    return over(
        name, max(shares.values()), LOW_PRECISION_LIMIT, "images broken in low precision alone", shares
    )
