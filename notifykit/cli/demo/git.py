"""What a repository tells: its commits, read from `git log` as they come, oldest first."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import IO

from notifykit.cli.demo.history import Commit
from notifykit.errors import InputError

FIELDS = ("%H", "%aN", "%aE", "%s")
HEAD = "/"
"""What begins a commit's first field: no path in a repository can start with it."""
BLOCK = 1 << 16
OF_ANOTHER_REPOSITORY = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_COMMON_DIR", "GIT_NAMESPACE")


class NoRepositoryError(InputError):
    """There is nothing to read: no git, no repository, or no commit in it."""


def commits(repository: Path, *, limit: int) -> Iterator[Commit]:
    """The latest commits that lead to a repository's HEAD, oldest first.

    Two addresses of one person are one where the repository's `.mailmap` says so. A merge touches what it changed
    itself, not what it brought in.

    Args:
        repository: The repository or a folder in it.
        limit: How many commits; 0 for all.

    Yields:
        One commit at a time, its tags with it.

    Raises:
        NoRepositoryError: No git, no repository, or no commit in it.
    """
    tags = _tags(repository)
    latest = [f"--max-count={limit}"] if limit else []
    layout = "--format=" + HEAD + "%x00".join(FIELDS)
    options = ["--reverse", "--encoding=UTF-8", "--no-show-signature", "--no-color", *latest]
    changes = ["-z", "-c", "--name-only", "--no-renames", "--no-ext-diff", "--no-textconv"]
    fields = _lines(repository, "log", *options, *changes, layout, "HEAD", "--")
    for sha, name, email, subject, paths in _records(fields):
        yield Commit.of(sha, name, email, subject, paths, tags.get(sha, ()))


def check(repository: Path) -> None:
    """Refuse what has no history.

    Args:
        repository: The repository or a folder in it.

    Raises:
        NoRepositoryError: No git, no repository, or no commit in it.
    """
    if not repository.is_dir():
        raise NoRepositoryError(f"{str(repository)!r} is no folder.", field="REPOSITORY")
    _answer(repository, "rev-parse", "--git-dir")
    if _run(repository, "rev-parse", "--verify", "--quiet", "HEAD^{commit}").returncode:
        raise NoRepositoryError(f"{str(repository)!r} has no commit yet: nothing to tell about.", field="REPOSITORY")


def _records(fields: Iterator[str]) -> Iterator[tuple[str, str, str, str, list[str]]]:
    head = next(fields, None)
    while head is not None:
        name, email, subject = islice(fields, len(FIELDS) - 1)
        paths: list[str] = []
        following = None
        for field in fields:
            if field.startswith(HEAD):
                following = field
                break
            path = field if paths else field.removeprefix("\n")
            if path:
                paths.append(path)
        yield head.removeprefix(HEAD), name, email, subject, paths
        head = following


def _tags(repository: Path) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    layout = "--format=%(objectname)%00%(*objectname)%00%(refname:strip=2)"
    for line in _answer(repository, "for-each-ref", layout, "refs/tags").splitlines():
        plain, peeled, tag = line.split("\0")
        sha = peeled or plain
        found[sha] = (*found.get(sha, ()), tag)
    return found


def _lines(repository: Path, *command: str) -> Iterator[str]:
    """The fields of a NUL-separated answer, one at a time, however long it is."""
    with tempfile.TemporaryFile() as complaints, _open(repository, command, complaints) as process:
        assert process.stdout is not None
        try:
            yield from _fields(process.stdout)
        except GeneratorExit:
            process.kill()
            raise
        if process.wait():
            complaints.seek(0)
            raise _refusal(repository, complaints.read())


def _fields(stream: IO[bytes]) -> Iterator[str]:
    rest = b""
    while block := stream.read(BLOCK):
        *whole, rest = (rest + block).split(b"\0")
        for field in whole:
            yield field.decode("utf-8", "replace")
    if rest:
        yield rest.decode("utf-8", "replace")


def _open(repository: Path, command: Iterable[str], complaints: IO[bytes]) -> subprocess.Popen[bytes]:
    words, environment = _words(repository, command), _environment()
    return subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=complaints, env=environment)


def _answer(repository: Path, *command: str) -> str:
    done = _run(repository, *command)
    if done.returncode:
        raise _refusal(repository, done.stderr)
    return done.stdout.decode("utf-8", "replace")


def _run(repository: Path, *command: str) -> subprocess.CompletedProcess[bytes]:
    try:
        return subprocess.run(
            _words(repository, command), stdin=subprocess.DEVNULL, capture_output=True, check=False, env=_environment()
        )
    except FileNotFoundError as error:
        raise NoRepositoryError("git is needed to read a repository, and was not found.", field="REPOSITORY") from error


def _words(repository: Path, command: Iterable[str]) -> list[str]:
    return ["git", "-C", str(repository), "--no-pager", *command]


def _environment() -> dict[str, str]:
    mine = {name: value for name, value in os.environ.items() if name not in OF_ANOTHER_REPOSITORY}
    return mine | {"LC_ALL": "C", "GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0"}


def _refusal(repository: Path, complaints: bytes) -> NoRepositoryError:
    text = complaints.decode("utf-8", "replace").strip()
    if "not a git repository" in text:
        return NoRepositoryError(f"{str(repository)!r} is not a git repository.", field="REPOSITORY")
    first = text.splitlines()[0] if text else "no reason given"
    return NoRepositoryError(f"{str(repository)!r} cannot be read: git says {first!r}.", field="REPOSITORY")
