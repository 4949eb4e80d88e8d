"""How the tables changed from version to version; used only where a database is behind.

A version's `upgrade(op)` gets Alembic's operations as an argument: the global ones belong to the host's own migrations,
and one thread's to another. It may have been stopped anywhere before: MariaDB keeps every change of a table at once, so
a step that makes or drops something first looks whether that is done, and a step that changes rows may run twice.
"""
