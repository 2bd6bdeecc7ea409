"""Stages: how many epochs go by before a defense's own loss begins."""

from bench.core.errors import UserError


def warmup_epochs(name: str, warmup: float, epochs: int, what: str) -> int:
    """How many of a training's epochs are warm-up.

    Args:
        name: of the defense, for the message.
        warmup: a share of the epochs below 1 (at least one epoch, unless 0), a number of epochs from 1 on.
        epochs: of the training.
        what: which stage comes after it.

    Raises:
        UserError: when the warm-up leaves no epoch for that stage.
    """
    count = max(1, round(warmup * epochs)) if 0 < warmup < 1 else round(warmup)
    if count >= epochs:
        raise UserError(
            f"{name}: warmup={warmup:g} takes {count} of {epochs} epochs and leaves none for the {what}; "
            f"train longer or set a smaller warmup"
        )
    return count
