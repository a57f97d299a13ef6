"""A running service as a model: asked over HTTP, held to what it was asked for."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import permutations
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from ftdeploy import progress
from ftdeploy.encoded import Encoded, Outputs
from ftdeploy.errors import ServeError
from ftdeploy.measure import Opened
from ftdeploy.models.client import Answer, Calls, Client
from ftdeploy.models.dialects import ShapeError, dialects
from ftdeploy.models.heard import Hearing, WrongAnswerError
from ftdeploy.models.model import Kind, OneLabel, label_order, no_advance
from ftdeploy.pairs import join
from ftdeploy.signature import Signature
from ftdeploy.tasks import Task
from ftdeploy.tasks.said import Said

if TYPE_CHECKING:
    from numpy.typing import NDArray

Asked = TypeVar("Asked")

#: Asked first, together and alone: which labels there are, and whether answers keep the order of the questions.
_PROBES = ("A wonderful film, and I loved it.", "It broke on the first day.", "The meeting is on Tuesday at noon.")
#: Likewise where answers are entities.
_NAMING = (
    "Dr Anna Schmidt of Siemens flew to Paris on 3 May 2021.",
    "Aspirin may cause asthma in children with a fever.",
    "Acme Ltd and Globex Inc agree to the laws of Delaware.",
)
_TOO_MUCH = (413, 422)
#: The request is not understood: it may be in another dialect.
_OTHERWISE = (400, 404, 405, 413, 415, 422)
#: Answers that are as near as this under another order, and as far as that in their own, were given in the other one.
_SAME, _OTHER = 0.01, 0.1
#: Texts in a request where the service has named no limit yet.
_ANY = 1_000_000
_SHA256 = re.compile("[0-9a-f]{64}")


class _RefusedError(Exception):
    """The service does not understand what it is asked: it may in another dialect."""

    def __init__(self, told: ServeError) -> None:
        super().__init__(told.what)
        self.told = told


class ServiceModel(OneLabel):
    """A running service; see `ftdeploy.models.Model`.

    Args:
        place: its URL: the server's, of a model (``/v2/models/NAME``), or of ``/predict``.
        labels: what it should answer with; None takes what it states, or else what it answers, sorted. Of one that
            answers with entities and does not state their kinds there are none.
        calls: how it is asked.
        task: what it is asked for; None takes what it states, or else one label a text.

    Raises:
        SourceError: it cannot be reached, or is no service that classifies texts.
        ServeError: it fails, or answers in a wrong form.
        ModelError: it has other labels, or does something else.
        DependencyError: httpx is not installed.
    """

    kind: Kind = "service"
    folder = None

    def __init__(self, place: str, *, labels: Sequence[str] | None = None, calls: Calls | None = None,
                 task: Task | None = None) -> None:  # fmt: skip
        self._calls = calls or Calls()
        self._client = Client(place, self._calls)
        self.name = self._client.shown
        try:
            rows = self._understand(labels, task)
            self._hearing = self._listen(rows, labels)
            self.labels, self.task = self._hearing.labels, self._hearing.task
            self.one_label = self.task.one_label
            self._check_order(rows)
        except BaseException:
            self._client.close()
            raise
        self.cacheable = bool(self._stated)
        self.digest = self._digest()
        self.max_length = self._dialect.max_length
        self.pairs = self._dialect.pairs
        self.provider = f"{self._dialect.name} over HTTP"
        self.about = f"service {self.name}, {self._dialect.name}" + (f", model {self._stated[:12]}" * self.cacheable)
        self.conditions: Mapping[str, str | int] = {
            "runtime": self.provider,
            "address": self.name,
            "texts": self._calls.texts,
        }

    def scores(self, texts: Sequence[str], *, advance: Callable[[float], None] = no_advance) -> NDArray[np.float32]:
        """See `ftdeploy.models.Model`; requests of neighbouring rows, a few in flight."""
        return self._together(self._each(self.ask, self._requests(texts), advance))

    def alone(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """See `ftdeploy.models.Model`."""
        return self._together(self._each(self.ask, [[text] for text in texts], no_advance))

    def said(self, texts: Sequence[str], *, advance: Callable[[float], None] = no_advance) -> Said:
        """See `ftdeploy.models.Model`: of a service that is asked for something else than one label a text. Of vectors
        what a row is near to is found among all ``texts``."""
        return self._said(self._requests(texts), advance)

    def said_alone(self, texts: Sequence[str]) -> Said:
        """See `ftdeploy.models.Model`."""
        return self._said([[text] for text in texts], no_advance)

    def timed(self) -> Opened:
        """The service with its way over HTTP; its size is not known, and given as 0."""
        return Opened(runner=_HttpRunner(self), lanes=self._calls.in_flight, size=0)

    def close(self) -> None:
        """See `ftdeploy.models.Model`."""
        self._client.close()

    def ask(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Probabilities of texts in one request, or in halves of it where that is too much for the service.

        Args:
            texts: at least one.

        Returns:
            float32, shape (rows, labels).

        Raises:
            ServeError: it fails, answers in a wrong form, or is another model now.
        """
        return self._used(lambda: self._hearing.matrix(self._rows(texts)))

    def hear(self, texts: Sequence[str]) -> Said:
        """Likewise the answers as the data writes its labels.

        Raises:
            ServeError: see `ask`.
            ModelError: it is asked for one label a text.
        """
        if self.one_label:
            return OneLabel.said(self, texts)
        return self._used(lambda: self._hearing.said(self._rows(texts), texts))

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Likewise the vectors of texts, float32, shape (rows, dimensions).

        Raises:
            ServeError: see `ask`.
        """
        return self._used(lambda: self._hearing.vectors(self._rows(texts)))

    def _used(self, answered: Callable[[], Asked]) -> Asked:
        """What is made of answers, with the errors that are to be told of them."""
        try:
            return answered()
        except _RefusedError as refusal:
            raise refusal.told from refusal
        except WrongAnswerError as error:
            raise self._wrong(error.what, cause=error.cause, fix=error.fix) from error

    def _requests(self, texts: Sequence[str]) -> list[Sequence[str]]:
        size = min(self._calls.texts, self._most)
        return [texts[start : start + size] for start in range(0, len(texts), size)]

    def _each(self, do: Callable[[Sequence[str]], Asked], batches: Sequence[Sequence[str]],
              advance: Callable[[float], None]) -> list[Asked]:  # fmt: skip
        """The answers to requests, a few of which are in flight."""
        found = []
        requests = ThreadPoolExecutor(self._calls.in_flight)
        try:
            for batch, answer in zip(batches, requests.map(do, batches), strict=True):
                found.append(answer)
                advance(len(batch))
        finally:
            requests.shutdown(cancel_futures=True)
        return found

    def _together(self, found: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
        return np.concatenate(found) if found else np.empty((0, len(self.labels)), dtype=np.float32)

    def _said(self, requests: Sequence[Sequence[str]], advance: Callable[[float], None]) -> Said:
        if self.task.vectors:
            return self._near(self._each(self.embed, requests, advance))
        return self._joined(self._each(self.hear, requests, advance))

    def _near(self, found: Sequence[NDArray[np.float32]]) -> Said:
        """What lies near each text, by vectors of requests."""
        width = self._hearing.width
        vectors = np.concatenate([np.empty((0, width), dtype=np.float32), *found])
        outputs = Outputs(logits=vectors, embedding=np.empty((len(vectors), 0), dtype=np.float32))
        said_by = Signature(name=self.name, task=self.task.name, labels=(), max_length=1, dimensions=width)
        return self.task.said(outputs, said_by)

    def _joined(self, found: Sequence[Said]) -> Said:
        scores = [one.scores for one in found] or [np.empty(0, dtype=np.float32)]
        return Said(labels=[label for one in found for label in one.labels], scores=np.concatenate(scores))

    def _understand(self, labels: Sequence[str] | None, task: Task | None) -> list[Any]:
        """The service's answers to the probes, in the first dialect that it understands.

        Raises:
            SourceError: it cannot be reached or serves no such model.
            ServeError: it understands none of them; the likeliest one's reason is told.
            ModelError: it does something else.
        """
        first: _RefusedError | None = None
        for dialect in dialects(self._client, labels, task):
            self._dialect = dialect
            self._most = dialect.texts or _ANY
            self._stated = dialect.digest
            try:
                return self._rows(self._probes())
            except _RefusedError as refusal:
                first = first or refusal
        raise first.told if first else AssertionError("a service has a dialect")

    def _listen(self, rows: Sequence[Any], labels: Sequence[str] | None) -> Hearing:
        """How answers are taken, by what the service states and by those to the probes."""
        task, stated = self._dialect.task, self._dialect.labels
        if task.vectors:
            return Hearing(task=task, labels=(), stated=(), width=len(rows[0]))
        if stated is None and task.per_token:
            return Hearing(task=task, labels=tuple(labels or ()), stated=())
        stated = stated or tuple(sorted({label for row in rows for label in row}))
        if task.number:  # what the one output is called has no say
            if len(stated) != 1:
                raise self._wrong(
                    f"gives scores of {len(stated)} labels, and a number is asked of it",
                    cause="it serves a classifier",
                    fix="name a service that answers with a number; or set the suite's `task`",
                )
            return Hearing(task=task, labels=tuple(labels or task.head(())), stated=stated)
        if task.one_label and self._dialect.labels is None and len(stated) == 1:
            raise self._wrong(
                f"answers {len(rows)} different texts with one and the same label alone: {stated[0]!r}",
                cause="it gives the best label only (top_k: 1), or it has one label",
                fix="let it answer with the scores of all labels",
            )
        known = label_order(stated, labels, name=self.name)
        return Hearing(task=task, labels=known, stated=stated, thresholds=self._dialect.thresholds)

    def _probes(self) -> tuple[str, ...]:
        if self._dialect.task.per_token:
            return _NAMING
        return tuple(join(text, "It was fine.") for text in _PROBES) if self._dialect.pairs else _PROBES

    def _rows(self, texts: Sequence[str]) -> list[Any]:
        """Each text's labels with scores, or entities, asked in one request, or in halves where that is too much."""
        if len(texts) > self._most:
            starts = range(0, len(texts), self._most)
            return [row for start in starts for row in self._rows(texts[start : start + self._most])]
        answer = self._client.post(self._dialect.path, self._dialect.body(texts))
        if answer.status in _TOO_MUCH and len(texts) > 1:
            half = len(texts) // 2
            if self._most > half:
                self._most = half
                progress.say(f"{self.name} refuses {len(texts)} texts in a request ({answer.told}); {half} from now on")
            return self._rows(texts[:half]) + self._rows(texts[half:])
        if not answer.good:
            raise self._refused(answer, texts)
        if answer.digest and self._stated and answer.digest != self._stated:
            raise self._wrong(
                f"is model {answer.digest[:12]} now, and was {self._stated[:12]}",
                cause="another model was deployed during the evaluation, or several stand behind the address",
                fix="run again when the deployment is through; name the address of one of them",
            )
        self._stated = self._stated or answer.digest
        return self._read(answer, len(texts))

    def _read(self, answer: Answer, rows: int) -> list[Any]:
        try:
            found = self._dialect.read(answer.document, rows)
        except ShapeError as error:
            raise _RefusedError(
                self._wrong(
                    f"answers in a wrong form: {error}: {answer.told}",
                    cause=f"it does not speak {self._dialect.name}, gives the best label only, or does not do "
                    f"{self._dialect.task.name}",
                    fix="name the address of a service with /predict (all labels with scores; entities), /embed "
                    "(vectors) or KServe v2",
                )
            ) from error
        if len(found) != rows:
            raise self._wrong(
                f"gave {len(found)} answers to {rows} texts",
                cause="it drops or splits texts, or takes several as one",
                fix="mend the service: each text wants one answer, in the order of the texts",
            )
        return found

    def _check_order(self, rows: Sequence[Any]) -> None:
        """Whether a request's answers stand in the order of its texts: those of the probes, together and alone.

        Raises:
            ServeError: they stand in another one.
        """
        probes = self._probes()
        single = self._each(lambda text: self._used(lambda: self._rows(text)), [[one] for one in probes], no_advance)
        alone = [row for found in single for row in found]
        together, apart = self._used(lambda: self._hearing.figures(rows, alone))
        own = float(np.abs(together - apart).max())
        for order in permutations(range(len(probes))):
            if own >= _OTHER and float(np.abs(together[list(order)] - apart).max()) <= _SAME:
                raise self._wrong(
                    "gives its answers in another order than the texts were asked in",
                    cause="it sorts or answers them at the same time, and does not bring them back into order",
                    fix="mend the service: the answers of a request belong to its texts by their order only",
                )
        if not self.one_label and not self.task.vectors:
            self._used(lambda: self._hearing.said(rows, probes))

    def _digest(self) -> str:
        if self._stated:
            known = _SHA256.fullmatch(self._stated)
            return self._stated if known else hashlib.sha256(self._stated.encode()).hexdigest()
        told = json.dumps([self.name, self._dialect.name, self._dialect.metadata, self.labels], sort_keys=True)
        return hashlib.sha256(told.encode()).hexdigest()

    def _refused(self, answer: Answer, texts: Sequence[str]) -> Exception:
        asked = f"a text of {len(texts[0]):,} characters" if len(texts) == 1 else f"{len(texts)} texts"
        failed = answer.status not in _OTHERWISE
        told = self._wrong(
            f"answered {asked} with {answer.status}: {answer.told}",
            cause="the service failed" if failed else "it takes no such request, or no such text",
            fix="look into its log" if failed else "correct the address, or shorten the text",
        )
        return told if failed else _RefusedError(told)

    def _wrong(self, what: str, *, cause: str, fix: str) -> ServeError:
        return ServeError(f"{self._client.origin}{self._dialect.path} {what}", cause=cause, fix=fix)


class _HttpRunner:
    """The service for `ftdeploy.measure`: a text's bytes stand in for its tokens."""

    def __init__(self, service: ServiceModel) -> None:
        self._service = service
        self.provider = service.provider

    def encode(self, texts: Sequence[str]) -> list[Encoded]:
        told = [list(text.encode()) for text in texts]
        return [Encoded(ids=ids, length=len(ids), unknown=0) for ids in told]

    def run(self, rows: Sequence[Sequence[int]]) -> NDArray[np.float32] | Said:
        texts = [bytes(row).decode() for row in rows]
        if self._service.task.vectors:
            return self._service.embed(texts)
        return self._service.ask(texts) if self._service.one_label else self._service.hear(texts)
