"""The one place that knows SQL dialects: databases, units, statements, schema."""
