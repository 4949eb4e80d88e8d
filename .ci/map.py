"""Draws the rooms of docs/house.md from the imports: an arrow for what a room needs and reaches through no other one.

python .ci/map.py           # write the picture
python .ci/map.py --check   # fail where an arrow is drawn and not there, or there and not drawn
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "notifykit"
HOUSE = ROOT / "docs" / "house.md"
PICTURE = re.compile(r"(?<=^```mermaid\n).*?(?=^```$)", re.MULTILINE | re.DOTALL)
FACE = "engine"
"""What `import notifykit` gives."""

Arrows = Mapping[str, frozenset[str]]


def rooms() -> frozenset[str]:
    """Every folder and file of the package, but for what Python itself asks for."""
    return frozenset(path.stem for path in PACKAGE.iterdir() if path.suffix in {"", ".py"} and path.name[0] != "_")


def imported(path: Path) -> Iterator[str]:
    """The modules that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module == PACKAGE.name:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def arrows() -> Arrows:
    """By room, the rooms that it imports."""
    known = rooms()
    found: dict[str, set[str]] = {room: set() for room in known}
    for path in PACKAGE.rglob("*.py"):
        room = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        for module in imported(path) if room in known else ():
            package, _, rest = module.partition(".")
            other = rest.split(".")[0] or FACE
            if package == PACKAGE.name and other in known and other != room:
                found[room].add(other)
    return {room: frozenset(others) for room, others in found.items()}


def reached(graph: Arrows, room: str) -> frozenset[str]:
    """Every room below another."""
    return graph[room].union(*(reached(graph, other) for other in graph[room]))


def drawn(graph: Arrows) -> str:
    """The picture: what a room imports, but for what it reaches through others."""
    lines = ["flowchart TD"]
    for room in sorted(graph, key=lambda room: (-len(reached(graph, room)), room)):
        beyond = frozenset().union(*(reached(graph, other) for other in graph[room]))
        if near := sorted(graph[room] - beyond):
            lines.append(f"    {room} --> {' & '.join(near)}")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Write the picture, or check it."""
    text = HOUSE.read_text("utf-8")
    wanted = PICTURE.sub(lambda _: drawn(arrows()), text)
    if "--check" not in sys.argv[1:]:
        HOUSE.write_text(wanted, "utf-8")
    elif wanted != text:
        sys.exit("docs/house.md draws other arrows than the imports: run python .ci/map.py")


if __name__ == "__main__":
    main()
