"""Indicators from the field that claim to predict robustness, as metrics of their own."""
