"""What the tests stand on: databases, notifiers, dumps, counted statements, leak checks."""
