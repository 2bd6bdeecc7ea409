"""Charts of the metrics in `metrics.regions`: one file a metric, each with `draw(metric, arrays, record)`."""
