"""The length of a warm-up, after which a defense's own loss begins."""

from bench.core.errors import UserError


def warmup_epochs(name: str, warmup: float, epochs: int, what: str) -> int:
    """Number of warm-up epochs.

    Args:
        name: the defense's, for the message.
        warmup: a share of the epochs below 1 (at least one epoch, unless 0), a number of epochs from 1 on.
        epochs: of the training.
        what: the stage that follows, for the message.

    Raises:
        UserError: when no epoch is left for that stage.
    """
    count = max(1, round(warmup * epochs)) if 0 < warmup < 1 else round(warmup)
    if count >= epochs:
        raise UserError(
            f"{name}: warmup={warmup:g} takes {count} of {epochs} epochs and leaves none for the {what}; "
            f"train longer or set a smaller warmup"
        )
    return count
