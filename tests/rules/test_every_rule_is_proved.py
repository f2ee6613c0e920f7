"""A rule without a test file of its own, or without a way to plant its violation, is no rule."""

from pathlib import Path
from typing import Any

import psycopg

from tests.support import plant


def test_every_rule_has_its_test_file(migrated: psycopg.Connection[Any]) -> None:
    rules = {rule for (rule,) in migrated.execute("select rule from integrity.rule")}
    files = {path.stem.removeprefix("test_") for path in Path(__file__).parent.glob("test_*.py")}
    assert rules <= files


def test_every_rule_can_be_planted(migrated: psycopg.Connection[Any]) -> None:
    rules = {rule for (rule,) in migrated.execute("select rule from integrity.rule")}
    assert plant.RULES.keys() | plant.OFF.keys() == rules
