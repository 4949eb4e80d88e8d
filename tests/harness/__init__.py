"""What the tests stand on: databases, doors, dumps, counted statements, leak checks."""
