"""Between a protocol and the model: what a protocol makes of a body, and what it gets to make an answer of.

Every protocol takes the same way (`ftdeploy.serve.app`): its parser makes an `Asked` of a body, the engine answers the
texts, and the `Asked` renders the `Answers`, in the order asked.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from ftdeploy.encoded import Outputs
from ftdeploy.serve.limits import Limits
from ftdeploy.serve.model import Counted, Scored
from ftdeploy.serve.thresholds import decided
from ftdeploy.serve.wire import Header, Refusal, Reply, Scope
from ftdeploy.signature import Signature
from ftdeploy.tasks import TASKS
from ftdeploy.tasks.said import Function

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Answers:
    """What the model said of a request's texts; ``rows`` and ``scored`` are in the order of the texts.

    Attributes:
        rows: the texts as the model saw them.
        scored: what it gave for them.
        identity: the request's id.
        digest: of the bundle.
        signature: of the model.
    """

    rows: Sequence[Counted]
    scored: Sequence[Scored]
    identity: str
    digest: str
    signature: Signature

    def labels(self, *, top_k: int | None = None, function: Function | None = None,
               thresholds: bool = True) -> list[Any]:  # fmt: skip
        """For each text its labels with scores, best first; or its entities, or its vector.

        Args:
            top_k: how many at most; None is all.
            function: what makes scores of the logits; None is the task's own.
            thresholds: put the bundle's fallback first where the likeliest label is not sure enough. They are
                probabilities: scores of another function are held against none.

        Raises:
            Refusal: 422 the model finds entities or gives vectors, and these are chosen by neither; a softmax is
                wanted of labels that do not exclude one another; or anything is made of a number.
        """
        task = TASKS[self.signature.task]
        function = function or task.function
        if (task.per_token or task.vectors) and (top_k is not None or function != task.function):
            raise Refusal(422, "validation", f"top_k and function_to_apply do not go with {task.name}")
        if task.vectors:
            return list(self.vectors())
        if task.number and function != task.function:
            raise Refusal(422, "validation", f"{function} does not go with {task.name}: a number is no probability")
        if task.multi_label and function == "softmax":
            raise Refusal(
                422, "validation", f"softmax does not go with {task.name}, whose labels do not exclude others"
            )
        if function == task.function:
            if thresholds and self.signature.fallback:
                return [decided(one.answer, self.signature)[:top_k] for one in self.scored]
            return [one.answer[:top_k] for one in self.scored]
        logits = np.stack([one.logits for one in self.scored])
        outputs = Outputs(logits=logits, embedding=logits[:, :0])
        return task.decode(outputs, self.signature, top_k=top_k, function=function)

    def vectors(self) -> NDArray[np.float32]:
        """The vectors of the texts, where these are the answers: float32, shape (texts, dimensions)."""
        return np.stack([one.logits for one in self.scored])

    def truncated(self) -> list[bool]:
        """For each text whether it was cut."""
        return [row.truncated() for row in self.rows]

    def headers(self) -> tuple[Header, ...]:
        """What every answer says of itself: request id, digest, and which texts were cut, where one was."""
        named: tuple[Header, ...] = (
            (b"x-request-id", self.identity.encode()),
            (b"x-model-digest", self.digest.encode()),
        )
        cut = [str(index) for index, row in enumerate(self.rows) if row.truncated()]
        return (*named, (b"x-truncated", ",".join(cut).encode())) if cut else named


class Asked(Protocol):
    """A request that was understood."""

    @property
    def texts(self) -> list[str]:
        """What to answer; at least one."""

    @property
    def whole(self) -> bool:
        """Whether a text that would have to be cut is refused."""

    def render(self, answers: Answers) -> Reply:
        """The answer, without `Answers.headers`."""


Parse = Callable[[bytes | bytearray, Scope, Limits], Asked]
"""(body, the request's scope, limits) -> what is asked; raises `Refusal`."""
