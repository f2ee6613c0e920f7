"""The edits of SQL text that mutants are made of."""

import pytest

from tests.mutants import text


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("select 1 where a = b", ["select 1 where true"]),
        ("select 1 where a and b or c", ["true and b", "a and true", "false or c", "a and b or false"]),
        ("select 1 where ((a) AND (b between 1 and 2))", ["(true AND (b between 1 and 2))", "((a) AND true)"]),
        ("check ((a is distinct from b) or c)", ["(false or c)", "((a is distinct from b) or false)"]),
        ("if a is null then b := c and d; end if;", ["if not (a is null) then", "b := true and d", "b := c and true"]),
        ("select case when a then 1 end, 'x and y' -- p or q", ["case when not (a) then"]),
        ("select case a when 1 then 2 end", []),
        ("select 1 where a in (select b where c)", ["where true", "(select b where true)"]),
    ],
)
def test_conditions(before: str, after: list[str]) -> None:
    found = sorted(edit.text for edit in text.conditions(before))
    assert len(found) == len(after)
    assert all(any(part in each for each in found) for part in after), found


def test_list_items() -> None:
    found = [edit.text for edit in text.list_items("a in ('x', 'y', 'z') and b = any(array['p', 'q']) and c in (1)")]
    assert [each.partition(" and c")[0] for each in found] == [
        "a in ('y', 'z') and b = any(array['p', 'q'])",
        "a in ('x', 'z') and b = any(array['p', 'q'])",
        "a in ('x', 'y') and b = any(array['p', 'q'])",
        "a in ('x', 'y', 'z') and b = any(array['q'])",
        "a in ('x', 'y', 'z') and b = any(array['p'])",
    ]


def test_locks() -> None:
    assert [edit.text for edit in text.locks("select 1 from a for no key update; select 'for update'")] == [
        "select 1 from a ; select 'for update'"
    ]


def test_branches() -> None:
    found = [edit.text for edit in text.branches("select 1 union all select 2 union all select (3)")]
    assert [" ".join(each.split()) for each in found] == [
        "select 2 union all select (3)",
        "select 1 union all select (3)",
        "select 1 union all select 2",
    ]
    assert list(text.branches("select (select 1 union select 2)")) == []


def test_statements() -> None:
    body = """
    declare
      a integer := case when true then 1 else 2 end;
    begin
      a := case when b then 1 else 2 end;
      if a = 1 then
        perform f(';');
      elsif a = 2 then
        null;
      else
        update t set a = 1;
      end if;
      for a in select 1 loop
        return next;
      end loop;
      return a; -- the end;
    end
    """
    found = list(text.statements(body))
    assert [edit.what for edit in found] == [
        "without `a := case when b then 1 else 2 end;`",
        "without `perform f(';');`",
        "without `update t set a = 1;`",
        "without `return next;`",
        "without `return a;`",
    ]
    assert "\n      null;\n      if a = 1" in found[0].text
