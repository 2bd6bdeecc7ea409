"""What a study would train."""

from collections.abc import Iterator

from bench.study.spec import CorrelationStudy, PredictorsStudy, Study
from leaderboards import text


def outline(study: Study) -> str:
    """A study's trainings in one line."""
    if isinstance(study, CorrelationStudy):
        epochs = sum(trainings * epochs for trainings, epochs in _by_dataset(study))
        return (
            f"{study.title}: {text.count(count_trainings(study), 'training')} of {', '.join(study.models)} on "
            f"{', '.join(study.datasets)}, {epochs:,} epochs in all"
        )
    if isinstance(study, PredictorsStudy):
        honest, broken = (
            sum(len(configs) for configs in groups.values()) for groups in (study.groups, study.broken)
        )
        return (
            f"{study.title}: {text.count(honest, 'network')} ({'; '.join(study.groups)}), and "
            f"{broken} broken, held out"
        )
    trainings = sum(len(row.config.seeds) for row in study.rows.values())
    return (
        f"{study.title}: {text.count(trainings, 'training')} ({', '.join(study.rows)}), "
        f"{text.count(len(study.columns), 'column')}, {text.count(len(study.claims), 'claim')}"
    )


def count_trainings(study: CorrelationStudy) -> int:
    """Number of trainings of a correlation study."""
    return sum(trainings for trainings, _ in _by_dataset(study))


def _by_dataset(study: CorrelationStudy) -> Iterator[tuple[int, int]]:
    """Number of trainings and epochs of each, per data set."""
    for data in study.datasets.values():
        batch_sizes, seeds = data.batch_sizes or study.batch_sizes, data.seeds or study.seeds
        yield len(study.models) * len(batch_sizes) * len(seeds), data.epochs or study.epochs
