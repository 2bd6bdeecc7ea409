"""Build, open and sort a site of so many synthetic records: `python -m benchmarks.site --entries 2000`."""

import argparse
import multiprocessing
import tempfile
from pathlib import Path

from benchmarks.site.measure import build_site, most_memory, open_board
from benchmarks.site.records import write_records


def main() -> None:
    """Print seconds, bytes and memory."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--entries", type=int, default=2000)
    parser.add_argument("--images", type=int, default=200, help="test images under attack")
    parser.add_argument("--open", action="store_true", help="also open and sort the board in Chromium")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        records, site = Path(folder) / "records", Path(folder) / "site"
        write_records(records, options.entries, images=options.images)
        # A process of its own, so that its memory is that of the build alone.
        builder = multiprocessing.get_context("spawn").Process(target=build_site, args=(records, site))
        builder.start()
        print(f"{most_memory(builder):.0f} MB at most, of all processes together")
        if builder.exitcode:
            raise SystemExit(builder.exitcode)
        for path in sorted((site / "boards").iterdir()):
            print(f"{path.name.partition('.')[2]}: {path.stat().st_size / 1e6:.1f} MB")
        if options.open:
            (page,) = (site / "boards").glob("*.html")
            open_board(page)


if __name__ == "__main__":
    main()
