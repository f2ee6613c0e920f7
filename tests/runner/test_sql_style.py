"""The style of function bodies, which `sqlfluff lint sql` sees only as strings.

A body in SQL is held to the project's rules like any file. PL/pgSQL, which sqlfluff cannot read, is taken apart by
PostgreSQL's own parser: each statement of SQL in it is held to those rules that make sense without its surroundings.
"""

import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pglast
import pglast.parser
import pytest
from sqlfluff.core import FluffConfig, Linter

SQL = Path(__file__).resolve().parents[2] / "sql"
FUNCTIONS = sorted(path for path in SQL.rglob("*.sql") if "\nas $$\n" in path.read_text())

DEFINITION = re.compile(r"^create .*?\nlanguage (?P<language>\w+)\n.*?^as \$\$\n(?P<body>.*?)^\$\$;\n", re.M | re.S)
STATEMENT = re.compile(r"\s*(select|insert|update|delete|merge|with)\b")

# references: to sqlfluff a parameter or a variable is a column without its table.
# AM09: `limit 1` on a key's columns, for a scalar subquery that must not fail where that key is missing.
UNFIT_FOR_BODIES = "ST06,AM09,references"
# layout, capitalisation, CV06: the parser returns a statement without its place, with what it calls INTO blanked out
# and PERFORM as SELECT. AL03: the columns of RETURN QUERY are named by the function.
UNFIT_FOR_STATEMENTS = f"{UNFIT_FOR_BODIES},layout,capitalisation,CV06,AL03"


def _linter(excluded: str) -> Linter:
    return Linter(config=FluffConfig.from_path(str(SQL), overrides={"exclude_rules": excluded}))


def _statements(node: Any) -> Iterator[str]:
    """Yield the queries in a tree of `parse_plpgsql`; expressions are queries to it as well, and left out."""
    if isinstance(node, list):
        for item in node:
            yield from _statements(item)
    elif isinstance(node, dict):
        for name, value in node.items():
            if name != "PLpgSQL_expr":
                yield from _statements(value)
            elif STATEMENT.match(value["query"].lower()):
                yield value["query"]


def complaints(text: str) -> list[str]:
    """Return what is wrong with the bodies of the functions that a file creates."""
    found = []
    for definition in DEFINITION.finditer(text):
        body = definition["body"]
        found += [f"longer than 120: {line.strip()}" for line in body.splitlines() if len(line) > 120]
        found += [f"white space at the end of: {line.strip()}" for line in body.splitlines() if line != line.rstrip()]
        if definition["language"] == "sql":
            linted = [_linter(UNFIT_FOR_BODIES).lint_string(textwrap.dedent(body).rstrip() + ";\n")]
        else:
            tokens = [(token, body[token.start : token.end + 1]) for token in pglast.parser.scan(body)]
            words = {word for token, word in tokens if token.kind != "NO_KEYWORD" or token.name == "IDENT"}
            found += [f"not lower case: {word}" for word in sorted(words) if word != word.lower() and word[0] != '"']
            statements = _statements(pglast.parse_plpgsql(definition[0]))
            linted = [_linter(UNFIT_FOR_STATEMENTS).lint_string(statement) for statement in statements]
        found += [
            f"{violation.rule_code()}: {violation.desc()}" for file in linted for violation in file.get_violations()
        ]
    return found


@pytest.mark.parametrize("path", FUNCTIONS, ids=lambda path: path.name.split(".")[0])
def test_the_body_keeps_the_style(path: Path) -> None:
    text = path.read_text()

    assert len(DEFINITION.findall(text)) == text.count("$$") / 2, "a function this test does not recognise"
    assert complaints(text) == []


@pytest.mark.parametrize(
    ("language", "body", "rule"),
    [
        ("sql", "  SELECT 1 as one\n", "CP01"),
        ("sql", "  with unused as (select 1 as one)\n\n  select 2 as two\n", "ST03"),
        ("sql", "  select a.id from public.a a\n", "AL01"),
        ("plpgsql", "begin\n  PERFORM one();\nend\n", "not lower case: PERFORM"),
        ("plpgsql", "begin\n  perform a.id from public.a a;\nend\n", "AL01"),
        ("plpgsql", "begin\n  perform 1 where 1 != 2;\nend\n", "CV01"),
        ("plpgsql", f"begin\n  -- {'x' * 120}\nend\n", "longer than 120"),
    ],
)
def test_it_would_notice(language: str, body: str, rule: str) -> None:
    text = f"create function one()\nreturns void\nlanguage {language}\nas $$\n{body}$$;\n"

    assert any(complaint.startswith(rule) for complaint in complaints(text))
