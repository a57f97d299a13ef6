"""What comes after training: export, compress, validate, package, serve, monitor."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, FiniteFloat, ValidationInfo, field_validator, model_validator

from ftdeploy.batching import Batching
from ftdeploy.document import NestedError, Section
from ftdeploy.errors import ConfigError
from ftdeploy.origin import relative_to_recipe
from ftdeploy.signature import Anomaly, Review
from ftdeploy.suite import Suite, load_suite
from ftdeploy.web_origins import wrong_origin, wrong_webhook


class ExportSettings(Section):
    """ONNX export with Optimum, and the proof that it answers as the torch model does."""

    opset: int = Field(default=18, ge=14, le=21)
    """ONNX operator set."""
    embedding_layer: int = Field(default=2, ge=0)
    """The encoder layer whose mean-pooled output becomes the second output, for drift detection (0: embeddings)."""
    max_logit_difference: float = Field(default=1e-3, gt=0)
    """Largest absolute difference between a torch and an ONNX logit that still counts as equal."""
    temperature: Literal["fit"] | Annotated[FiniteFloat, Field(gt=0)] = "fit"
    """Logits are divided by this before the softmax (temperature scaling, Guo et al. 2017): it changes how sure answers
    are, and no label. `fit` takes the likeliest on the validation rows, of the export and again of what `compress`
    ships; 1 leaves the logits alone."""
    thresholds: Literal["half", "f1"] = "half"
    """Where a row has any number of labels: from which probability on one holds. `half` for all of them; `f1` finds one
    for each on the validation rows, half of the best F1 that the label can have there (Lipton et al. 2014). A label
    with fewer than 20 such rows stays at a half, as one that gains nothing. They are part of the answer: gates, `eval`,
    drift and feedback judge the sets that they give."""


class ValidateSettings(Section):
    """The evaluation suite that decides whether there is a bundle."""

    suite: Suite = Suite()
    """A path to a YAML file, or the suite itself."""

    @field_validator("suite", mode="before")
    @classmethod
    def _load(cls, value: Any, info: ValidationInfo) -> Any:
        if isinstance(value, str):
            try:
                return load_suite(relative_to_recipe(Path(value), info))
            except ConfigError as error:
                raise NestedError(error) from error
        return value


Share = Annotated[float, Field(ge=0, le=1)]


class ThresholdSettings(Section):
    """When the service answers with a fallback label: where the likeliest label's probability is below its threshold
    (Chow 1970). The model's labels follow it with their scores; gates, drift and `eval` judge those."""

    fallback: Annotated[str, Field(min_length=1)]
    """The label answered instead; it may be one of the model's, which then has no threshold."""
    score: Share | None = None
    """Threshold of every label that `scores` does not name."""
    scores: Mapping[str, Share] = {}
    """Thresholds by label."""
    precision: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Instead of `score`: for every label that `scores` does not name, the smallest threshold at which so many of the
    validation rows that get the label are right, by an exact lower bound. A label that cannot be shown to be so precise
    is an error; 0.95 wants 104 rows of it, all of them right."""
    confidence: float = Field(default=0.95, gt=0.5, lt=1)
    """Of that bound, for each label."""
    keep: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Instead of `score`, where texts of no label are to be told from others: one score for every label that `scores`
    does not name, the largest at which this share of new texts like the validation rows keep their answer on average
    (split conformal prediction). 0.95 wants 19 validation rows. It promises nothing of texts of no label."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        given = [name for name in ("score", "precision", "keep") if getattr(self, name) is not None]
        if not given and not self.scores:
            raise ValueError(
                "one of score, scores, precision and keep is wanted: without a threshold nothing is below it"
            )
        if len(given) > 1:
            words = " and ".join(given)
            raise ValueError(f"{words} say what the other labels' threshold is; leave out all but one of them")
        if self.fallback in self.scores:
            raise ValueError(f"{self.fallback!r} is the fallback: it is answered where others are not, at any score")
        return self


class PackageSettings(Section):
    """What the bundle says about itself, and when it is not sure enough to answer."""

    description: str = ""
    """One or two sentences for the model card."""
    licence: str = ""
    """Licence of data and checkpoint, for the model card."""
    intended_use: str = ""
    """Who should use the model for what, and who should not."""
    drift_rows: int = Field(default=2000, ge=50)
    """Most rows that the drift reference is computed from, at even distances from validation and test: on rows that it
    was trained on the model is surer than it will ever be in service."""
    thresholds: ThresholdSettings | None = None
    """Least probabilities of labels, and what is answered below them; none by default."""
    review: Review | None = None
    """Read whole documents (contracts, reports) passage by passage: `POST /review` and the page give each passage its
    label and its place. None by default."""
    anomaly: Anomaly | None = None
    """Say how unusual texts are beside those of their label: `POST /anomaly`. For vectors of rows with labels; those of
    train are what texts are compared with, those of validation how far is usual. None by default."""
    tune_service: bool = True
    """Measure which `lanes`, `batch_call_tokens` and `batch_tokens` of `serve` answer most texts a second on this
    machine, and set what is clearly better; those that the recipe names stay. `ftdeploy bench BUNDLE --tune` measures
    again, elsewhere."""


#: Most of any limit, as the service has it.
_MOST = 1_000_000_000


class ServeSettings(Section):
    """Limits of the HTTP service. Each can be changed for a running service by an environment variable
    `FTDEPLOY_<NAME>` (see README)."""

    max_body_bytes: int = Field(default=2_000_000, ge=1000)
    """A larger request body is refused with 413."""
    max_texts: int = Field(default=256, ge=1)
    """More texts in one request are refused with 413."""
    max_chars: int = Field(default=100_000, ge=1)
    """A longer text is refused with 413; tokens beyond the model's length are cut and reported."""
    max_queue: int = Field(default=1024, ge=1)
    """Texts that wait for the tokenizer or the model; more are refused with 429 and Retry-After."""
    max_wait_seconds: float = Field(default=2, gt=0)
    """A request that would wait longer for the model is refused at once with 429 and Retry-After, so that under any
    load what is accepted is answered in about this time. What the lanes can begin at once is always taken."""
    max_requests: int = Field(default=512, ge=1)
    """Requests in flight, an eighth of them larger than 64 KiB, which bounds the memory that bodies hold; more are
    refused with 429 and Retry-After. There may be four times as many connections."""
    max_bulk: int = Field(default=4, ge=0)
    """Requests of `/predict/bulk` that are open at the same time; more are refused with 429 and Retry-After."""
    timeout_seconds: float = Field(default=30, gt=0)
    """A request that takes longer is answered with 503."""
    batch_tokens: int = Field(default=2048, ge=64)
    """Budget of padded tokens in one forward pass."""
    batch_rows: int = Field(default=64, ge=1, le=4096)
    """Most texts in one forward pass."""
    batch_call_tokens: int = Field(default=8, ge=1)
    """What a forward pass costs beside its tokens, in tokens: the more, the more texts share one."""
    threads: int = Field(default=0, ge=0, le=1024)
    """Threads of ONNX Runtime over all lanes; 0 takes the processors this process may use."""
    lanes: int = Field(default=0, ge=0, le=1024)
    """Forward passes at the same time, on one copy of the weights; 0 takes one for each thread, on a GPU one."""
    workers: int = Field(default=0, ge=0, le=1024)
    """Processes that share the port, threads and lanes under `ftdeploy serve`; 0 takes one for every eight threads, on
    a GPU one. Every other limit is of one process."""
    hang_seconds: float = Field(default=10, gt=0)
    """`ftdeploy serve` kills and replaces a worker that says nothing for so long, or whose forward pass hangs so long
    after its request was given up."""
    cache_rows: int = Field(default=0, ge=0)
    """Answers that each worker keeps for texts that come again, found by a keyed digest and without the text; 0 keeps
    none. Where int8 takes one scale for a batch, an answer depends a little on the batch that it was first given in."""
    body_seconds: float = Field(default=10, gt=0)
    """A request whose headers, or whose body after them, have not arrived after so long is refused with 408."""
    drain_seconds: float = Field(default=0.5, ge=0)
    """After SIGTERM, how long requests that are on their way are still taken."""
    cors_origins: tuple[str, ...] = ()
    """Web pages of these origins (`https://app.example.org`) may ask from a browser; `*` is all. The service's own page
    needs none."""

    @field_validator("*")
    @classmethod
    def _check_most(cls, value: object) -> object:
        if isinstance(value, int | float) and value > _MOST:
            raise ValueError(f"at most {_MOST} is accepted")
        return value

    @field_validator("cors_origins")
    @classmethod
    def _check_origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for origin in value:
            if wrong := wrong_origin(origin):
                raise ValueError(f"{origin!r} is no origin: {wrong}")
        return value

    def batching(self) -> Batching:
        """How the service runs a model, for whoever measures as it is served."""
        return Batching(tokens=self.batch_tokens, rows=self.batch_rows, threads=self.threads, lanes=self.lanes)


