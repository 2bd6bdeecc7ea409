"""The decision surface and its derivatives (Yu et al.)."""
