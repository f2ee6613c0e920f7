"""An audit for machines: json, ndjson, csv, junit, github. The schema is docs/audit.schema.json, version 1.

Violations are written as they come from the database, so that memory stays bounded whatever their number.
"""

import json
import os
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, TextIO

from checks import records, resources
from checks.guards import Guard
from checks.repair import Change, Result
from checks.violations import Report, Scope, Violation

SCHEMA_VERSION = 1
FAILING = {"error": {"error"}, "warning": {"error", "warning"}, "never": set[str]()}
# What GitHub's workflow commands need escaped in a property; in the text, colon and comma are themselves.
PROPERTY = "%\r\n:,"
NOT_XML = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True)
class Document:
    """Everything an audit has to say; `repaired` is what a repair or its dry run did, `damage` what guards found."""

    database: str
    scope: Scope
    report: Report
    violations: Iterable[Violation]
    fail_on: str
    repaired: Result | None = None
    dry_run: bool = False
    changes: Iterable[Change] = ()
    damage: Sequence[Guard] = ()


def write(name: str, document: Document, out: TextIO) -> None:
    """Write the document in a format of `FORMATS`."""
    FORMATS[name](document, out)


def _header(document: Document) -> dict[str, Any]:
    scope = document.scope
    header: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "tool_version": version("quest-integrity"),
        "database": document.database,
        "at": datetime.now(UTC).isoformat(),
        "scope": {"user": scope.user and str(scope.user), "quest": scope.quest, "rules": scope.rules},
        "fail_on": document.fail_on,
        "passes": document.report.passes(document.fail_on) and not document.damage,
        "totals": asdict(document.report.totals),
        "rules": [asdict(count) for count in document.report.counts],
        "damage": [asdict(guard) for guard in document.damage],
    }
    if done := document.repaired:
        header["repair"] = asdict(done) | {"run": None if document.dry_run else done.run, "dry_run": document.dry_run}
    return header


def _change(change: Change) -> dict[str, Any]:
    """Return a change as the schema has it: the quest is for people, who see the rows by quest."""
    return {name: value for name, value in asdict(change).items() if name != "quest_id"}


def _json(document: Document, out: TextIO) -> None:
    """Write one JSON document, its long lists item by item."""
    out.write(json.dumps(_header(document), indent=2)[:-2])
    for name, items in (("changes", map(_change, document.changes)), ("violations", map(asdict, document.violations))):
        out.write(f',\n  "{name}": [')
        separator = "\n    "
        for item in items:
            out.write(separator + json.dumps(item, default=str))
            separator = ",\n    "
        out.write("]" if separator == "\n    " else "\n  ]")
    out.write("\n}\n")


def _ndjson(document: Document, out: TextIO) -> None:
    """Write one JSON object a line: the audit, then changes, then violations; `type` says which."""
    out.write(json.dumps({"type": "audit", **_header(document)}) + "\n")
    for kind, items in (("change", map(_change, document.changes)), ("violation", map(asdict, document.violations))):
        for item in items:
            out.write(json.dumps({"type": kind, **item}, default=str) + "\n")


def _csv(document: Document, out: TextIO) -> None:
    """Write the violations, a row each."""
    records.write("csv", map(vars, document.violations), records.columns(Violation), out)


def _junit(document: Document, out: Any) -> None:
    """Write a test suite: a case per violation, and one that passes per rule without any.

    A violation that does not make the audit fail is a skipped case.
    """
    # Here, because they load Python's HTTP client, which no other format needs.
    from xml.sax.saxutils import XMLGenerator
    from xml.sax.xmlreader import AttributesImpl

    failing = FAILING[document.fail_on]
    cases = failures = skipped = 0
    for count in document.report.counts:
        cases += max(count.violations, 1)
        failures += count.violations if count.severity in failing else 0
        skipped += 0 if count.severity in failing else count.violations
    cases, failures = cases + len(document.damage), failures + len(document.damage)
    totals = {"tests": str(cases), "failures": str(failures), "errors": "0", "skipped": str(skipped), "time": "0"}
    xml = XMLGenerator(out, "utf-8", short_empty_elements=True)
    xml.startDocument()

    def start(name: str, attributes: dict[str, str]) -> None:
        xml.startElement(name, AttributesImpl({k: NOT_XML.sub("\ufffd", v) for k, v in attributes.items()}))

    start("testsuites", {"name": "quest-integrity", **{k: v for k, v in totals.items() if k != "skipped"}})
    start("testsuite", {"name": document.database, **totals})
    for count in document.report.counts:
        if not count.violations:
            start("testcase", {"classname": count.rule, "name": count.rule, "time": "0"})
            xml.endElement("testcase")
    for guard in document.damage:
        start("testcase", {"classname": "guards", "name": f"{guard.kind} {guard.identity}", "time": "0"})
        start("failure", {"message": f"{guard.status}: {guard.detail}", "type": "damage"})
        xml.endElement("failure")
        xml.endElement("testcase")
    for violation in document.violations:
        start("testcase", {"classname": violation.rule, "name": violation.key, "time": "0"})
        message = {"message": violation.message}
        if violation.severity in failing:
            start("failure", {**message, "type": violation.severity})
            xml.characters(f"expected {json.dumps(violation.expected)}, found {json.dumps(violation.found)}")
            xml.endElement("failure")
        else:
            start("skipped", message)
            xml.endElement("skipped")
        xml.endElement("testcase")
    xml.endElement("testsuite")
    xml.endElement("testsuites")
    xml.endDocument()
    out.write("\n")


@cache
def _source(rule: str) -> str:
    """Return the file that defines a rule as GitHub wants it, if it is in the workspace: relative to that."""
    newest = resources.newest_sql(f"rules/{rule}/view")
    workspace = Path(os.environ.get("GITHUB_WORKSPACE", "")).resolve()
    return newest.relative_to(workspace).as_posix() if newest and newest.is_relative_to(workspace) else ""


def _github(document: Document, out: TextIO) -> None:
    """Write workflow commands that annotate the SQL file which defines the rule."""

    def escaped(text: str, characters: str) -> str:
        return re.sub(f"[{characters}]", lambda found: f"%{ord(found[0]):02X}", text)

    for guard in document.damage:
        text = escaped(f"{guard.status}: {guard.kind} {guard.identity}", "%\r\n")
        out.write(f"::error title=guards::{text}\n")
    for violation in document.violations:
        source = _source(violation.rule)
        where = f"file={escaped(source, PROPERTY)},line=1," if source else ""
        text = escaped(f"{violation.message} ({violation.key})", "%\r\n")
        out.write(f"::{violation.severity} {where}title={escaped(violation.rule, PROPERTY)}::{text}\n")


FORMATS: dict[str, Callable[[Document, TextIO], None]] = {
    "json": _json,
    "ndjson": _ndjson,
    "csv": _csv,
    "junit": _junit,
    "github": _github,
}
