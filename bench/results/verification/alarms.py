"""Read the alarms of a record again from the arrays that are stored with it."""

from collections.abc import Mapping

from bench.core.record import Alarm, Record
from bench.core.standing import NO_SIGNAL
from bench.evaluation.alarms import read_alarms
from bench.evaluation.battery import CHECKS_APART
from bench.evaluation.extra_checks import verdict
from bench.evaluation.stronger_attacks import WORST
from bench.results.verification.check import Check, Findings, Unproven, first_few
from bench.results.verification.recompute import close
from metrics.evaluation import Arrays


def check_alarms(record: Record, arrays: Mapping[str, Arrays]) -> Findings:
    """Compare alarms: one that the record does not raise, or with other numbers, is a mismatch.

    An alarm that only the record raises is not a mismatch: rules have become milder since some records were
    written, and such an alarm is to the disadvantage of the record alone.
    """
    try:
        computed = read_alarms(arrays, len(record.dataset.classes), record.defense.search)
        if WORST in arrays:
            computed.append(verdict(arrays, computed))
    except Exception as error:
        yield Check("alarms", "mismatch", f"the arrays are unusable ({type(error).__name__}: {error})")
        return
    recorded = {alarm.name: alarm for alarm in record.alarms}
    problems, only_recorded, unknown, texts = [], [], [], []
    for alarm in computed:
        theirs = recorded.get(alarm.name)
        if theirs is None and alarm.name == NO_SIGNAL and record.battery.version in CHECKS_APART:
            continue  # these versions did not have it
        if alarm.raised and not (theirs and theirs.raised):
            problems.append(f"{alarm.name} is raised by the arrays, not in the record")
        elif theirs and theirs.raised and alarm.raised is False:
            only_recorded.append(alarm.name)
        elif theirs and theirs.raised != alarm.raised:
            unknown.append(alarm.name)
        elif theirs and not _same_numbers(alarm, theirs):
            problems.append(f"{alarm.name} has other numbers in the record")
        elif theirs and (theirs.message != alarm.message or theirs.numbers.keys() != alarm.numbers.keys()):
            texts.append(alarm.name)
    missing = [alarm.name for alarm in computed if alarm.name not in recorded]
    unknown += sorted({*recorded} - {alarm.name for alarm in computed})
    tail = f"; raised in the record alone: {', '.join(only_recorded)}" if only_recorded else ""
    checked = sum(alarm.raised is not None for alarm in computed)
    if problems:
        yield Check("alarms", "mismatch", first_few(problems, "; ") + tail)
    else:
        yield Check("alarms", "match", f"{checked} read again from the stored arrays{tail}")
    for names, reason in (
        ([*unknown, *only_recorded], "the arrays do not say the same"),
        (missing, "the record lacks it"),
        (texts, "its text or its list of numbers is not what this version writes"),
    ):
        if names:
            yield Unproven(tuple(f"alarms.{name}" for name in names), reason)


def _same_numbers(ours: Alarm, theirs: Alarm) -> bool:
    shared = ours.numbers.keys() & theirs.numbers.keys()
    return all(close(ours.numbers[key], theirs.numbers[key]) for key in shared)
