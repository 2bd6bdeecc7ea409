"""The checks that `bench.results.verify` makes of one record."""
