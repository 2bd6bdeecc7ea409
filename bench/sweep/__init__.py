"""Sweeps: many runs from one file, divided among processes and machines that share a folder."""
