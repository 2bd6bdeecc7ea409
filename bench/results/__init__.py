"""What is done with finished records: restore, verify, compare, draw."""
