"""A contest's result as lines for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def as_lines(document: Mapping[str, Any]) -> list[str]:
    """The lines.

    Args:
        document: what `ftdeploy.bench.peers.bench_peers` returns.
    """
    models: Mapping[str, Mapping[str, Any]] = document["models"]
    width = max(len(name) for name in models)
    ours = next(iter(models))
    title = (
        f"{document['candidate']} against {len(models) - 1} contenders: {document['rounds']} alternating rounds of "
        f"{document['rows']} test rows, {document['threads']} threads, batches of {document['batch_tokens']} tokens"
    )
    header = (
        f"{'':<{width}} {'rows/s':>7} {'noise':>6} {'x fp32':>7}  {f'{ours} is':<23} {'p50 ms':>7} {'p95 ms':>7} "
        f"{'MB':>6}  passes x threads, runtime"
    )
    lines = [title, "", header]
    lines += [_speed(name, one, width, threads=document["threads"], ours=name == ours) for name, one in models.items()]
    for metric in models[ours]["metrics"]:
        compared = {name: one["metrics"][metric] for name, one in models.items()}
        rows = compared[ours]["rows"]
        lines += [
            "",
            f"{metric} on {rows:,} test rows, against fp32 with a margin of {document['margin']:g}",
            *(_score(name, one, width) for name, one in compared.items()),
        ]
    refused: Mapping[str, str] = document["not_measured"]
    if refused:
        lines += ["", "not measured", *(f"{name}: {reason}" for name, reason in refused.items())]
    return lines


def _speed(name: str, one: Mapping[str, Any], width: int, *, threads: int, ours: bool) -> str:
    against, ratio = one["candidate_to_it"]["throughput"], one["to_fp32"]["throughput"]["ratio"]
    bounds = f"{against['ratio']:>5.2f}x  {against['lower']:.2f} to {against['upper']:.2f}"
    return (
        f"{name:<{width}} {one['throughput']:>7,.0f} {one['noise']:>6.1%} {ratio:>6.2f}x"
        f"  {'' if ours else bounds:<23} {one['latency_p50'] * 1000:>7.2f} {one['latency_p95'] * 1000:>7.2f} "
        f"{one['bytes'] / 1e6:>6.1f}  {one['lanes']} x {max(1, threads // one['lanes'])}, {one['provider']}"
    )


def _score(name: str, one: Mapping[str, Any], width: int) -> str:
    line = f"{name:<{width}} {one['candidate']:>7.4f}"
    if name == "fp32":
        return line
    more = f", {one['rows_to_decide']:,} rows would decide" if one["rows_to_decide"] else ""
    return f"{line} {one['difference']:>+8.4f}  {one['lower']:+.4f} to {one['upper']:+.4f}  {one['verdict']}{more}"
