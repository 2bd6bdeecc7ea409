"""The alarms by name, without what they need to be read."""

#: Name → `module:function` that reads it.
ALARMS = {
    "one step beats iterative": "bench.evaluation.alarms.attacks:one_step_beats_iterative",
    "more steps still help": "bench.evaluation.alarms.attacks:more_steps_help",
    "PGD far above the strongest attack": "bench.evaluation.alarms.attacks:pgd_far_above_strongest",
    "black box beats white box": "bench.evaluation.alarms.attacks:black_box_beats_white_box",
    "zero gradients": "bench.evaluation.alarms.gradients:zero_gradients",
    "gradient contradicts the output": "bench.evaluation.alarms.gradients:gradient_contradicts_output",
    "tied logits": "bench.evaluation.alarms.network:tied_logits",
    "curve not falling": "bench.evaluation.alarms.curve:curve_not_falling",
    "loss still moving": "bench.evaluation.alarms.gradients:loss_still_moving",
    "randomised output": "bench.evaluation.alarms.network:randomized_output",
    "predictions depend on the batch": "bench.evaluation.alarms.network:depends_on_batch",
    "precision": "bench.evaluation.alarms.network:low_precision",
    "no signal": "bench.evaluation.alarms.signal:no_signal",
}
