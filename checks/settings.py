"""What a project says of its audits in `[tool.quest-integrity]` of its pyproject.toml."""

import tomllib
from pathlib import Path
from typing import Any

from checks.errors import UserError

SEVERITIES = ("error", "warning", "off")


def severities(start: Path) -> dict[str, str]:
    """Return the severity by rule that the nearest pyproject.toml, from `start` upwards, overrides.

    The table is `[tool.quest-integrity.severity]`, a rule's name to error, warning or off. Whether the rules exist is
    for the database to say.

    Raises:
        UserError: the file cannot be read, or says something else than severities.
    """
    path = next((folder / "pyproject.toml" for folder in (start, *start.parents) if _is_project(folder)), None)
    if path is None:
        return {}
    try:
        project = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise UserError(f"{path} cannot be read: {error}; correct it: the severities of rules may be in it") from error
    tool = project.get("tool", {})
    table = tool.get("quest-integrity", {}) if isinstance(tool, dict) else tool
    if not isinstance(table, dict) or set(table) - {"severity"}:
        raise UserError(f"{path}: [tool.quest-integrity] is {table!r}; expected only the table severity")
    return _checked(table.get("severity", {}), path)


def _is_project(folder: Path) -> bool:
    return (folder / "pyproject.toml").is_file()


def _checked(found: Any, path: Path) -> dict[str, str]:
    if not isinstance(found, dict):
        raise UserError(f"{path}: tool.quest-integrity.severity is {found!r}; expected a table of rules")
    for rule, severity in found.items():
        if severity not in SEVERITIES:
            raise UserError(f"{path}: severity of {rule} is {severity!r}; expected one of {', '.join(SEVERITIES)}")
    return found
