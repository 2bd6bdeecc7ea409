"""What the alarms share: comparing a share with its limit, and making the alarm."""

from collections.abc import Mapping

from bench.core.record import Alarm

#: A difference of two shares such as 0.22 − 0.21 is computed as slightly above 0.01; this much is no excess.
ROUNDING = 1e-9


def exceeds(value: float, limit: float) -> bool:
    """Whether a share is above a limit by more than rounding."""
    return bool(value > limit + ROUNDING)


def over(name: str, value: float, limit: float, what: str, numbers: Mapping[str, float]) -> Alarm:
    """An alarm that is raised where a share exceeds its limit."""
    raised = exceeds(value, limit)
    message = f"{what}: {value:.2%}, {'above' if raised else 'not above'} {limit:.1%}"
    return Alarm(
        name=name,
        raised=raised,
        message=message,
        numbers={key: float(number) for key, number in numbers.items()},
    )


def not_run(name: str, what: str) -> Alarm:
    """An alarm that cannot be told, since what it reads was not measured."""
    return Alarm(name=name, raised=None, message=f"needs {what}, which did not run")
