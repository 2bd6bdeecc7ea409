"""Accuracy, clean and under attack, and what training costs."""
