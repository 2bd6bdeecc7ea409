"""Accuracy without and under attack, and the time of training."""
