"""The command line on a mutated layer, in a process of its own, with guards that keep quiet: see `mutation`."""

from checks.cli import main
from tests.support import mutation

mutation.silence_guards()
main()
