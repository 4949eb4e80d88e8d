"""How a notification is described: workflows, steps, payloads, preferences. Pure: no SQL, no I/O, no clock."""
