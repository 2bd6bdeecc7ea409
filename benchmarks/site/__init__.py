"""How long a site of many records takes to build, to open and to sort: `python -m benchmarks.site`."""
