"""Templates as one loop over messages: compiled once, begun once for a batch, a pass for each message.

As Jinja sees it, for a step whose two templates name the payload and the subscriber, with a separator between them:

```
{% for payload, subscriber in _messages %}{% filter string %}subject NUL body{% endfilter %}{% endfor %}
```

The filter block makes the parts one text. To begin a template costs as much as to render a short one; a loop begins
once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import repeat
from operator import itemgetter
from typing import Any

from jinja2 import nodes

from notifykit.render.named import ParsedPart
from notifykit.render.sandbox import Sandbox
from notifykit.workflow.context import ROOTS

SEPARATOR = "\0"
"""Stands between the texts of a step: no template and no payload may hold one."""
MESSAGES = "_messages"
PART = "_part{}"


class TextLoop:
    """Syntax that makes one text for each message."""

    def __init__(
        self, environment: Sandbox, body: nodes.Node, reads: Iterable[str], named: Mapping[str, Any] | None = None
    ) -> None:
        """Compile the loop.

        Args:
            environment: What it is compiled in.
            body: What is done for each message: it outputs exactly once.
            reads: The roots that it names.
            named: What it may name besides.
        """
        self._roots = [root for root in ROOTS if root in reads]
        self._named = named or {}
        targets: list[nodes.Expr] = [nodes.Name(name, "store") for name in self._roots or ["_message"]]
        target = targets[0] if len(targets) == 1 else nodes.Tuple(targets, "store")
        loop = nodes.For(target, nodes.Name(MESSAGES, "load"), [body], [], None, False)
        self._template = environment.from_string(as_template([loop], environment))

    @classmethod
    def of_parts(cls, environment: Sandbox, parts: Sequence[ParsedPart]) -> TextLoop:
        """The loop of a step's templates; one that is composed of several is a template of its own, included."""
        composed = {PART.format(at): part for at, part in enumerate(parts) if part.is_composed}
        body: list[nodes.Node] = []
        for at, part in enumerate(parts):
            if at:
                body.append(nodes.Output([nodes.TemplateData(SEPARATOR)]))
            body.append(_included(at) if part.is_composed else _inline(part))
        return cls(
            environment,
            nodes.FilterBlock(body, nodes.Filter(None, "string", [], [], None, None)),
            frozenset().union(*(part.reads for part in parts)),
            {name: environment.of(html=each.part.html).from_string(each.tree) for name, each in composed.items()},
        )

    def begin(self, scope: Mapping[str, Any]) -> Iterator[str]:
        """Begin the loop.

        Args:
            scope: One dictionary of all roots, whose entries are replaced from one message to the next.

        Returns:
            A text for each message, of what the scope holds by then, without end. What raises ends it: begin another.
        """
        messages = map(itemgetter(*self._roots), repeat(scope)) if self._roots else repeat(None)
        return self._template.root_render_func(self._template.new_context({MESSAGES: messages, **self._named}))


def as_template(body: list[nodes.Node], environment: Sandbox) -> nodes.Template:
    """Nodes that no source stands for, as a template."""
    template = nodes.Template(body, lineno=1)
    template.set_lineno(1)
    template.set_environment(environment)
    return template


def _inline(part: ParsedPart) -> nodes.Node:
    """The template as a piece of another; none sees what another sets."""
    body: list[nodes.Node] = [nodes.Scope(list(part.tree.body))]
    if not part.part.html:
        return body[0]
    return nodes.ScopedEvalContextModifier([nodes.Keyword("autoescape", nodes.Const(True))], body)


def _included(at: int) -> nodes.Node:
    return nodes.Include(nodes.Name(PART.format(at), "load"), True, False)
