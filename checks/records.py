"""Records for machines: `--format json`, `ndjson` and `csv` of every command but audit, see docs/formats.md.

They are written as they come, so that memory stays bounded.
"""

import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from datetime import datetime
from typing import Any, TextIO

Record = Mapping[str, Any]


def columns(of: type[Any]) -> list[str]:
    """Return the columns of records that are made from objects of a dataclass."""
    return [field.name for field in fields(of)]


def write(form: str, records: Iterable[Record], columns: Sequence[str], out: TextIO) -> None:
    """Write records in a format.

    Args:
        form: json, an array; ndjson, a record a line; csv, a heading and a line for each record.
        records: with these columns.
        columns: in their order.
        out: where to.
    """
    if form == "csv":
        lines = csv.writer(out, lineterminator="\n")
        lines.writerow(columns)
        lines.writerows([_cell(record[column]) for column in columns] for record in records)
    elif form == "ndjson":
        out.writelines(json.dumps(record, default=_cell) + "\n" for record in records)
    else:
        separator = "["
        for record in records:
            out.write(f"{separator}\n{json.dumps(record, default=_cell)}")
            separator = ","
        out.write("[]\n" if separator == "[" else "\n]\n")


def _cell(value: object) -> str | None:
    if isinstance(value, dict | list):
        return json.dumps(value, default=_cell)
    return value.isoformat() if isinstance(value, datetime) else None if value is None else str(value)
