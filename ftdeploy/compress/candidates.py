"""The candidates: a name, the tool that makes the model, and the session options it runs with.

Which is best depends on processor and model (fusing the graph before quantizing made int8 *slower* where this was
written), so nothing here is preferred: they are measured.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ftdeploy.signature import SessionOptions

#: ONNX Runtime keeps the residual additions of a dynamically quantized graph apart, which runs faster on some
#: processors and slower on others.
_NO_SKIP_FUSION = SessionOptions(disabled_optimizers=("SkipLayerNormFusion",))


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """One way to a smaller or faster model.

    Attributes:
        name: as in the recipe and in reports.
        tool: a key of ``ftdeploy.compress.worker.TOOLS``; None leaves the model as it is.
        session: options that it runs with.
    """

    name: str
    tool: str | None
    session: SessionOptions = field(default_factory=SessionOptions)


FP32 = Candidate(name="fp32", tool=None)

CANDIDATES: Mapping[str, Candidate] = {
    candidate.name: candidate
    for candidate in (
        FP32,
        Candidate(name="optimum-fused", tool="optimum-fused"),
        Candidate(name="inc-dynamic", tool="inc-dynamic"),
        Candidate(name="inc-dynamic-no-skip-fusion", tool="inc-dynamic", session=_NO_SKIP_FUSION),
        Candidate(name="optimum-dynamic", tool="optimum-dynamic"),
        Candidate(name="optimum-dynamic-no-skip-fusion", tool="optimum-dynamic", session=_NO_SKIP_FUSION),
    )
}
