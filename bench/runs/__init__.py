"""Whole runs: from settings to records, pages and tracking."""
