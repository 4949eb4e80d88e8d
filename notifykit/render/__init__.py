"""Templates: one compiled unit per step, sandboxed, with what they may name checked at registration."""
