"""The numbers of the house, in one place."""

from __future__ import annotations

from datetime import timedelta

CHUNK = 500
"""Runs a chunk on the sync notifier; larger ones pay for full garbage collections."""
ASYNC_CHUNK = 250
"""Runs a chunk on the async notifier: the loop breathes between two of them."""

KEY_LENGTH = 255
"""Characters of an id or key."""
PAYLOAD_BYTES = 512 * 1024
PAYLOAD_DEPTH = 100
STEPS_LIMIT = 64
"""Steps a workflow: a message's id is its run's id and six bits of step."""

BUSY_TIMEOUT = timedelta(seconds=30)
"""How long SQLite waits for another process's write."""
BESIDE_HOST = timedelta(seconds=2)
"""How long to wait for others' locks while the host's own transaction is open: it may be what holds them."""

RETRIES = 3
RETRY_PAUSE = timedelta(milliseconds=50)
"""How often, and after how long, a unit is done again that a database gave up for another transaction's sake."""

STARTS_WITHIN = 0.05
"""Seconds within which the calls of one claim start; those that have not are given back."""
SHORTEST_CALL = 1e-5
"""Seconds that any call takes."""
LOCKED_WIDENING = 8
"""Where all jobs found have runs that others have locked, so many times as many are looked at."""
LOST_FIRST_EVERY = 16
"""One claim in so many looks first at jobs whose worker was lost."""
FRUITLESS_CLAIMS = 100
"""Claims in a row whose calls were all given back, after which a drain leaves it at that."""
LEASE = timedelta(seconds=60)
LEASE_RENEWAL = LEASE / 3
"""A call that takes longer has its lease renewed, again and again."""
CALL_TIMEOUT = 60.0
"""Seconds that a call may take where several are made at once."""
STOP_GRACE = 1.0
"""Seconds in which calls under way may end when a drain is stopped."""
RECORD_GRACE = 1.0
"""Seconds for which a drain whose budget is spent waits to record what was sent; then the next drain does."""
RESCUES = 3
"""A job whose worker died this often is failed: it may be what kills them."""
ATTEMPTS = 8
BACKOFF_BASE = timedelta(seconds=30)
BACKOFF_CAP = timedelta(hours=1)
BACKOFF_FLOOR = timedelta(seconds=1)
RETRY_AFTER_CAP = 3600
"""Seconds that a provider may ask us to wait."""
RETRY_AFTER_CHARACTERS = 1000
"""A text that is longer is neither a number nor a date."""
NO_PROVIDER = "no provider"
"""The reason of what waits for one."""
NO_PROVIDER_RETRY = timedelta(seconds=60)
NO_PROVIDER_EXPIRY = timedelta(days=7)
