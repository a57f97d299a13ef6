"""Recall and precision of the recognisers of identifiers by type, on synthetic sets; run by hand, prints a table.

    python tests/benchmarks/privacy_recall.py [--set first|held-out] [--count 300] [--seed 1] [--misses]

*found*: a finding of the right type covers the whole identifier. *hidden*: findings of any type cover it. *precision*:
of the findings of a type in all samples (those of other types and the negatives too), the share that touches an
identifier of that type. Intervals are Wilson's, 95%. The last lines give the time for a text.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import sqrt
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import synthetic_identifiers as first
import synthetic_identifiers_held_out as held_out
from synthetic_identifiers import LISTED, Sample

from ftdeploy.privacy import names
from ftdeploy.privacy.recognise import find
from ftdeploy.privacy.span import Locale, Span

SETS = {"first": first.samples, "held-out": held_out.samples}
LOCALE = Locale(regions=("US", "GB", "DE", "FR"), names=names.index(LISTED))
LEAST = 0.5  # confidence, the recipe's default


@dataclass
class Score:
    """Counts of one type."""

    gold: int = 0
    found: int = 0
    hidden: int = 0
    findings: int = 0
    right: int = 0
    missed: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)


def score(samples: Mapping[str, Sequence[Sample]]) -> dict[str, Score]:
    """Every type's counts; types with a remark in brackets have recall of their own and share precision."""
    scores: dict[str, Score] = {}
    for group, members in samples.items():
        for sample in members:
            spans = find(sample.text, LOCALE, least=LEAST)
            for start, end, kind in sample.gold:
                entry = scores.setdefault(group if kind in group else kind, Score())
                found = _covered(sample.text, start, end, [one for one in spans if one.kind == kind])
                entry.gold += 1
                entry.found += found
                entry.hidden += _covered(sample.text, start, end, spans)
                if not found:
                    entry.missed.append(_around(sample.text, start, end))
            for span in spans:
                entry = scores.setdefault(span.kind, Score())
                touched = [kind for start, end, kind in sample.gold if span.start < end and start < span.end]
                entry.findings += 1
                entry.right += span.kind in touched
                if span.kind not in touched:
                    entry.wrong.append(f"({group}) {_around(sample.text, span.start, span.end)}")
    return scores


def _around(text: str, start: int, end: int) -> str:
    return f"{text[max(0, start - 25) : start]}<{text[start:end]}>{text[end : end + 8]}"


def _covered(text: str, start: int, end: int, spans: Sequence[Span]) -> bool:
    """Every letter and digit from start to end lies in one of the spans."""
    return all(
        any(span.start <= place < span.end for span in spans) for place in range(start, end) if text[place].isalnum()
    )


def wilson(hits: int, of: int, z: float = 1.96) -> tuple[float, float]:
    """The interval of a share (Wilson 1927)."""
    if not of:
        return 0.0, 1.0
    share, spread = hits / of, z * z / of
    middle = (share + spread / 2) / (1 + spread)
    half = z * sqrt(share * (1 - share) / of + spread / of / 4) / (1 + spread)
    return middle - half, middle + half


def show(line: str) -> None:
    print(line, flush=True)  # noqa: T201 - printing is what it is for


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--set", choices=SETS, default="first")
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--misses", action="store_true", help="show some of what was missed and what was wrong")
    arguments = parser.parse_args()
    samples = SETS[arguments.set](arguments.seed, arguments.count)
    find("warm up: call +44 20 7946 0958", LOCALE)
    begun = time.process_time()
    scores = score(samples)
    spent = time.process_time() - begun
    head = f"{'type':16} {'n':>5}  {'found':>6} {'95% interval':>14}  {'hidden':>6}"
    show(f"{head}  {'findings':>8}  {'precision':>9} {'95% interval':>14}")
    for kind, one in sorted(scores.items()):
        low, high = wilson(one.found, one.gold)
        below, above = wilson(one.right, one.findings)
        left = (
            f"{one.found / one.gold:6.3f} {low:.3f}..{high:.3f}  {one.hidden / one.gold:6.3f}" if one.gold else " " * 29
        )
        right = f"{one.right / one.findings:9.3f} {below:.3f}..{above:.3f}" if one.findings else ""
        show(f"{kind:16} {one.gold:5}  {left}  {one.findings:8}  {right}")
        if arguments.misses:
            for label, examples in (("missed", one.missed), ("wrong", one.wrong)):
                for text, times in Counter(examples).most_common(400)[:: max(1, len(set(examples)) // 8)][:8]:
                    show(f"    {label}: {text!r}" + (f" x{times}" if times > 1 else ""))
    texts = [sample.text for members in samples.values() for sample in members]
    chars = sum(map(len, texts)) / len(texts)
    show(f"{len(texts):,} texts of {chars:.0f} characters on average: {spent / len(texts) * 1e6:.0f} us a text")
    plain = first.sentences(1000, first.Draw(3))
    begun = time.process_time()
    for text in plain:
        find(text, LOCALE, least=LEAST)
    show(f"{len(plain):,} plain sentences: {(time.process_time() - begun) / len(plain) * 1e6:.0f} us a sentence")


if __name__ == "__main__":
    main()
