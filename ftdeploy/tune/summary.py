"""What a study came to: as data, and as a page for people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ftdeploy.charts import Series, bar_chart, xy_chart
from ftdeploy.page import Page, Part, Table
from ftdeploy.tune.space import as_yaml
from ftdeploy.tune.study import EPOCH, Plan, best
from ftdeploy.tune.trial import CHECKPOINT, ERROR, FACTS, VALUES

if TYPE_CHECKING:
    import optuna
    from markupsafe import Markup

_STATES = {"COMPLETE": "finished", "PRUNED": "ended early", "FAIL": "failed"}
_FEWEST = 2  # finished trials that an importance can be computed from
_CAUTION = (
    "Judged on the validation rows alone; no test row was used. The best of many trials looks better on those rows "
    "than it is: the gates of `ftdeploy run` judge it on the test rows."
)


def summarise(study: optuna.Study, plan: Plan, *, name: str) -> dict[str, Any]:
    """The study as plain data, without clocks: every trial, the best, and how much each key mattered.

    Args:
        study: with its trials.
        plan: of the study.
        name: the recipe's.
    """
    trials = [_trial(one) for one in study.get_trials(deepcopy=False) if one.state.is_finished()]
    chosen = best(study)
    return {
        "name": name,
        "metric": plan.metric,
        "direction": "maximise" if plan.maximise else "minimise",
        "sampler": plan.settings.sampler,
        "pruner": plan.settings.pruner,
        "seed": plan.seed,
        "judged_on": "validation",
        "trials": trials,
        "best": next((one for one in trials if chosen is not None and one["trial"] == chosen + 1), None),
        "importance": importance(study, seed=plan.seed),
    }


def importance(study: optuna.Study, *, seed: int) -> dict[str, float]:
    """How much of the metric's variance each key explains, largest first, summing to 1; empty when too few trials, or
    trials that all came to the same, say nothing.

    Functional ANOVA over a random forest (Hutter, Hoos & Leyton-Brown 2014), by Optuna; over finished trials.

    Args:
        study: with its trials.
        seed: of the forest.
    """
    from optuna.importance import FanovaImportanceEvaluator, get_param_importances
    from optuna.trial import TrialState

    finished = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if len(finished) < _FEWEST or len({one.value for one in finished}) < _FEWEST:
        return {}
    return dict(get_param_importances(study, evaluator=FanovaImportanceEvaluator(seed=seed)))


def _trial(one: optuna.trial.FrozenTrial) -> dict[str, Any]:
    attributes = one.user_attrs
    return {
        "trial": one.number + 1,
        "state": _STATES[one.state.name],
        "value": one.value if one.state.name == "COMPLETE" else None,
        "settings": attributes.get(VALUES, {}),
        "evaluations": [[step / EPOCH, value] for step, value in sorted(one.intermediate_values.items())],
        "facts": {
            name: value
            for name, value in attributes.get(FACTS, {}).items()
            if name not in ("seconds", "rows_per_second")
        },
        "checkpoint": attributes.get(CHECKPOINT),
        "error": attributes.get(ERROR),
    }


def page(found: dict[str, Any]) -> Page:
    """The page for people, from what `summarise` returned and where the best recipe was written (``recipe``)."""
    metric, winner, trials = found["metric"], found["best"], found["trials"]
    counts = {state: sum(one["state"] == state for one in trials) for state in _STATES.values()}
    shown = ", ".join(f"{number} {state}" for state, number in counts.items() if number)
    tiles = [("trials", shown or "none")]
    if winner is not None:
        tiles = [(f"best {metric}, trial {winner['trial']}", f"{winner['value']:.4f}"), *tiles]
        tiles.append(("recipe with the best settings", str(found.get("recipe") or "")))
    parts = [Part(heading="History", text=_CAUTION, charts=_history(found))]
    if winner is not None:
        rows = [[key, _cell(value)] for key, value in winner["settings"].items()]
        parts.append(Part(heading="Best settings", table=Table(columns=("key", "value"), rows=rows)))
    if found["importance"]:
        chart = bar_chart(found["importance"], title=f"Share of the variance of {metric} that each key explains")
        text = "Functional ANOVA (Hutter et al. 2014) over the finished trials; few trials make it a rough guess."
        parts.append(Part(heading="Importance", text=text, charts=[chart]))
    slices = [drawn for key in _keys(found) if (drawn := _slice(found, key)) is not None]
    if slices:
        parts.append(
            Part(heading=f"{metric} by key", text="Faded: not finished, at the last evaluation.", charts=slices)
        )
    parts.append(Part(heading="Every trial", table=_table(found)))
    return Page(
        title=f"Tuning of {found['name']}",
        summary=f"{found['direction'].capitalize()} {metric} on the validation rows: "
        f"sampler {found['sampler']}, pruner {found['pruner']}, seed {found['seed']}.",
        tiles=tiles,
        parts=parts,
    )


def _keys(found: dict[str, Any]) -> list[str]:
    return list(dict.fromkeys(key for one in found["trials"] for key in one["settings"]))


def _history(found: dict[str, Any]) -> list[Markup]:
    metric = found["metric"]
    done = [(one["trial"], one["value"], _words(one)) for one in found["trials"] if one["value"] is not None]
    charts = []
    if done:
        better = max if found["direction"] == "maximise" else min
        so_far = [(place, better(value for _, value, _ in done[: n + 1])) for n, (place, _, _) in enumerate(done)]
        early = [
            (one["trial"], one["evaluations"][-1][1], _words(one))
            for one in found["trials"] if one["value"] is None and one["evaluations"]
        ]  # fmt: skip
        series = [Series(name="best so far", points=so_far, kind="step"), _dots("finished", done)]
        series += [_dots("ended early or failed", early, kind="faded")] if early else []
        so_far.append((found["trials"][-1]["trial"], so_far[-1][1]))
        charts.append(xy_chart(series, title="The trials in their order", x="trial", y=metric))
    curves = [
        Series(name=f"trial {one['trial']}", points=[tuple(pair) for pair in one["evaluations"]])
        for one in found["trials"] if one["evaluations"]
    ]  # fmt: skip
    if curves:
        # More lines cannot be told apart: the best and the latest.
        curves = sorted(curves, key=lambda one: one.name != f"trial {(found['best'] or {}).get('trial')}")
        kept = [*curves[:1], *curves[1:][-5:]]
        charts.append(xy_chart(kept, title="Evaluations of the best and the latest trials", x="epoch", y=metric))
    return charts


def _dots(name: str, points: list[tuple[float, float, str]], *, kind: str = "dots") -> Series:
    return Series(name=name, points=[p[:2] for p in points], titles=[p[2] for p in points], kind=kind)


def _slice(found: dict[str, Any], key: str) -> Markup | None:
    """The metric against a key's value; None when no trial was measured."""
    metric = found["metric"]
    measured = [
        one for one in found["trials"] if key in one["settings"] and (one["value"] is not None or one["evaluations"])
    ]
    if not measured:
        return None
    values = [one["settings"][key] for one in measured]
    numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
    names = [] if numbers else sorted({_cell(value) for value in values})
    groups: dict[str, list[tuple[float, float, str]]] = {"dots": [], "faded": []}
    for one, value in zip(measured, values, strict=True):
        ended = one["value"] is None
        score = one["evaluations"][-1][1] if ended else one["value"]
        place = value if numbers else names.index(_cell(value)) + 1
        groups["faded" if ended else "dots"].append((place, score, _words(one)))
    titles = {"dots": "finished", "faded": "ended early or failed"}
    series = [_dots(titles[kind], group, kind=kind) for kind, group in groups.items() if group]
    wide = numbers and min(values) > 0 and max(values) / min(values) > 20  # noqa: PLR2004  # a rate, most likely
    return xy_chart(series, title=f"{metric} by {key}", x=key, y=metric, log_x=wide, names=names)


def _words(one: dict[str, Any]) -> str:
    settings = ", ".join(f"{key} {_cell(value)}" for key, value in one["settings"].items())
    value = "" if one["value"] is None else f" {one['value']:.4f}"
    return f"trial {one['trial']}, {one['state']}{value}: {settings}"


def _table(found: dict[str, Any]) -> Table:
    keys = _keys(found)
    rows = []
    for one in found["trials"]:
        value = "" if one["value"] is None else f"{one['value']:.4f}"
        epochs = f"{one['evaluations'][-1][0]:g}" if one["evaluations"] else ""
        error = one["error"]["what"] if one["error"] else ""
        rows.append(
            [str(one["trial"]), one["state"], value, epochs, *(_cell(one["settings"].get(k)) for k in keys), error]
        )
    columns = ("#trial", "state", f"#{found['metric']}", "#epochs", *keys, "error")
    return Table(columns=columns, rows=rows)


def _cell(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else as_yaml(value)
