"""The command line: `main` is its entry point; each command has a file."""

from bench.cli.main import cli, main

__all__ = ["cli", "main"]
