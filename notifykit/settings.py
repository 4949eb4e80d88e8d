"""The numbers of the house, in one place."""

from __future__ import annotations

from datetime import timedelta

CHUNK = 500
"""Runs a chunk on the sync notifier; larger ones pay for full garbage collections."""
ASYNC_CHUNK = 250
"""Runs a chunk on the async notifier: the loop breathes between two of them."""

KEY_LENGTH = 255
"""Characters of an id or key."""
EMAIL_BYTES = 254
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

BEGINS_WITHIN = 0.05
"""Seconds within which the calls of one claim begin; those that have not are given back."""
LEASE = timedelta(seconds=60)
LEASE_RENEWAL = LEASE / 3
"""A call that takes longer has its lease renewed, again and again."""
CALL_TIMEOUT = 60.0
"""Seconds that a call may take where several are made at once."""
RESCUES = 3
"""A job whose worker died this often is failed: it may be what kills them."""
ATTEMPTS = 8
BACKOFF_BASE = timedelta(seconds=30)
BACKOFF_CAP = timedelta(hours=1)
NO_PROVIDER_RETRY = timedelta(seconds=60)
NO_PROVIDER_EXPIRY = timedelta(days=7)
