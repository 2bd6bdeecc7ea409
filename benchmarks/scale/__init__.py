"""A sweep of ten thousand cells on hundreds of machines: the real scheduler, in time that is only counted."""
