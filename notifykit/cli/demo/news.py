"""What the demo tells: its two workflows, and what is triggered for a commit and for a tag."""

from __future__ import annotations

from pydantic import BaseModel

import notifykit as nk
from notifykit.cli.demo.history import Commit
from notifykit.settings import KEY_LENGTH


class CommitPushed(BaseModel):
    """What is told of a commit."""

    sha: str
    author: str
    subject: str
    where: str
    files: int


class ReleasePublished(BaseModel):
    """What is told of a tag."""

    tag: str
    author: str


commit_pushed = nk.Workflow(
    "commit-pushed",
    payload=CommitPushed,
    tags=["commits"],
    steps=[
        nk.InApp("bell", subject="{{ payload.author }} in {{ payload.where }}", body="{{ payload.subject }}"),
        nk.Delay("hour", hours=1),
        nk.Email(
            "mail",
            when="not steps.bell.read",
            subject="[{{ payload.where }}] {{ payload.subject }}",
            body=(
                "Hello {{ subscriber.first_name }},\n\nyou have not read this yet:\n\n"
                "  {{ payload.subject }}\n\n"
                "{{ payload.author }} touched {{ payload.files }} file(s) in {{ payload.where }}.\n"
                "Commit {{ payload.sha }}\n"
            ),
        ),
    ],
)
release_published = nk.Workflow(
    "release-published",
    payload=ReleasePublished,
    tags=["releases"],
    steps=[nk.InApp("bell", subject="{{ payload.tag }} is out", body="Tagged at a commit of {{ payload.author }}.")],
)


def of_commit(commit: Commit, *, alone: bool) -> nk.Trigger:
    """A commit, for the people of the folders it touched but its author; who works alone hears of it all the same."""
    trigger_id = f"commit-{commit.sha}"
    if alone:
        return notice(commit).to(topics(commit), transaction_id=trigger_id)
    return notice(commit).to(topics(commit), actor=commit.author, transaction_id=trigger_id)


def of_tag(tag: str, commit: Commit) -> nk.Trigger:
    """A tag, for everyone."""
    news = release_published(tag=tag, author=author(commit))
    return news.to(nk.Everyone(), transaction_id=f"tag-{tag}"[:KEY_LENGTH].strip())


def notice(commit: Commit) -> nk.BoundWorkflow[CommitPushed]:
    """What is told of a commit."""
    where = ", ".join(commit.folders[:3]) + (", ..." if len(commit.folders) > 3 else "")
    return commit_pushed(
        sha=commit.sha[:12], author=author(commit), subject=commit.subject, where=where, files=commit.files
    )


def topics(commit: Commit) -> list[nk.Topic]:
    """The folders a commit touched."""
    return [nk.Topic(folder) for folder in commit.folders]


def author(commit: Commit) -> str:
    """An author's name as it is shown."""
    return commit.name or commit.email or "Somebody"
