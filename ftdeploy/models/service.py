"""A running service as a model: asked over HTTP, held to what it was asked for."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import permutations
from typing import TYPE_CHECKING

import numpy as np

from ftdeploy import progress
from ftdeploy.encoded import Encoded
from ftdeploy.errors import ServeError
from ftdeploy.measure import Opened
from ftdeploy.models.client import Answer, Calls, Client
from ftdeploy.models.dialects import Scored, ShapeError, dialects
from ftdeploy.models.model import Kind, OneLabel, label_order, no_advance
from ftdeploy.pairs import join
from ftdeploy.tasks.said import Said
from ftdeploy.values import dump

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Asked first, together and alone: which labels there are, and whether answers keep the order of the questions.
_PROBES = ("A wonderful film, and I loved it.", "It broke on the first day.", "The meeting is on Tuesday at noon.")
_TOO_MUCH = (413, 422)
#: The request is not understood: it may be in another dialect.
_OTHERWISE = (400, 404, 405, 413, 415, 422)
#: How far a row's probabilities may be from a sum of 1: services round.
_ROUNDING = 0.02
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
        labels: what it should answer with; None takes what it states, or else what it answers, sorted.
        calls: how it is asked.

    Raises:
        SourceError: it cannot be reached, or is no service that classifies texts.
        ServeError: it fails, or answers in a wrong form.
        ModelError: it has other labels.
        DependencyError: httpx is not installed.
    """

    kind: Kind = "service"
    folder = None

    def __init__(self, place: str, *, labels: Sequence[str] | None = None, calls: Calls | None = None) -> None:
        self._calls = calls or Calls()
        self._client = Client(place, self._calls)
        self.name = self._client.shown
        try:
            rows = self._understand(labels)
            stated = self._dialect.labels or tuple(sorted({label for row in rows for label in row}))
            self.labels = label_order(stated, labels, name=self.name)
            self._columns = {label: column for column, label in enumerate(stated)}
            self._check_order(self._matrix(rows))
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
        size = min(self._calls.texts, self._most)
        return self._gather([texts[start : start + size] for start in range(0, len(texts), size)], advance)

    def alone(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """See `ftdeploy.models.Model`."""
        return self._gather([[text] for text in texts], no_advance)

    def said(self, texts: Sequence[str], *, advance: Callable[[float], None] = no_advance) -> Said:
        """See `ftdeploy.models.Model`: of a service that answers with a number."""
        return self._numbers(self.scores(texts, advance=advance))

    def said_alone(self, texts: Sequence[str]) -> Said:
        """See `ftdeploy.models.Model`."""
        return self._numbers(self.alone(texts))

    def _numbers(self, scores: NDArray[np.float32]) -> Said:
        if len(self.labels) != 1:
            return OneLabel.said(self, ())
        found = scores[:, 0]
        return Said(labels=[dump(value) for value in found.tolist()], scores=found)

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
        try:
            return self._matrix(self._rows(texts))
        except _RefusedError as refusal:
            raise refusal.told from refusal

    def _gather(self, batches: Sequence[Sequence[str]], advance: Callable[[float], None]) -> NDArray[np.float32]:
        found = []
        requests = ThreadPoolExecutor(self._calls.in_flight)
        try:
            for scores in requests.map(self.ask, batches):
                found.append(scores)
                advance(len(scores))
        finally:
            requests.shutdown(cancel_futures=True)
        return np.concatenate(found) if found else np.empty((0, len(self.labels)), dtype=np.float32)

    def _understand(self, labels: Sequence[str] | None) -> list[Scored]:
        """The service's answers to the probes, in the first dialect that it understands.

        Raises:
            SourceError: it cannot be reached or serves no such model.
            ServeError: it understands none of them; the likeliest one's reason is told.
        """
        first: _RefusedError | None = None
        for dialect in dialects(self._client, labels):
            self._dialect = dialect
            self._most = dialect.texts or _ANY
            self._stated = dialect.digest
            try:
                return self._rows(self._probes())
            except _RefusedError as refusal:
                first = first or refusal
        raise first.told if first else AssertionError("a service has a dialect")

    def _probes(self) -> tuple[str, ...]:
        return tuple(join(text, "It was fine.") for text in _PROBES) if self._dialect.pairs else _PROBES

    def _rows(self, texts: Sequence[str]) -> list[Scored]:
        """Each text's labels with scores, asked in one request, or in halves where that is too much."""
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

    def _read(self, answer: Answer, rows: int) -> list[Scored]:
        try:
            found = self._dialect.read(answer.document, rows)
        except ShapeError as error:
            raise _RefusedError(
                self._wrong(
                    f"answers in a wrong form: {error}: {answer.told}",
                    cause=f"it does not speak {self._dialect.name}, or gives the best label only",
                    fix="name the address of a service with /predict (all labels with scores) or KServe v2",
                )
            ) from error
        if len(found) != rows:
            raise self._wrong(
                f"gave {len(found)} answers to {rows} texts",
                cause="it drops or splits texts, or takes several as one",
                fix="mend the service: each text wants one answer, in the order of the texts",
            )
        return found

    def _matrix(self, rows: Sequence[Scored]) -> NDArray[np.float32]:
        """Labels' scores as float32, shape (rows, labels), after checking that they are probabilities of all labels."""
        found = np.empty((len(rows), len(self.labels)), dtype=np.float32)
        for index, row in enumerate(rows):
            if row.keys() != self._columns.keys():
                odd = min(row.keys() ^ self._columns.keys())
                raise self._wrong(
                    f"answers {'with' if odd in row else 'without'} the label {odd!r}",
                    cause="it keeps labels of low score to itself, or has others than it states",
                    fix="let it answer with the scores of all labels",
                )
            for label, score in row.items():
                found[index, self._columns[label]] = score
        sums = found.sum(axis=1)
        if len(self.labels) == 1:  # a number
            return found
        if len(rows) and (float(found.min()) < -_ROUNDING or float(np.abs(sums - 1).max()) > _ROUNDING):
            raise self._wrong(
                f"gives scores that are no probabilities: {found[int(np.abs(sums - 1).argmax())].tolist()}",
                cause="it gives logits, or one score for each label on its own (a sigmoid)",
                fix="let it give the softmax over the labels; where any number may hold, name the bundle behind it",
            )
        return found

    def _check_order(self, together: NDArray[np.float32]) -> None:
        """Whether a request's answers stand in the order of its texts: those of the probes, together and alone.

        Raises:
            ServeError: they stand in another one.
        """
        alone = self.alone(self._probes())
        own = float(np.abs(together - alone).max())
        for order in permutations(range(len(_PROBES))):
            if own >= _OTHER and float(np.abs(together[list(order)] - alone).max()) <= _SAME:
                raise self._wrong(
                    "gives its answers in another order than the texts were asked in",
                    cause="it sorts or answers them at the same time, and does not bring them back into order",
                    fix="mend the service: the answers of a request belong to its texts by their order only",
                )

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

    def run(self, rows: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        return self._service.ask([bytes(row).decode() for row in rows])
