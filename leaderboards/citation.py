"""How results are cited: this software, with the battery that measured them."""

import re

from bench.core.record import Record
from bench.core.values import printable
from bench.version import __version__


def battery_words(record: Record) -> str:
    """The battery of a record, its version, and the images that were attacked."""
    battery = record.battery
    images = f"{record.dataset.evaluated_size} test images attacked"
    return one_line(f"Battery {battery.name}, version {battery.version}, {images}")


def software(record: Record) -> str:
    """The BibTeX entry of the software that made a record."""
    fields = {
        "title": "{regionbench}: Adversarial Robustness beside Decision-Region Geometry",
        "author": "{The regionbench authors}",
        "version": one_line(record.provenance.versions.get("regionbench", __version__)),
        "year": record.provenance.created[:4],
        "note": battery_words(record),
    }
    lines = [f"  {name:<7} = {{{value}}}" for name, value in fields.items()]
    return "@misc{regionbench,\n" + ",\n".join(lines) + "\n}"


def one_line(text: str) -> str:
    """Words of a record that cannot end a comment or a field of BibTeX."""
    return re.sub(r"[@{}\\%]", "", printable(text))
