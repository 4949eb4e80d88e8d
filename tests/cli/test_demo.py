"""The main job from a shell, on real repositories, and how it ends when it cannot be done."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from email import message_from_bytes
from email.policy import default
from pathlib import Path
from typing import NamedTuple

import pytest
from typer.testing import CliRunner

import notifykit as nk
from notifykit.cli.app import app
from tests.cli.repositories import ADA, BOB, Repository

EVE = ("Eve", "eve@example.com")


class Result(NamedTuple):
    exit_code: int
    stdout: str
    stderr: str
    output: str


def demo(*words: object, columns: int = 200) -> Result:
    done = CliRunner(env={"COLUMNS": str(columns)}).invoke(app, ["demo", *map(str, words)])
    return Result(done.exit_code, done.stdout, done.stderr, f"{done.output}\n{done.exception!r}")


def refused(result: Result) -> str:
    """The one sentence on standard error of a command that failed."""
    assert result.exit_code == 1
    assert result.stdout.strip() == ""
    [line] = result.stderr.splitlines()
    assert line.startswith("notifykit: ")
    assert "Traceback" not in result.output
    return line


@pytest.fixture
def told(repository: Repository) -> Repository:
    """A repository with three people, two folders and a tag."""
    for n in range(3):
        repository.commit(f"Ada {n}", by=ADA, files={"src/a": str(n)})
        repository.commit(f"Bob {n}", by=BOB, files={"src/b": str(n), "docs/b": str(n)})
    repository.commit("Eve", by=EVE, files={"docs/e": "1"})
    repository.git("tag", "v1")
    return repository


def test_the_demo_tells_a_repository(told: Repository, tmp_path: Path) -> None:
    database, mail = tmp_path / "demo.db", tmp_path / "mail"
    result = demo(told.path, "--db", f"sqlite:///{database}", "--out", mail)
    assert result.exit_code == 0, result.output
    assert str(told.path) in result.stdout
    assert str(mail) in result.stdout
    for title in ("Triggers by status", "Messages by channel and status", "Inbox of", "Trace of", "Why did"):
        assert title in result.stdout


def test_everybody_is_told_of_the_commits_of_the_others(told: Repository, tmp_path: Path) -> None:
    database = f"sqlite:///{tmp_path / 'demo.db'}"
    assert demo(told.path, "--db", database, "--out", tmp_path / "mail").exit_code == 0
    with nk.Engine(database) as notify:
        inbox = {who: list(notify.inbox(f"{who}@example.com").list(limit=50)) for who in ("ada", "bob", "eve")}
        assert sorted(notify.topics.members("src")) == ["ada@example.com", "bob@example.com"]
    bodies = {who: [message.body for message in messages] for who, messages in inbox.items()}
    assert bodies["ada"] == ["Tagged at a commit of Eve.", "Bob 2", "Bob 1", "Bob 0"]
    assert bodies["bob"] == ["Tagged at a commit of Eve.", "Eve", "Ada 2", "Ada 1", "Ada 0"]
    assert bodies["eve"] == ["Tagged at a commit of Eve.", "Bob 2", "Bob 1", "Bob 0"]
    assert inbox["bob"][1].subject == "Eve in docs"
    assert inbox["bob"][1].actor is not None
    assert inbox["bob"][1].actor["subscriber_id"] == "eve@example.com"


def test_what_is_unread_after_an_hour_is_mailed_but_to_whom_does_not_want_it(told: Repository, tmp_path: Path) -> None:
    database, mail = f"sqlite:///{tmp_path / 'demo.db'}", tmp_path / "mail"
    result = demo(told.path, "--db", database, "--out", mail)
    assert result.exit_code == 0, result.output
    letters = Counter(message_from_bytes(path.read_bytes(), policy=default)["To"] for path in mail.iterdir())
    assert letters == {"ada@example.com": 3, "bob@example.com": 4}
    with nk.Engine(database) as notify:
        assert len(list(notify.messages.each(status="sent", channel="email"))) == 7
        assert notify.inbox("eve@example.com").unread_count() == 0
        assert notify.preferences.get("eve@example.com", workflow="commit-pushed") == {"in_app": True, "email": False}
    assert "Why did Eve get no e-mail" in result.stdout
    assert "preference" in result.stdout


def test_a_second_telling_to_the_same_database_stores_nothing_again(told: Repository, tmp_path: Path) -> None:
    database = f"sqlite:///{tmp_path / 'demo.db'}"
    for _ in range(2):
        result = demo(told.path, "--db", database, "--out", tmp_path / "mail")
        assert result.exit_code == 0, result.output
    with nk.Engine(database) as notify:
        assert len(notify.inbox("bob@example.com").list(limit=50)) == 5


def test_a_limit_tells_the_latest_commits_only(told: Repository, tmp_path: Path) -> None:
    database = f"sqlite:///{tmp_path / 'demo.db'}"
    result = demo(told.path, "--limit", 2, "--db", database, "--out", tmp_path / "mail")
    assert result.exit_code == 0, result.output
    with nk.Engine(database) as notify:
        assert {one.subscriber_id for one in notify.subscribers.each()} == {"bob@example.com", "eve@example.com"}


def test_addresses_that_no_mail_can_go_to_are_left_out_and_counted(repository: Repository, tmp_path: Path) -> None:
    repository.commit(by=ADA)
    for line in (b"Nobody <>", b" <>", b"Odd <not an address, at all>", b"\x1b[31mRed\x07 <red\x1b@example.com>"):
        repository.raw_commit(line)
    repository.commit(by=("Spaces", "a b@example.com"))
    database = f"sqlite:///{tmp_path / 'demo.db'}"
    result = demo(repository.path, "--db", database, "--out", tmp_path / "mail")
    assert result.exit_code == 0, result.output
    assert "6 subscribers, 5 of them without a mail address" in result.stdout
    assert "\x1b[31mRed" not in result.stdout
    with nk.Engine(database) as notify:
        emails = {one.subscriber_id: one.email for one in notify.subscribers.each()}
    assert {email for email in emails.values() if email} == {"ada@example.com"}


def test_who_works_alone_hears_of_own_commits(repository: Repository, tmp_path: Path) -> None:
    repository.commit()
    repository.commit()
    result = demo(repository.path, "--db", f"sqlite:///{tmp_path / 'demo.db'}", "--out", tmp_path / "mail")
    assert result.exit_code == 0, result.output
    assert "2 runs went on, 2 e-mails were written" in result.stdout
    assert len(list((tmp_path / "mail").glob("*.eml"))) == 2
    assert "would" in result.stdout


def test_without_a_repository_at_hand_the_sample_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = demo("--db", f"sqlite:///{tmp_path / 'demo.db'}", "--out", tmp_path / "mail")
    assert result.exit_code == 0, result.output
    assert "sample history in the package" in result.stdout


def test_the_repository_one_stands_in_is_told(
    told: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(told.path / "src")
    result = demo("--db", f"sqlite:///{tmp_path / 'demo.db'}", "--out", tmp_path / "mail")
    assert result.exit_code == 0, result.output
    assert "sample" not in result.stdout
    assert "7 in one call" not in result.stdout
    assert "8 in one call" in result.stdout


def test_a_repository_at_hand_without_commits_gives_way_to_the_sample(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(repository.path)
    result = demo("--db", f"sqlite:///{tmp_path / 'demo.db'}", "--out", tmp_path / "mail")
    assert result.exit_code == 0, result.output
    assert "sample history in the package" in result.stdout


def test_what_cannot_be_told_is_one_sentence_and_exit_1(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "has no commit yet" in refused(demo(repository.path))
    assert "is no folder" in refused(demo(tmp_path / "nowhere"))
    assert "is not a git repository" in refused(demo(tmp_path))
    repository.commit()
    monkeypatch.setenv("PATH", "")
    assert "git is needed" in refused(demo(repository.path))


def test_a_database_that_cannot_be_used_is_one_sentence_and_exit_1(told: Repository, tmp_path: Path) -> None:
    letter = tmp_path / "letter.txt"
    letter.write_text("not a database, but longer than a header of one " * 50)
    for url in ("nonsense", "nosuch://host/name", f"sqlite:///{letter}", f"sqlite:///{tmp_path / 'no' / 'such.db'}"):
        assert refused(demo(told.path, "--db", url, "--out", tmp_path / "mail"))


def test_a_folder_that_cannot_be_made_is_one_sentence_and_exit_1(told: Repository, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    url = f"sqlite:///{tmp_path / 'demo.db'}"
    assert "file" in refused(demo(told.path, "--db", url, "--out", tmp_path / "file" / "mail"))


def test_a_wrong_option_is_told_as_usual() -> None:
    assert demo("--limit", "-1").exit_code == 2
    assert demo("--nonsense").exit_code == 2


@pytest.mark.parametrize("columns", [80, 120])
def test_everything_printed_fits_the_terminal(told: Repository, tmp_path: Path, columns: int) -> None:
    told.commit("A subject that goes on and on " * 10, by=("A name that goes on and on " * 5, "long@example.com"))
    result = demo(told.path, "--db", f"sqlite:///{tmp_path / 'demo.db'}", "--out", tmp_path / "mail", columns=columns)
    assert result.exit_code == 0, result.output
    assert max(map(len, result.stdout.splitlines())) <= columns


def test_markup_in_a_history_stays_text(repository: Repository, tmp_path: Path) -> None:
    repository.commit("[red]not red[/red] [/nonsense]", by=("[bold]Ada[/]", "ada@example.com"))
    repository.commit("[blue]nor blue[/blue] [/nonsense]", by=BOB)
    result = demo(repository.path, "--db", f"sqlite:///{tmp_path / 'demo.db'}", "--out", tmp_path / "mail")
    assert result.exit_code == 0, result.output
    assert "[blue]nor blue[/blue] [/nonsense]" in result.stdout
    assert "[bold]Ada[/]" in result.stdout


def test_the_letters_are_plain_mail(told: Repository, tmp_path: Path) -> None:
    demo(told.path, "--db", f"sqlite:///{tmp_path / 'demo.db'}", "--out", tmp_path / "mail")
    path = next((tmp_path / "mail").iterdir())
    letter = message_from_bytes(path.read_bytes(), policy=default)
    assert path.suffix == ".eml"
    assert str(letter["Subject"]).startswith("[")
    assert "you have not read this yet" in letter.get_content()


def in_a_process(repository: Repository, folder: Path, **environment: str) -> subprocess.CompletedProcess[bytes]:
    words = [str(repository.path), "--db", f"sqlite:///{folder / 'demo.db'}", "--out", str(folder / "mail")]
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "notifykit", "demo", *words],
        capture_output=True,
        cwd=Path(__file__).parents[2],
        env=os.environ | environment,
    )


def test_the_demo_is_a_module_too(told: Repository, tmp_path: Path) -> None:
    done = in_a_process(told, tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stderr == b""
    assert b"Inbox of" in done.stdout


def test_a_terminal_without_the_letters_gets_question_marks(told: Repository, tmp_path: Path) -> None:
    told.commit("Żółć", by=("陈晓雨", "chen@example.com"))
    done = in_a_process(told, tmp_path, PYTHONIOENCODING="ascii")
    assert done.returncode == 0, done.stderr
    assert b"?" in done.stdout


def test_without_its_extra_the_command_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("notifykit.cli.find_spec", lambda name: None if name == "typer" else object())
    from notifykit.cli import main

    with pytest.raises(SystemExit, match=r"needs typer; run `pip install \"notifykit-engine\[cli\]\"`"):
        main()
