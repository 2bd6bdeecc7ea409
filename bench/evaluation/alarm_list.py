"""The alarms by name, without what they need to be read."""

#: Name → `module:function` that reads it.
ALARMS = {
    "one step beats iterative": "bench.evaluation.alarms:one_step_beats_iterative",
    "more steps still help": "bench.evaluation.alarms:more_steps_help",
    "PGD far above the strongest attack": "bench.evaluation.alarms:pgd_far_above_strongest",
    "black box beats white box": "bench.evaluation.alarms:black_box_beats_white_box",
    "zero gradients": "bench.evaluation.alarms:zero_gradients",
    "curve not falling": "bench.evaluation.alarms:curve_not_falling",
    "loss still moving": "bench.evaluation.alarms:loss_still_moving",
    "randomised output": "bench.evaluation.alarms:randomized_output",
    "predictions depend on the batch": "bench.evaluation.alarms:depends_on_batch",
    "precision": "bench.evaluation.alarms:low_precision",
}
