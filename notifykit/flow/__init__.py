"""The way of a trigger: intake, audience, facts, advance, apply; and due work, cancel, explain."""
