"""Small edits of SQL and PL/pgSQL text, each of which takes one thing away: an operand, a statement, a lock, a branch.

PostgreSQL's own scanner finds the words, so that strings and comments are never mistaken for code. There is no grammar:
an edit that does not compile is found out by running it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from pglast.parser import scan

EXCERPT = 60

# What ends one expression and begins the next, or something that is none.
DELIMITERS = frozenset(
    (
        *("where", "on", "having", "when", "if", "elsif", "elseif", "while", "then", "loop", "else", "end"),
        *("group", "order", "limit", "offset", "returning", "union", "except", "intersect", "for", "window"),
        *("from", "join", "inner", "left", "right", "full", "cross", "select", "set", "using", "into", "return"),
        *("by", "values", "with", "as", "begin", "declare", "check", "exit", "continue", "do", "perform", "raise"),
        *("insert", "update", "delete", ",", ";", ":="),
    )
)
# After these a condition follows: what becomes of a single one that has no operands to leave out.
CHOOSES = frozenset(("where", "having"))
DECIDES = frozenset(("if", "elsif", "elseif", "when"))
OPENS = {"(": ")", "[": "]", "case": "end"}
LOCKS = ("for update", "for no key update", "for share", "for key share")


@dataclass(frozen=True)
class Edit:
    """One edit: what it does, and the whole text after it."""

    what: str
    text: str


@dataclass(frozen=True)
class Word:
    """A token and where it is."""

    text: str
    start: int
    end: int


@dataclass
class Group:
    """What is between two parentheses or brackets, or a CASE expression; the words that open and close it count."""

    opened: Word
    items: list["Word | Group"] = field(default_factory=list)
    end: int = 0

    @property
    def start(self) -> int:
        """Where it begins."""
        return self.opened.start


Item = Word | Group
Run = tuple[str, list[Item]]


def words(text: str) -> list[Word]:
    """Return the tokens of a text without its comments, in lower case unless quoted."""
    return [
        Word(text[token.start : token.end + 1].lower(), token.start, token.end + 1)
        for token in scan(text)
        if not token.name.endswith("_COMMENT")
    ]


def conditions(text: str) -> Iterator[Edit]:
    """Leave out each operand of AND and OR; where there is none, let every row pass, or turn the condition round."""
    for before, run in _runs(_tree(words(text))):
        operands = list(_operands(run))
        for operand, neutral in operands:
            yield _replaced(text, operand, neutral, "without")
        if operands or not run or (len(run) == 1 and isinstance(run[0], Group) and _has_operands(run[0])):
            continue
        if before in CHOOSES:
            yield _replaced(text, run, "true", "without")
        elif before in DECIDES:
            yield _replaced(text, run, f"not ({_source(text, run)})", "with the opposite of")


def list_items(text: str) -> Iterator[Edit]:
    """Leave out each constant of a list, `in ('a', 'b')` or `array['a', 'b']`."""
    for before, group in _groups(_tree(words(text))):
        if before not in ("in", "array"):
            continue
        parts = _split(group.items, ",")
        if len(parts) < 2 or any(isinstance(item, Word) and item.text == "select" for item in group.items):
            continue
        for number, part in enumerate(parts):
            start, end = (parts[number - 1][-1].end, part[-1].end) if number else (part[0].start, parts[1][0].start)
            yield Edit(f"without {_quoted(_source(text, part))} in its list", text[:start] + text[end:])


def locks(text: str) -> Iterator[Edit]:
    """Leave out each row lock."""
    found = words(text)
    for lock in LOCKS:
        wanted = lock.split()
        for at in range(len(found) - len(wanted) + 1):
            if [word.text for word in found[at : at + len(wanted)]] == wanted:
                start, end = found[at].start, found[at + len(wanted) - 1].end
                yield Edit(f"without {_quoted(lock)}", text[:start] + text[end:])


def branches(query: str) -> Iterator[Edit]:
    """Leave out each branch of a union."""
    tree = _tree(words(query))
    starts = [at for at, item in enumerate(tree) if isinstance(item, Word) and item.text == "union"]
    edges = [-1, *starts, len(tree)]
    for number in range(len(edges) - 1) if starts else ():
        first, last = edges[number] + 1, edges[number + 1] - 1
        # The word that joins it goes along: the one before, or for the first branch the one after.
        start = tree[edges[number]].start if number else 0
        end = tree[edges[1] + 2].start if not number else tree[last].end
        inside = [item for item in tree[first : last + 1] if not (isinstance(item, Word) and item.text == "all")]
        yield Edit(f"without the branch {number + 1}, {_quoted(_source(query, inside))}", query[:start] + query[end:])


def statements(body: str) -> Iterator[Edit]:
    """Leave out each simple statement of a PL/pgSQL body, wherever it is nested."""
    for start, end in _statements(words(body)):
        statement = body[start:end]
        if statement.rstrip(";").strip() != "null":
            yield Edit(f"without {_quoted(statement)}", f"{body[:start]}null;{body[end:]}")


def _statements(found: Sequence[Word]) -> Iterator[tuple[int, int]]:
    """Yield where simple statements begin and end."""
    opened: list[str] = []
    parens = 0
    # Not before the first BEGIN: declarations are no statements.
    begins, at = False, 0
    while at < len(found):
        word = found[at].text
        parens += (word in "([") - (word in ")]")
        if begins and word not in ("if", "for", "foreach", "while", "loop", "begin", "end", "else", "elsif", "declare"):
            last = _semicolon(found, at)
            yield found[at].start, found[last].end
            at = last
            begins = True
        elif word == "end":
            closed = opened.pop() if opened else ""
            at += closed in ("if", "loop")
            begins = False
        elif word == "case":
            opened.append("case")
        elif parens == 0 and ((word == "if" and begins) or word in ("loop", "begin")):
            opened.append(word)
            begins = word != "if"
        elif parens == 0 and opened and word in ("then", "else", ";"):
            begins = opened[-1] != "case"
        else:
            begins = False
        at += 1


def _semicolon(found: Sequence[Word], at: int) -> int:
    while found[at].text != ";":
        at += 1
    return at


def _tree(found: Sequence[Word]) -> list[Item]:
    root = Group(Word("", 0, 0))
    stack = [root]
    before = ""
    for word in found:
        current = stack[-1]
        if word.text in OPENS and not (word.text == "case" and before == "end"):
            group = Group(word)
            current.items.append(group)
            stack.append(group)
        elif len(stack) > 1 and word.text == OPENS[current.opened.text]:
            current.end = word.end
            stack.pop()
        else:
            current.items.append(word)
        before = word.text
    return root.items


def _runs(items: Sequence[Item]) -> Iterator[Run]:
    """Yield every expression there is at any depth, with the word that it follows."""
    before, run = "", list[Item]()
    for at, item in enumerate(items):
        if isinstance(item, Word) and _delimits(items, at):
            yield before, run
            before, run = item.text, []
            continue
        run.append(item)
        if isinstance(item, Group):
            yield from _runs_inside(item)
    yield before, run


def _runs_inside(group: Group) -> Iterator[Run]:
    chooses_value = group.opened.text == "case" and not _is(group.items[0], "when")
    for before, run in _runs(group.items):
        # `case x when 1`: what follows is a value.
        yield ("" if chooses_value and before == "when" else before), run


def _delimits(items: Sequence[Item], at: int) -> bool:
    word = items[at]
    before = items[at - 1] if at else None
    after = items[at + 1] if at + 1 < len(items) else None
    assert isinstance(word, Word)
    if word.text == "from" and _is(before, "distinct"):
        return False
    if word.text == "with" and _is(after, "time"):
        return False
    if word.text in ("left", "right") and isinstance(after, Group):
        return False
    return word.text in DELIMITERS


def _operands(run: Sequence[Item]) -> Iterator[tuple[list[Item], str]]:
    """Yield the operands of a run with what each is replaced by: AND binds more tightly than OR."""
    alternatives = _split(run, "or")
    for alternative in alternatives:
        factors = _split(alternative, "and")
        if len(factors) > 1:
            yield from ((factor, "true") for factor in factors if factor)
        if len(alternatives) > 1 and alternative:
            yield alternative, "false"


def _has_operands(group: Group) -> bool:
    return any(True for _, run in _runs(group.items) for _ in _operands(run)) or any(
        isinstance(item, Group) and _has_operands(item) for item in group.items[:1] if len(group.items) == 1
    )


def _split(items: Sequence[Item], separator: str) -> list[list[Item]]:
    parts: list[list[Item]] = [[]]
    between = False
    for item in items:
        if _is(item, separator) and not between:
            parts.append([])
            continue
        between = _is(item, "between") or (between and not _is(item, "and"))
        parts[-1].append(item)
    return parts


def _groups(items: Sequence[Item], before: str = "") -> Iterator[tuple[str, Group]]:
    for item in items:
        if isinstance(item, Group):
            yield before, item
            yield from _groups(item.items)
        before = item.text if isinstance(item, Word) else ""


def _is(item: Item | None, word: str) -> bool:
    return isinstance(item, Word) and item.text == word


def _replaced(text: str, run: Sequence[Item], by: str, how: str) -> Edit:
    return Edit(f"{how} {_quoted(_source(text, run))}", text[: run[0].start] + by + text[run[-1].end :])


def _source(text: str, run: Sequence[Item]) -> str:
    return text[run[0].start : run[-1].end] if run else ""


def _quoted(source: str) -> str:
    """Return an excerpt that is one line and fits a table."""
    plain = " ".join(source.split()).replace("`", "'").replace("|", "¦")
    return f"`{plain if len(plain) <= EXCERPT else plain[: EXCERPT - 1].rstrip() + '…'}`"
