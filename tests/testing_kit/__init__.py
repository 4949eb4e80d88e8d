"""The sandbox, its clock, its outbox."""
