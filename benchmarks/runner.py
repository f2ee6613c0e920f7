"""The command line of this very tree, also where another one is installed: `python -m benchmarks.runner …`."""

from checks.cli import main

if __name__ == "__main__":
    main()
