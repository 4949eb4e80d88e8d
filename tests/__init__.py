"""The tests and benchmarks of notifykit."""
