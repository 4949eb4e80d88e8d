"""A git history as notifications: `python examples/commit_feed.py [REPOSITORY]`."""

import subprocess
import sys

from pydantic import BaseModel

import notifykit as nk
from notifykit.testing import FakeClock


class Pushed(BaseModel):
    """What is told of a commit."""

    author: str
    subject: str


bell = nk.InApp("bell", subject="{{ payload.author }}", body="{{ payload.subject }}")
mail = nk.Email("mail", subject="{{ payload.subject }}", body="By {{ payload.author }}", when="not steps.bell.read")
pushed = nk.Workflow("commit-pushed", payload=Pushed, steps=[bell, nk.Delay("hour", hours=1), mail])


def history(repository: str) -> list[tuple[str, str, str, str, set[str]]]:
    """Sha, author, address, subject and top folders of each commit, oldest first."""
    command = ["git", "-C", repository, "log", "--reverse", "-z", "--name-only", "--format=/%H%x00%aN%x00%aE%x00%s"]
    fields = subprocess.run(command, check=True, capture_output=True, text=True, errors="replace").stdout.split("\0")
    starts = [at for at, field in enumerate(fields) if field.startswith("/")]
    commits = []
    for start, end in zip(starts, [*starts[1:], len(fields)], strict=True):
        sha, author, address, subject = fields[start : start + 4]
        folders = {path.strip().split("/")[0] for path in fields[start + 4 : end] if "/" in path}
        commits.append((sha[1:], author, address or author, subject, folders or {"top"}))
    return commits


def main(repository: str = ".") -> None:
    """Tell everybody of everybody else's commits; half of them read it, the others get a mail an hour later."""
    commits, clock = history(repository), FakeClock()
    notify = nk.Engine(workflows=[pushed], clock=clock)
    people = {who: {"subscriberId": who, "firstName": author, "email": who} for _, author, who, _, _ in commits}
    refused = notify.subscribers.bulk_upsert(people.values()).failed
    print(len(people), "authors,", len(refused), "of them without an address")
    for folder in sorted({folder for *_, folders in commits for folder in folders}):
        notify.topics.add(folder, {who for _, _, who, _, folders in commits if folder in folders})

    triggers = (
        pushed(author=author, subject=subject).to([nk.Topic(f) for f in folders], actor=who, transaction_id=sha)
        for sha, author, who, subject, folders in commits
    )
    print(dict(notify.trigger_bulk(triggers).counts))
    for who in sorted(people)[::2]:
        print(who, "read", notify.inbox(who).mark_all("read"))
    notify.deliver("email")(lambda letter: print("mail to", *letter.to, "about", letter.subject))
    clock.move(hours=1)
    print(notify.drain().sent, "mails")


if __name__ == "__main__":
    main(*sys.argv[1:])
