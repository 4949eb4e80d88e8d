"""From a claimed job to a recorded outcome."""
