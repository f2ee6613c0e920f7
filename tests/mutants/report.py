"""docs/mutants.md."""
import json
from dataclasses import dataclass
from pathlib import Path
from tests.mutants import guards, suite
from tests.mutants.catalog import Mutant
PATH = suite.ROOT / "docs" / "mutants.md"
KILLERS = Path(__file__).with_name("killers.json")
@dataclass(frozen=True)
class Run:
    verdicts: dict
    tests: dict
def render(run): return "x\n"
def unargued(tests): return [m.name for m,a in tests.items() if a.killer is None]
