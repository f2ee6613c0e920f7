"""Benchmarks: what the integrity layer costs and what it saves, side by side in one run. See docs/performance.md."""
