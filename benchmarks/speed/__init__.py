"""One table of speed: training, attacks and geometry beside the loops and packages that others use."""
