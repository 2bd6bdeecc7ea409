"""The decision function and its derivatives around test images (Yu et al.)."""
