"""The command line: `main` is its entry point; each command has a file."""

try:
    from bench.cli.main import cli, main
except KeyboardInterrupt:  # Ctrl-C before there is anything to stop
    raise SystemExit(130) from None

__all__ = ["cli", "main"]
