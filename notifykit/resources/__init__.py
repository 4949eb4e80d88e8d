"""The verbs on each noun: one file a noun, synchronous, in a unit."""