class TrafficSettings(Section):
    """What the service records of its traffic: features of the texts, and the texts themselves only with `text`."""

    enabled: bool = True
    """Record at all."""
    sample: float = Field(default=1.0, ge=0, le=1)
    """Share of the requests that is recorded."""
    segment_rows: int = Field(default=10_000, ge=1)
    """A segment is sealed after this many rows..."""
    segment_seconds: float = Field(default=3600, gt=0)
    """...or after this many seconds."""
    max_bytes: int = Field(default=200_000_000, ge=100_000)
    """The oldest sealed segments go when all together are larger."""
    max_days: float = Field(default=30, gt=0)
    """A sealed segment goes when it was begun so many days ago."""
    text: bool = False
    """Keep the texts, too. They are personal data where people wrote them: encrypt them (README), and tell it."""
    redact: bool = False
    """Mask the identifiers of people in them first (the types of `data.privacy`, by its patterns): digits become 0,
    letters x, every character stays in its place, and with it what is said of places in a text. A name without a title
    or word before it is not found by patterns."""
    fsync: Literal["never", "seal", "always"] = "seal"
    """When to wait until rows are on the disk: `never`, at the `seal` of a segment, or `always`, after every write.
    Answers never wait."""


class AlertSettings(Section):
    """Whom the service tells of a drift, and how often; `FTDEPLOY_ALERT_COMMAND` and so on change each of these."""

    command: tuple[str, ...] = ()
    """Program and arguments, run without a shell, that get the alert as JSON on standard input."""
    webhook: str = ""
    """URL that the alert is posted to as JSON. Whoever has the bundle can read it: name one that is secret by
    `FTDEPLOY_ALERT_WEBHOOK`, and a bearer key for it by `FTDEPLOY_ALERT_TOKEN`."""
    log: bool = True
    """A line of the log."""
    cooldown_seconds: float = Field(default=3600, gt=0)
    """A detector's next alert comes so much later than its last one, at the earliest."""
    clear_seconds: float = Field(default=600, gt=0)
    """A drift is over when its detector had no alarm for so long."""
    timeout_seconds: float = Field(default=10, gt=0)
    """A command or webhook that takes longer is given up."""

    @field_validator("webhook")
    @classmethod
    def _check_webhook(cls, value: str) -> str:
        if value and (wrong := wrong_webhook(value)):
            raise ValueError(f"this is no webhook: {wrong}")
        return value


