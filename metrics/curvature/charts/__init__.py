"""Charts of the metrics in `metrics.curvature`: one file a metric, each with `draw(metric, arrays, record)`."""
