"""Templates and conditions: sandboxed, compiled once, with what they may name checked at registration."""
