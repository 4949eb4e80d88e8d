"""How the tables changed from version to version; used only where a database is behind."""
