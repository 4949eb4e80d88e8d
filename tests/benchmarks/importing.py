"""What `import notifykit` costs beside an import of what it stands on."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator

BESIDE = "import sqlmodel, jinja2, blinker"
OURS = "import notifykit"
PROGRAM = "import time; start = time.process_time(); {}; print(time.process_time() - start)"


def cost(*, rounds: int) -> Iterator[str]:
    """Milliseconds of processor time, each the least of ten or more processes: the machine is shared.

    Args:
        rounds: Of five processes; a single round is one process, which only shows that all this runs.
    """
    processes = max(10, 5 * rounds) if rounds > 1 else 1
    with tempfile.TemporaryDirectory(prefix="notifykit-bytecode-") as folder:
        environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
        environment["PYTHONPYCACHEPREFIX"] = folder  # as installed: compiled already
        least: dict[str, float] = {}
        for _ in range(1 + processes):
            for statement in (BESIDE, OURS):
                program = [sys.executable, "-c", PROGRAM.format(statement)]
                ran = subprocess.run(program, env=environment, capture_output=True, text=True, check=True)
                least[statement] = min(float(ran.stdout) * 1000, least.get(statement, float("inf")))
    more = least[OURS] - least[BESIDE]
    yield f"{OURS}, beyond {BESIDE}: {more:.0f} ms more than {least[BESIDE]:.0f} ms (to reach now: 120 ms)"
