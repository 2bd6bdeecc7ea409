"""Find out whether a restored network's predictions depend on the batch: its scores then cannot be repeated."""

import torch

from bench.core.checks import SAME_LOGITS, moved_between, moved_by_batch
from bench.core.guards import full_precision, random_state_kept
from bench.evaluation.alarms.network import BATCH_DEPENDENCE, BATCH_LIMIT, BATCH_SHARE
from bench.results.restore import Restored
from bench.results.verification.check import BATCH_SIZE, Check
from metrics.accuracy.clean_accuracy import ALONE


def check_batches(restored: Restored) -> list[Check]:
    """An empty list for a sound network; else why its scores may differ although weights and data are the record's.

    Args:
        restored: of a stochastic network nothing is said, since its logits move anyway.
    """
    images, _ = restored.dataset.test.batch(slice(0, min(BATCH_SIZE, restored.record.dataset.evaluated_size)))
    with torch.no_grad(), full_precision(), random_state_kept(0):
        logits, again = restored.classifier(images), restored.classifier(images)
        moved = moved_by_batch(restored.classifier, images[:ALONE], logits[:ALONE])
    share = float((moved > BATCH_LIMIT).float().mean())
    if len(images) < 2 or moved_between(logits, again) > SAME_LOGITS or share <= BATCH_SHARE:
        return []
    message = (
        f"alone or in another order, {share:.0%} of {len(moved)} images have other logits: scores hold for the "
        "batches they were measured in, and other batches may give others"
    )
    return [Check(BATCH_DEPENDENCE, "not checked", message)]
