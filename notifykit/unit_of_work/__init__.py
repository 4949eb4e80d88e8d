"""One transaction of work: units, where they are opened or joined, and what follows their commit."""
