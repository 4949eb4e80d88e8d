"""The rendering of one channel step, and what is wrong with a message that cannot be rendered."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from jinja2.exceptions import SecurityError, UndefinedError

from notifykit.errors import RenderError
from notifykit.render.named import ParsedPart
from notifykit.render.sandbox import TEXT_LIMIT, Sandbox
from notifykit.render.step_template import StepTemplate
from notifykit.render.text_loop import SEPARATOR, TextLoop
from notifykit.render.variables import undefined
from notifykit.texts import error_text
from notifykit.workflow.steps import Step


class Rendering:
    """All templates of one channel step.

    Attributes:
        parts: Those that fill something in, with what they name.
        reads: The roots that they name.
    """

    def __init__(self, step: Step, place: str, environment: Sandbox) -> None:
        """Compile a channel step's templates.

        Args:
            step: The step.
            place: Where it stands, for errors.
            environment: Of the workflow's templates.

        Raises:
            DefinitionError: One of them is refused; says where.
        """
        self._template = StepTemplate(step, place, environment)
        self.parts: Sequence[ParsedPart] = self._template.parts
        self.reads: frozenset[str] = frozenset().union(*(part.reads for part in self.parts))
        self._loop = TextLoop.of_parts(environment, self.parts) if self.parts else None

    def bind(self, scope: Mapping[str, Any]) -> Callable[[], Any]:
        """Bind the templates to a scope whose entries are replaced from one message to the next.

        Args:
            scope: One dictionary of all roots.

        Returns:
            A function that renders what the scope holds by then. For in-app it returns `(subject | None, body,
            cta as JSON text | None, data as JSON text | None)`; for other channels a dictionary of the step's fields:
            e-mail `subject, body, html`, SMS and chat `body`, push `title, body, data`. It raises RenderError.
        """
        loop, fill, count = self._loop, self._template.fill, len(self.parts)
        if loop is None:
            return lambda: fill(())
        begun: Iterator[str] | None = None

        def render() -> Any:
            nonlocal begun
            texts, begun = begun or loop.begin(scope), None
            try:
                text = next(texts)
                begun = texts
                return fill(_parts(text, count))
            except Exception as error:
                raise self._failure(error, scope) from error

        return render

    def _failure(self, error: Exception, scope: Mapping[str, Any]) -> RenderError:
        if isinstance(error, RenderError):
            return error
        if isinstance(error, SecurityError):
            return RenderError(str(error))
        if isinstance(error, UndefinedError):
            known = [path for part in self.parts for _, path in part.variables]
            path, sentence = undefined(str(error.message), known, scope)
            return RenderError(sentence, variable=path)
        return RenderError(error_text(error))


def _parts(text: str, count: int) -> list[str]:
    """The texts of the parts, if they can be stored: data is checked where it comes in, what is made of it is not."""
    if len(text) > TEXT_LIMIT:
        raise RenderError(f"the text has {len(text):,} characters; at most {TEXT_LIMIT:,} are possible")
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise RenderError("the text holds half of a surrogate pair, which cannot be stored") from None
    parts = text.split(SEPARATOR)
    if len(parts) != count:
        raise RenderError("the text holds a NUL character, which cannot be stored")
    return parts
