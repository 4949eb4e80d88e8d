"""One file a version, named in `notifykit.store.schema.REVISIONS`; each has an `upgrade(op)`."""