class MonitorSettings(Section):
    """What the served bundle remembers, for drift detection, and when `ftdeploy monitor` speaks of drift."""

    traffic: TrafficSettings = TrafficSettings()
    """What the service records of its traffic."""
    alerts: AlertSettings = AlertSettings()
    """Whom the service tells of a drift."""
    level: float = Field(default=0.05, gt=0, lt=1)
    """Probability of any false alarm in a report: p-values are adjusted for all tests together (Holm)."""
    min_effect: float = Field(default=0.1, ge=0, le=1)
    """Share of the traffic that must differ for an alarm, whatever the p-value: a million rows make any trifle
    significant. In labels, lengths and the like it is the share of rows that stand elsewhere; of embeddings it is
    2 AUC - 1 of a classifier."""
    min_mmd: float = Field(default=0.05, ge=0, le=1)
    """The same for the standardised MMD, whose scale is another: one whole other domain gave some 0.3 on the sentiment
    model, and of a mixture it is about in proportion to the share."""
    min_rows: int = Field(default=50, ge=20)
    """With fewer rows nothing is said (exit code 11)."""
    accuracy_tolerance: float = Field(default=0.05, gt=0, lt=1)
    """How far an estimate of the accuracy without labels may be off and still count as valid."""
    label_rows: int = Field(default=100, ge=1)
    """Rows in the queue of those to label next."""
