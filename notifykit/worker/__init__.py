"""Due work: a drain, the calls it makes, and how many at once."""
