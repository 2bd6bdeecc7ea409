"""What all metrics share: a plug-in that changes it is refused, since every later score would be wrong."""

from collections.abc import Iterator
from contextlib import contextmanager

from bench.core.errors import UserError
from bench.core.foreign_code import OURS
from bench.core.guards import evaluating
from bench.data import fingerprint
from metrics.base import Metric
from metrics.evaluation import Evaluation


@contextmanager
def unchanged(metric: Metric, evaluation: Evaluation) -> Iterator[None]:
    """Let a metric measure; what was trained and tested must be the same afterwards.

    Only metrics of others are watched: the bytes of all images are read twice for it.

    Raises:
        UserError: when images, labels or weights changed, whichever way they were written to.
    """
    if type(metric).__module__.partition(".")[0] in OURS:
        yield
        return
    before = _digests(evaluation)
    with evaluating(evaluation.classifier):
        yield
    changed = [name for name, digest in _digests(evaluation).items() if digest != before[name]]
    if changed:
        raise UserError(
            f"metric {metric.name!r} changed {' and '.join(changed)} of the evaluation, which all metrics share; "
            "let it work on copies, such as evaluation.images.clone()"
        )


def _digests(evaluation: Evaluation) -> dict[str, str]:
    data = evaluation.dataset
    splits = (data.train, data.validation, data.test)
    return {
        "the images": fingerprint(evaluation.images),
        "the labels": fingerprint(evaluation.labels, evaluation.test_index),
        "the data set": fingerprint(*(each for split in splits for each in (split.images, split.labels))),
        "the weights": fingerprint(*evaluation.classifier.parameters()),
    }
