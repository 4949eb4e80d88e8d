"""From a claimed job to a recorded outcome: claim -> render -> send -> record."""
