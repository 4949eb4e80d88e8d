"""What is read from a repository, and what of it cannot be believed."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import pytest

from notifykit.cli.demo import git
from notifykit.cli.demo.history import Commit, History
from tests.cli.repositories import ADA, BOB, Repository


def read(repository: Repository | Path, limit: int = 0) -> list[Commit]:
    path = repository.path if isinstance(repository, Repository) else repository
    git.check(path)
    return list(git.commits(path, limit=limit))


def history(*commits: Commit) -> History:
    return History.read(commits, "a test")


def commit(who: str, *folders: str) -> Commit:
    return Commit.of("0" * 40, who, f"{who}@example.com", "Change", [f"{folder}/file" for folder in folders])


def test_commits_come_oldest_first(repository: Repository) -> None:
    shas = [repository.commit(f"Change {n}") for n in range(3)]
    assert [one.sha for one in read(repository)] == shas
    assert [one.subject for one in read(repository)] == ["Change 0", "Change 1", "Change 2"]


def test_a_limit_takes_the_latest(repository: Repository) -> None:
    shas = [repository.commit() for _ in range(5)]
    assert [one.sha for one in read(repository, limit=2)] == shas[-2:]


def test_folders_are_the_first_parts_of_paths(repository: Repository) -> None:
    repository.commit(files={"src/a/b.py": "1", "src/c.py": "1", "docs/d.md": "1", "README": "1"})
    [found] = read(repository)
    assert found.folders == (".", "docs", "src")
    assert found.files == 4


@pytest.mark.parametrize("folder", ["späße", "with space", " ", "tab\there", "new\nline", '"quoted"', "日本語"])
def test_folders_may_be_called_anything(repository: Repository, folder: str) -> None:
    repository.commit(files={f"{folder}/file": "1", "\nodd": "1"})
    [found] = read(repository)
    expected = folder.replace("\t", " ").replace("\n", " ").strip() or "."
    assert set(found.folders) == {".", expected}
    assert found.files == 2


def test_a_commit_that_touches_nothing_is_the_roots(repository: Repository) -> None:
    repository.commit()
    repository.commit(files={})
    assert read(repository)[1].folders == (".",)
    assert read(repository)[1].files == 0


def test_a_clean_merge_touches_nothing_and_its_commits_are_told(repository: Repository) -> None:
    repository.commit(files={"src/a": "1"})
    repository.git("switch", "--quiet", "--create", "side")
    repository.commit("On the side", by=BOB, files={"side/b": "1"})
    repository.git("switch", "--quiet", "main")
    repository.commit(files={"src/a": "2"})
    repository.git("merge", "--quiet", "--no-edit", "side")
    commits = read(repository)
    assert len(commits) == 4
    assert commits[-1].subject.startswith("Merge branch")
    assert commits[-1].folders == (".",)
    assert ("side",) in {one.folders for one in commits}


def test_a_merge_that_settles_a_conflict_touches_what_it_settled(repository: Repository) -> None:
    repository.commit(files={"src/a": "1"})
    repository.git("switch", "--quiet", "--create", "side")
    repository.commit(files={"src/a": "2"})
    repository.git("switch", "--quiet", "main")
    repository.commit(files={"src/a": "3"})
    ours = repository.git("commit-tree", "HEAD^{tree}", "-p", "HEAD", "-p", "side", "-m", "Merge")
    repository.git("reset", "--quiet", "--hard", ours)
    (repository.path / "src" / "a").write_text("4")
    repository.git("commit", "--quiet", "--all", "--amend", "--no-edit")
    merge = read(repository)[-1]
    assert (merge.subject, merge.folders, merge.files) == ("Merge", ("src",), 1)


def test_two_addresses_are_one_person_by_the_mailmap(repository: Repository) -> None:
    repository.commit(by=ADA)
    repository.commit(by=("lovelace", "ADA@old.example"))
    assert {one.author for one in read(repository)} == {"ada@example.com", "ada@old.example"}
    repository.commit(files={".mailmap": "Ada <ada@example.com> <ada@old.example>\n"})
    assert {(one.name, one.author) for one in read(repository)} == {("Ada", "ada@example.com")}


def test_the_same_address_in_other_letters_is_the_same_person(repository: Repository) -> None:
    repository.commit(by=("Ada", "Ada@Example.COM"))
    repository.commit(by=("Ada", "ada@example.com"))
    assert {one.author for one in read(repository)} == {"ada@example.com"}


def test_an_author_without_address_is_known_by_name(repository: Repository) -> None:
    repository.commit(by=("Ada Lovelace", ""))
    [found] = read(repository)
    assert (found.author, found.email) == ("ada lovelace", "")


def test_an_author_without_anything_is_somebody(repository: Repository) -> None:
    repository.commit()
    repository.raw_commit(b" <>")
    assert read(repository)[-1].author == "unknown"


@pytest.mark.parametrize(
    ("line", "name", "email"),
    [
        (b"\x1b[31mRed\x07 <red@example.com>", "[31mRed", "red@example.com"),
        (b"Tab\tand\rreturn <t@example.com>", "Tab and return", "t@example.com"),
        ("Ri\u202eght <r@example.com>".encode(), "Ri ght", "r@example.com"),
        ("Żółć 陈晓雨 👩‍🚀 <z@example.com>".encode(), "Żółć 陈晓雨 👩‍🚀", "z@example.com"),
        (b"Latin \xe9 <l@example.com>", "Latin \ufffd", "l@example.com"),
        (b"Odd <not an address, at all>", "Odd", "not an address, at all"),
    ],
)
def test_what_steers_a_terminal_is_taken_out_of_names(
    repository: Repository, line: bytes, name: str, email: str
) -> None:
    repository.commit()
    repository.raw_commit(line)
    found = read(repository)[-1]
    assert (found.name, found.email) == (name, email)


def test_a_message_may_be_empty_or_endless(repository: Repository) -> None:
    repository.commit("")
    repository.commit("long " * 10_000)
    empty, endless = read(repository)
    assert empty.subject == "(no message)"
    assert len(endless.subject) <= 200


def test_tags_stand_at_their_commits(repository: Repository) -> None:
    repository.commit()
    repository.git("tag", "v1")
    repository.git("tag", "--annotate", "v1,final", "--message", "one")
    repository.commit()
    repository.git("tag", "vü2")
    assert [sorted(one.tags) for one in read(repository)] == [["v1", "v1,final"], ["vü2"]]


def test_a_folder_of_a_repository_and_a_bare_one_will_do(repository: Repository, tmp_path: Path) -> None:
    sha = repository.commit()
    bare = Repository(tmp_path / "bare", bare=True)
    repository.git("push", "--quiet", str(bare.path), "main")
    assert [one.sha for one in read(repository.path / "src")] == [sha]
    assert [one.sha for one in read(bare)] == [sha]


def test_a_repository_in_the_environment_is_not_the_one_asked_for(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository.commit("Mine")
    other = Repository(tmp_path / "other")
    other.commit("Not mine")
    monkeypatch.setenv("GIT_DIR", str(other.path / ".git"))
    assert [one.subject for one in read(repository)] == ["Mine"]


def test_what_has_no_history_is_refused_in_a_sentence(repository: Repository, tmp_path: Path) -> None:
    with pytest.raises(git.NoRepositoryError, match="has no commit yet"):
        read(repository)
    with pytest.raises(git.NoRepositoryError, match="is no folder"):
        read(tmp_path / "nowhere")
    (tmp_path / "plain").mkdir()
    with pytest.raises(git.NoRepositoryError, match="is not a git repository"):
        read(tmp_path / "plain")


def test_without_git_the_refusal_says_so(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    repository.commit()
    monkeypatch.setenv("PATH", "")
    with pytest.raises(git.NoRepositoryError, match="git is needed"):
        read(repository)


def test_a_broken_repository_is_refused_with_what_git_says(repository: Repository) -> None:
    repository.commit()
    tree = repository.git("rev-parse", "HEAD^{tree}")
    repository.commit()
    (repository.path / ".git" / "objects" / tree[:2] / tree[2:]).unlink()
    with pytest.raises(git.NoRepositoryError, match="git says"):
        read(repository)


def test_reading_may_stop_early(repository: Repository) -> None:
    shas = [repository.commit() for _ in range(3)]
    commits = git.commits(repository.path, limit=0)
    assert next(commits).sha == shas[0]
    commits.close()


def test_a_long_history_is_read_in_little_memory(repository: Repository) -> None:
    many = 4_000
    lines = []
    for n in range(1, many + 1):
        author = f"author P{n % 7} <p{n % 7}@example.com> {1_700_000_000 + n} +0000\n"
        lines.append(f"commit refs/heads/main\nmark :{n}\n{author}{author.replace('author', 'committer')}data 300\n")
        lines.append("x" * 300 + f"\nM 100644 inline dir{n % 5}/file{n}\ndata 1\n1\n")
    repository.git("fast-import", "--quiet", stdin="".join(lines).encode())
    tracemalloc.start()
    try:
        found = History.read(git.commits(repository.path, limit=0), "long")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (found.commits, len(found.people), len(found.folders)) == (many, 7, 5)
    assert sum(1 for _ in found) == many
    found.close()
    assert peak < 1_500_000


def test_a_history_can_be_walked_again() -> None:
    told = history(commit("ada", "src"), commit("bob", "docs"))
    assert list(told) == list(told)
    assert [one.author for one in told] == ["ada@example.com", "bob@example.com"]
    told.close()


def test_members_are_the_most_active_and_equals_come_by_id() -> None:
    told = history(*[commit("zoe", "src")] * 3, commit("bob", "src"), commit("ada", "src"), commit("bob", "docs"))
    assert told.members(2) == {"docs": ["bob@example.com"], "src": ["zoe@example.com", "ada@example.com"]}
    told.close()


def test_people_are_called_by_the_name_used_last() -> None:
    first, last = (Commit.of("0" * 40, name, "a@example.com", "x", []) for name in ("Ann", "Anna"))
    told = history(first, last)
    assert told.people["a@example.com"].name == "Anna"
    told.close()


def test_the_sample_in_the_package_has_what_a_history_has() -> None:
    told = History.sample()
    assert told.commits > 200
    assert told.tags >= 3
    assert len(told.people) > 10
    assert any(not person.email for person in told.people.values())
    told.close()
