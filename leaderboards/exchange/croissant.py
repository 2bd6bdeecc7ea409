"""Croissant 1.1 metadata of a table of scores and of the records behind it."""

import csv
import io
from collections.abc import Iterable
from typing import Any

from bench.version import __version__

SCORES = "scores.csv"
_CONTEXT = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "arrayShape": "cr:arrayShape",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileObject": "cr:fileObject",
    "fileProperty": "cr:fileProperty",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isArray": "cr:isArray",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}
#: Columns that are words; every other one holds numbers.
_WORDS = ("dataset", "threat", "battery", "defense", "model", "hyperparameters", "alarms", "alarms_answered")
_WHOLE = ("images", "rank", "seeds")


def croissant(
    table: str, table_sha256: str, records: Iterable[tuple[str, str]], newest: str
) -> dict[str, Any]:
    """Metadata of the file `SCORES` and of records.

    Args:
        table: the content of `SCORES`.
        table_sha256: its digest.
        records: path and SHA-256 of each.
        newest: the day of the newest result, YYYY-MM-DD.
    """
    columns = next(csv.reader(io.StringIO(table)))
    return {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.1",
        "name": "regionbench-results",
        "description": "Adversarial robustness and geometry of decision regions: scores of every board with 95 % "
        "intervals, and the records behind them.",
        "version": __version__,
        "license": "https://opensource.org/license/mit",
        "citeAs": "The regionbench authors: regionbench, adversarial robustness beside decision-region geometry; "
        "with the name and the version of the battery.",
        "datePublished": newest,
        "distribution": [
            _file("scores", SCORES, "text/csv", table_sha256),
            *(_file(path, path, "application/json", digest) for path, digest in records),
        ],
        "recordSet": [
            {
                "@type": "cr:RecordSet",
                "@id": "entries",
                "name": "entries",
                "description": "One row for each entry of each board.",
                "field": [_field(column) for column in columns],
            }
        ],
    }


def _file(identifier: str, path: str, kind: str, digest: str) -> dict[str, Any]:
    return {
        "@type": "cr:FileObject",
        "@id": identifier,
        "name": identifier,
        "contentUrl": path,
        "encodingFormat": kind,
        "sha256": digest,
    }


def _field(column: str) -> dict[str, Any]:
    kind = "sc:Text" if column in _WORDS else "sc:Integer" if column in _WHOLE else "sc:Float"
    return {
        "@type": "cr:Field",
        "@id": f"entries/{column}",
        "name": column,
        "dataType": kind,
        "source": {"fileObject": {"@id": "scores"}, "extract": {"column": column}},
    }
