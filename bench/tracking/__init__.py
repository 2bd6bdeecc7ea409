"""MLflow: what a run folder holds, shown and stored there; importing this does not import MLflow."""

from bench.tracking.background import NullTracker, Tracker
from bench.tracking.records import Fetched, fetch_records, kept_copy, track_records
from bench.tracking.settings import Settings, load_settings
from bench.tracking.store import check_store
from bench.tracking.sync import run_links
from bench.tracking.ui import serve_ui, ui_command

__all__ = [
    "Fetched",
    "NullTracker",
    "Settings",
    "Tracker",
    "check_store",
    "fetch_records",
    "kept_copy",
    "load_settings",
    "run_links",
    "serve_ui",
    "track_records",
    "ui_command",
]
