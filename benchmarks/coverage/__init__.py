"""How often intervals cover the truth; run `python -m benchmarks.coverage`."""
