"""`python -m benchmarks`: every subject but the adoption, or those named; `make bench` runs this."""

from benchmarks import adoption, approval, audit, bulk, contention, idle, peer, perrow, repair, size
from benchmarks.harness import main

SUBJECTS = (peer, approval, bulk, idle, contention, audit, perrow, repair, size, adoption)

if __name__ == "__main__":
    everything = [module.SUBJECT for module in SUBJECTS]
    # The adoption takes minutes at a fixed rate and has a make target of its own.
    main(*everything, chosen=[subject.name for subject in everything if subject.name != "adoption"])
