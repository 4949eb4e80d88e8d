"""Links: where a click on a message may lead."""

from __future__ import annotations

import re

from notifykit.errors import RenderError

LINK = re.compile(r"(?:https?://[^\s/\\?#\x00-\x1f\x7f]+|/(?![/\\]))[^\x00-\x1f\x7f]*\Z|/\Z", re.IGNORECASE)
BEGINNINGS = ("http://", "https://")
TARGETS = ("_self", "_blank", "_parent", "_top")


def is_link(url: str) -> bool:
    """Whether a URL is absolute http(s), or rooted at `/`."""
    return LINK.match(url) is not None


def may_become_link(head: str) -> bool:
    """Whether a URL that starts like this can still become a link once the rest is filled in."""
    if head.startswith("/"):
        return not head.startswith(("//", "/\\"))
    lower = head.lower()
    return any(lower.startswith(start) or start.startswith(lower) for start in BEGINNINGS)


def link(url: str) -> str:
    """The URL, if it is a link.

    Raises:
        RenderError: It leads elsewhere, such as `javascript:` or `//host`.
    """
    if LINK.match(url) is None:
        raise RenderError(f"the URL {url[:80]!r} is neither absolute http(s) nor rooted at '/'")
    return url


def redirect_to(url: str, target: str | None) -> dict[str, str]:
    """A redirect: a link and the window it opens in, by default the same one for the host's own pages."""
    return {"url": url, "target": target or ("_self" if url.startswith("/") else "_blank")}
