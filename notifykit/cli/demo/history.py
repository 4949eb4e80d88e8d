"""What the demo tells about: people, the folders they work in, and their commits, however many there are."""

from __future__ import annotations

import json
import re
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import astuple, dataclass, field
from importlib import resources
from typing import IO

from notifykit.settings import KEY_LENGTH

SAMPLE = "sample.jsonl"
ROOT = "."
"""The folder of files that lie in none, and of commits that touch no file."""
SUBJECT_LENGTH = 200
UNSHOWN = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]+")
"""Characters that steer a terminal, a mail or the direction of writing."""


@dataclass(frozen=True, slots=True)
class Commit:
    """One commit: who made it, what it touched, which tags stand at it."""

    sha: str
    name: str
    email: str
    subject: str
    folders: tuple[str, ...]
    files: int
    tags: tuple[str, ...]

    @classmethod
    def of(
        cls, sha: str, name: str, email: str, subject: str, paths: Iterable[str], tags: Iterable[str] = ()
    ) -> Commit:
        """A commit as its history gives it, cleaned of what cannot be shown.

        Args:
            sha: Its name.
            name: Its author's name; may be empty.
            email: Its author's address; may be empty or none at all.
            subject: The first line of its message; may be empty.
            paths: The files it touched.
            tags: The tags at it.

        Returns:
            The commit; its folders are the first parts of its paths, sorted.
        """
        folders, files = set(), 0
        for path in paths:
            top, slash, _ = path.partition("/")
            folders.add((_shown(top)[:KEY_LENGTH].strip() or ROOT) if slash else ROOT)
            files += 1
        title = _shown(subject)[:SUBJECT_LENGTH].strip() or "(no message)"
        where = tuple(sorted(folders)) or (ROOT,)
        return cls(sha, _shown(name), _shown(email), title, where, files, tuple(_shown(tag) for tag in tags))

    @property
    def author(self) -> str:
        """The id of its author: the address in small letters, or the name where there is no address."""
        return (self.email or self.name or "unknown").casefold()[:KEY_LENGTH].strip()


@dataclass(slots=True)
class Person:
    """An author, by the name used last."""

    id: str
    name: str
    email: str
    commits: int = 0


@dataclass
class History:
    """A history that was read once and can be walked again; commits wait on disk, people and folders in memory.

    Attributes:
        title: What was read, for the reader of the demo.
        people: The authors by id.
        folders: How many commits each author made in each top folder.
        commits: How many commits there are.
        tags: How many tags stand at them.
    """

    title: str
    people: dict[str, Person] = field(default_factory=dict)
    folders: dict[str, Counter[str]] = field(default_factory=dict)
    commits: int = 0
    tags: int = 0
    _kept: IO[str] = field(default_factory=lambda: _spool(), repr=False)

    @classmethod
    def read(cls, commits: Iterable[Commit], title: str) -> History:
        """Read commits, oldest first.

        Args:
            commits: Any number of them; none is kept in memory.
            title: What they are.

        Returns:
            The history; close it when done.
        """
        history = cls(title)
        try:
            for commit in commits:
                history._add(commit)
        except BaseException:
            history.close()
            raise
        return history

    @classmethod
    def sample(cls) -> History:
        """The history that comes with the package, of a project that never was."""
        text = resources.files("notifykit.cli").joinpath(SAMPLE).read_text(encoding="utf-8")
        rows = (json.loads(line) for line in text.splitlines())
        return cls.read((Commit.of(*row) for row in rows), "the sample history in the package")

    def __iter__(self) -> Iterator[Commit]:
        """The commits, oldest first."""
        self._kept.seek(0)
        for line in self._kept:
            sha, name, email, subject, folders, files, tags = json.loads(line)
            yield Commit(sha, name, email, subject, tuple(folders), files, tuple(tags))

    def members(self, most: int) -> dict[str, list[str]]:
        """The most active people of each folder.

        Args:
            most: How many of a folder at most.

        Returns:
            Ids by folder, the most active first; equals in the order of ids.
        """
        return {
            folder: [who for who, _ in sorted(active.items(), key=lambda item: (-item[1], item[0]))[:most]]
            for folder, active in sorted(self.folders.items())
        }

    def close(self) -> None:
        """Give back the disk space."""
        self._kept.close()

    def _add(self, commit: Commit) -> None:
        person = self.people.setdefault(commit.author, Person(commit.author, commit.name, commit.email))
        person.commits += 1
        person.name = commit.name or person.name
        for folder in commit.folders:
            self.folders.setdefault(folder, Counter())[commit.author] += 1
        self.commits += 1
        self.tags += len(commit.tags)
        self._kept.write(json.dumps(astuple(commit)) + "\n")


def _shown(text: str) -> str:
    return UNSHOWN.sub(" ", text).strip()


def _spool() -> IO[str]:
    return tempfile.TemporaryFile("w+", encoding="utf-8")
