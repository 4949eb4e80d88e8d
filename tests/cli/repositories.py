"""Throw-away git repositories with histories as odd as real ones."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

ADA = ("Ada", "ada@example.com")
BOB = ("Bob", "bob@example.com")
CLERK = {"NAME": "Clerk", "EMAIL": "clerk@example.com"}


class Repository:
    """A repository made by git itself, untouched by the configuration of whoever runs the tests."""

    def __init__(self, path: Path, *, bare: bool = False) -> None:
        self.path = path
        self._minute = 0
        path.mkdir(parents=True)
        self.git("init", "--quiet", "--initial-branch=main", *(["--bare"] if bare else []))

    def git(self, *words: str, stdin: bytes = b"", **environment: str) -> str:
        clean = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
        fixed = {"HOME": str(self.path), "GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": os.devnull}
        people = {f"GIT_{role}_{what}": text for role in ("AUTHOR", "COMMITTER") for what, text in CLERK.items()}
        done = subprocess.run(
            ["git", "-C", str(self.path), *words],
            input=stdin,
            capture_output=True,
            check=True,
            env=clean | fixed | people | environment,
        )
        return done.stdout.decode("utf-8", "replace").strip()

    def commit(
        self,
        message: str = "Change something",
        *,
        by: tuple[str, str] = ADA,
        files: Mapping[str, str] | None = None,
    ) -> str:
        """Commit files (by default one in `src`) and return the commit's name."""
        self._minute += 1
        for name, text in ({"src/main.py": str(self._minute)} if files is None else files).items():
            file = self.path / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        self.git("add", "--all")
        moment = f"{1_700_000_000 + 60 * self._minute} +0000"
        words = ["commit", "--quiet", "--allow-empty", "--allow-empty-message", "-m", message]
        name, email = by
        self.git(*words, f"--author={name} <{email}>", GIT_AUTHOR_DATE=moment, GIT_COMMITTER_DATE=moment)
        return self.head()

    def head(self) -> str:
        return self.git("rev-parse", "HEAD")

    def raw_commit(self, author: bytes, message: bytes = b"raw") -> str:
        """A commit whose author line holds these very bytes, as old tools and imports leave them."""
        tree, parent = self.git("rev-parse", "HEAD^{tree}"), self.head()
        lines = (
            f"tree {tree}\nparent {parent}\nauthor ".encode()
            + author
            + b" 1700000000 +0000\ncommitter Clerk <clerk@example.com> 1700000000 +0000\n\n"
            + message
        )
        sha = self.git("hash-object", "-t", "commit", "-w", "--literally", "--stdin", stdin=lines)
        self.git("update-ref", "HEAD", sha)
        return sha
