"""The verbs on each noun, on real databases, below any notifier."""
