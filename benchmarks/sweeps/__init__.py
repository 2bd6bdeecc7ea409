"""One sweep, done in four ways: the same records, and the time that each takes beside the ideal."""
