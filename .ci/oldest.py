"""Prints the oldest versions that `pyproject.toml` allows, one a line, as constraints for pip.

    python .ci/oldest.py > oldest.txt && pip install --constraint oldest.txt ".[all]"

Only what the package itself needs: tools of tests may be new.
"""

from __future__ import annotations

import re
import tomllib
from itertools import chain
from pathlib import Path

PROJECT = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
FLOOR = re.compile(r"(?P<name>[A-Za-z0-9._-]+)(\[[^\]]*\])?\s*>=(?P<version>[0-9][^,;\s]*)")


def main() -> None:
    """Print them; a requirement without a lower bound is an error."""
    needed = chain(PROJECT["dependencies"], *PROJECT["optional-dependencies"].values())
    for text in sorted(each for each in needed if not each.startswith(f"{PROJECT['name']}[")):
        found = FLOOR.match(text)
        if found is None:
            raise SystemExit(f"pyproject.toml: {text!r} has no lower bound")
        print(f"{found['name']}=={found['version']}")


if __name__ == "__main__":
    main()
