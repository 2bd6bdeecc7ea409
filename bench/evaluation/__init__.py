"""A battery over a trained classifier: scores, alarms, figures, record."""
