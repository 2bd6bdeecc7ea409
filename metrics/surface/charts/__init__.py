"""Charts of the metrics in `metrics.surface`: one file a metric, each with `draw(metric, arrays, record)`."""
