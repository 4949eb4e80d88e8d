"""How fast notifykit is against a script written by hand: `python -m tests.benchmarks`."""
