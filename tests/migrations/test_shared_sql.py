"""What keeps the SQL able to run on Citus, where a quest and all that refers to it are on one of several nodes.

Read from the catalog of a migrated database and from PostgreSQL's own parse tree, so that no Citus is needed. A file
with a variant for Citus beside it, `<name>.v1.citus.sql`, is not held to this.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pglast
import pglast.parser
import psycopg
import pytest
import sqlparse
from pglast import ast
from pglast.enums import A_Expr_Kind, BoolExprType
from pglast.visitors import Visitor

_Connection = psycopg.Connection[Any]

SQL = Path(__file__).resolve().parents[2] / "sql"
VARIANTS = {path.name.partition(".")[0] for path in SQL.rglob("*.citus.sql")}

# Each with the column that says of which quest a row is.
OF_A_QUEST = {
    "quests_quest": "id",
    "applications_application": "quest_id",
    "quests_questparticipant": "quest_id",
    "event": "quest_id",
}

FUNCTIONS = """
select
  function.proname as name,
  language.lanname as language,
  function.pronargs > 0 as takes_arguments,
  function.prorettype = 'trigger'::regtype as is_trigger,
  function.prosrc as body,
  pg_get_functiondef(function.oid) as definition
from pg_proc as function
inner join pg_language as language on language.oid = function.prolang
where function.pronamespace = 'integrity'::regnamespace and function.prokind <> 'a'
order by function.proname
"""

# Views that read, directly or through others, tables that are spread over the nodes.
VIEWS = """
with recursive reads as (
  select rule.ev_class as view, dependency.refobjid as relation
  from pg_rewrite as rule
  inner join pg_depend as dependency
    on dependency.classid = 'pg_rewrite'::regclass and dependency.objid = rule.oid
  where dependency.refclassid = 'pg_class'::regclass and dependency.refobjid <> rule.ev_class
),
spread as (
  select oid from pg_class where oid::regclass::text = any(%s)
  union
  select reads.view from reads inner join spread on reads.relation = spread.oid
)
select class.relname, pg_get_viewdef(class.oid)
from spread
inner join pg_class as class on class.oid = spread.oid
where class.relkind = 'v'
"""


ASSIGNED = re.compile(r"^\s*[\w.\[\]]+\s*:=")


def _queries(node: Any) -> Iterator[str]:
    """Yield the statements and the expressions in the tree of a function in PL/pgSQL."""
    if isinstance(node, list):
        for item in node:
            yield from _queries(item)
    elif isinstance(node, dict):
        for name, value in node.items():
            if name != "PLpgSQL_expr":
                yield from _queries(value)
            else:
                yield value["query"]


def _tree(query: str) -> Any:
    try:
        return pglast.parse_sql(query)[0].stmt
    except pglast.parser.ParseError:
        return pglast.parse_sql(f"select {ASSIGNED.sub('', query)}")[0].stmt


def _trees(function: dict[str, Any]) -> list[Any]:
    """Return the parse trees of the statements of a function."""
    if function["language"] == "sql":
        return [raw.stmt for raw in pglast.parse_sql(function["body"])]
    parsed = pglast.parse_plpgsql(function["definition"])
    return [_tree(query) for query in _queries(parsed)]


def _of_kind(tree: Any, kind: type[Any]) -> list[Any]:
    found: list[Any] = []

    class Collect(Visitor):
        def visit(self, _ancestors: Any, node: Any) -> None:
            if isinstance(node, kind):
                found.append(node)

    Collect()(tree)
    return found


def _tables(statement: Any) -> dict[str, str]:
    """Return the tables of a quest that a statement reads or writes itself: the name of each, by its alias."""
    if isinstance(statement, ast.SelectStmt):
        sources = list(statement.fromClause or ())
    elif isinstance(statement, ast.UpdateStmt):
        sources = [statement.relation, *(statement.fromClause or ())]
    else:
        sources = [statement.relation, *(statement.usingClause or ())]
    tables = {}
    while sources:
        source = sources.pop()
        if isinstance(source, ast.JoinExpr):
            sources += [source.larg, source.rarg]
        elif isinstance(source, ast.RangeVar) and source.relname in OF_A_QUEST:
            tables[source.alias.aliasname if source.alias else source.relname] = source.relname
    return tables


def _conditions(statement: Any) -> Iterator[Any]:
    """Yield what a statement requires of its rows: the terms of WHERE and of every ON."""
    pending = [statement.whereClause]
    sources = list(getattr(statement, "fromClause", None) or ()) + list(getattr(statement, "usingClause", None) or ())
    while sources:
        source = sources.pop()
        if isinstance(source, ast.JoinExpr):
            sources += [source.larg, source.rarg]
            pending.append(source.quals)
    while pending:
        term = pending.pop()
        if isinstance(term, ast.BoolExpr) and term.boolop == BoolExprType.AND_EXPR:
            pending += term.args
        elif term is not None:
            yield term


def _quest_of(expression: Any, tables: dict[str, str]) -> str | None:
    """Return the alias of the table whose quest an expression names, None for anything else."""
    if not isinstance(expression, ast.ColumnRef):
        return None
    names = [field.sval for field in expression.fields]
    if len(names) == 1:
        return next((alias for alias, table in tables.items() if names == [OF_A_QUEST[table]]), None)
    alias, column = names[-2:]
    return alias if alias in tables and OF_A_QUEST[tables[alias]] == column else None


def _without_quest(statement: Any, *, outside: bool) -> set[str]:
    """Return the tables that a statement reaches otherwise than by the quest.

    Args:
        statement: a SELECT, UPDATE or DELETE.
        outside: whether one quest has to be given from outside the statement; else it may go over many quests, and each
            table has to be joined to the others by the quest.
    """
    tables = _tables(statement)
    linked: set[str] = set()
    pairs = []
    for term in _conditions(statement):
        if not isinstance(term, ast.A_Expr) or term.kind != A_Expr_Kind.AEXPR_OP or term.name[0].sval != "=":
            continue
        sides = [_quest_of(term.lexpr, tables), _quest_of(term.rexpr, tables)]
        if all(sides):
            pairs.append(set(sides))
        elif any(sides) and not isinstance(term.lexpr, ast.A_ArrayExpr):
            linked |= {side for side in sides if side}
    if not outside and tables and not linked:
        linked = {next(iter(tables))}
    for _ in pairs:
        for pair in pairs:
            if pair & linked:
                linked |= pair
    return {tables[alias] for alias in tables.keys() - linked}


def _reading(tree: Any) -> list[Any]:
    return [
        node
        for kind in (ast.SelectStmt, ast.UpdateStmt, ast.DeleteStmt)
        for node in _of_kind(tree, kind)
        if not (isinstance(node, ast.SelectStmt) and node.valuesLists)
    ]


def _called(tree: Any) -> set[str]:
    return {call.funcname[-1].sval for call in _of_kind(tree, ast.FuncCall)}


def complaints(function: dict[str, Any], spread: set[str], nested: bool) -> list[str]:
    """Return what keeps a function from running on Citus.

    Args:
        function: a row of FUNCTIONS.
        spread: the names of the tables and views whose rows are spread over the nodes.
        nested: whether triggers run it, on the node of the quest.
    """
    name, found = function["name"], []
    for tree in _trees(function):
        names = {table.relname for table in _of_kind(tree, ast.RangeVar)}
        if function["language"] == "sql" and function["takes_arguments"] and names & spread:
            found.append(f"{name}: LANGUAGE sql, whose arguments Citus cannot send along, reads {names & spread}")
        if _of_kind(tree, ast.ConstraintsSetStmt) and name != "check_law":
            found.append(f"{name}: SET CONSTRAINTS does not reach the nodes, integrity.check_law() does")
        for statement in _reading(tree):
            locks = isinstance(statement, ast.SelectStmt) and statement.lockingClause
            writes = not isinstance(statement, ast.SelectStmt) and statement.relation.relname in OF_A_QUEST
            outside = bool(nested or locks or writes)
            found += [
                f"{name}: {table} {'of one quest' if outside else 'joined'} without the quest"
                for table in sorted(_without_quest(statement, outside=outside))
            ]
        if nested:
            local = {
                table.relname
                for table in _of_kind(tree, ast.RangeVar)
                if table.relname not in OF_A_QUEST and table.schemaname in {"integrity", "public"}
            }
            found += [f"{name}: a trigger cannot read {table}, which is on one node only" for table in sorted(local)]
        for insert in _of_kind(tree, ast.InsertStmt):
            if insert.relation.relname in OF_A_QUEST and insert.onConflictClause is not None:
                found.append(f"{name}: ON CONFLICT on {insert.relation.relname}")
    return found


@pytest.fixture
def functions(migrated: _Connection) -> list[dict[str, Any]]:
    cursor = migrated.execute(FUNCTIONS)
    columns = [column.name for column in cursor.description or ()]
    return [dict(zip(columns, row, strict=True)) for row in cursor]


@pytest.fixture
def views(migrated: _Connection) -> dict[str, str]:
    tables = [f"integrity.{name}" if name == "event" else name for name in OF_A_QUEST]
    return dict(migrated.execute(VIEWS, [tables]).fetchall())


def _nested(functions: list[dict[str, Any]]) -> set[str]:
    """Return the names of the trigger functions and of what they call."""
    by_name = {function["name"]: function for function in functions}
    found: set[str] = set()
    pending = [function["name"] for function in functions if function["is_trigger"]]
    while pending:
        name = pending.pop()
        if name not in found:
            found.add(name)
            called = {call for tree in _trees(by_name[name]) for call in _called(tree)}
            pending += called & by_name.keys()
    return found


def test_no_function_does_what_citus_cannot(functions: list[dict[str, Any]], views: dict[str, str]) -> None:
    nested = _nested(functions)
    spread = {*OF_A_QUEST, *views}

    found = [
        complaint
        for function in functions
        if function["name"] not in VARIANTS
        for complaint in complaints(function, spread, function["name"] in nested)
    ]

    assert {"on_application_approved", "approve_otherwise", "derived_assignee", "log_event"} <= nested
    assert found == []


def test_views_join_the_rows_of_a_quest_by_the_quest(views: dict[str, str]) -> None:
    found = [
        f"{name}: {table}"
        for name, definition in views.items()
        if name not in VARIANTS
        for statement in _reading(pglast.parse_sql(definition)[0].stmt)
        for table in _without_quest(statement, outside=False)
    ]

    assert "approved_without_participant" in views
    assert found == []


def test_events_can_be_moved_to_another_node(migrated: _Connection) -> None:
    identities = migrated.execute(
        "select distinct relreplident from pg_class where relispartition and relnamespace = 'integrity'::regnamespace "
        "and relkind = 'r'"
    ).fetchall()

    assert identities == [("f",)]


@pytest.mark.parametrize("path", sorted(SQL.rglob("*.sql")), ids=lambda path: path.name)
def test_each_statement_is_sent_alone(path: Path) -> None:
    text = path.read_text(encoding="utf-8")

    single, expected = sqlparse.split(text), pglast.split(text)

    assert [pglast.prettify(one) for one in single] == [pglast.prettify(one) for one in expected]


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        ("select from public.quests_quest where id = any(many) for update", "quests_quest of one quest"),
        ("select from public.quests_quest where id = one for update", None),
        ("update public.applications_application set status = 'kicked' where id = one", "applications_application of"),
        ("update public.applications_application set status = 'kicked' where id = one and quest_id = one", None),
        ("set constraints all immediate", "SET CONSTRAINTS"),
        (
            "select from public.quests_quest as quest inner join public.quests_questparticipant as participant "
            "on quest.assigned_to_id = participant.user_id",
            "joined without the quest",
        ),
        (
            "select from public.quests_quest as quest inner join public.quests_questparticipant as participant "
            "on quest.id = participant.quest_id",
            None,
        ),
        (
            "insert into public.quests_questparticipant (quest_id) values (one) on conflict do nothing",
            "ON CONFLICT on quests_questparticipant",
        ),
    ],
)
@pytest.mark.parametrize("language", ["sql", "plpgsql"])
def test_it_would_notice(language: str, body: str, complaint: str | None) -> None:
    code = body if language == "sql" else f"begin {body.replace('select', 'perform', 1)}; end"
    function = {
        "name": "one",
        "language": language,
        "takes_arguments": False,
        "body": code,
        "definition": f"create function one() returns void language {language} as $${code}$$",
    }

    found = complaints(function, set(OF_A_QUEST), nested=False)

    assert [complaint in each for each in found if complaint] == ([True] if complaint else [])
    assert bool(found) == bool(complaint)


def test_it_would_notice_a_function_in_sql_and_a_table_of_one_node() -> None:
    body = "select assigned_to_id from public.quests_quest where id = one"
    function = {"name": "one", "language": "sql", "takes_arguments": True, "body": body}
    lookup = {"name": "two", "language": "sql", "takes_arguments": False, "body": "select from integrity.status"}

    assert [line.partition(",")[0] for line in complaints(function, set(OF_A_QUEST), nested=True)] == [
        "one: LANGUAGE sql"
    ]
    assert complaints(lookup, set(OF_A_QUEST), nested=True) == [
        "two: a trigger cannot read status, which is on one node only"
    ]
