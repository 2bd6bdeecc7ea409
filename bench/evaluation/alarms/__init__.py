"""Alarms: signs that a robust accuracy cannot be trusted, read from what the battery has already measured.

The limits belong to the battery's protocol and are no settings. A raised alarm never removes a row, and a result
without alarms may still be wrong. One file for each source of alarms; its limits are the constants at its top.
"""

from bench.core.record import Alarm, Search
from bench.evaluation.alarms.attacks import (
    black_box_beats_white_box,
    more_steps_help,
    one_step_beats_iterative,
    pgd_far_above_strongest,
)
from bench.evaluation.alarms.curve import curve_not_falling
from bench.evaluation.alarms.gradients import (
    gradient_contradicts_output,
    loss_still_moving,
    zero_gradients,
)
from bench.evaluation.alarms.network import (
    depends_on_batch,
    low_precision,
    randomized_output,
    tied_logits,
)
from bench.evaluation.alarms.signal import no_signal
from bench.evaluation.files import ArraysByMetric


def read_alarms(measured: ArraysByMetric, num_classes: int, search: Search | None = None) -> list[Alarm]:
    """Every alarm of the protocol, from the arrays of the metrics by name, and from the search if there was one."""
    return [
        one_step_beats_iterative(measured),
        more_steps_help(measured),
        pgd_far_above_strongest(measured),
        black_box_beats_white_box(measured),
        zero_gradients(measured),
        gradient_contradicts_output(measured),
        tied_logits(measured),
        curve_not_falling(measured, num_classes),
        loss_still_moving(measured),
        randomized_output(measured),
        depends_on_batch(measured),
        low_precision(measured),
        no_signal(measured, num_classes, search),
    ]
