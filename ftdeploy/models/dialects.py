"""How services are asked and what they answer: KServe v2, Hugging Face's toolkit and ours, text-embeddings-inference
(labels, and vectors at ``/embed``).

Sources: the text-classification and token-classification tasks of Hugging Face's inference toolkit and pipelines
(``top_k`` null is all labels; an ``aggregation_strategy`` makes entities of tokens); text-embeddings-inference,
router/src/http (TEI; a flat list of two texts there is a pair, so a batch is nested).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from ftdeploy.errors import ModelError, SourceError
from ftdeploy.models.client import Client
from ftdeploy.models.kserve import kserve, only_model
from ftdeploy.models.shapes import (
    ONE_LABEL,
    Dialect,
    ShapeError,
    read_found,
    read_labelled,
    read_vectors,
    shares_in,
    whole,
)
from ftdeploy.pairs import TEXT, TEXT_PAIR, parts
from ftdeploy.tasks import TASKS, Task

__all__ = ["Dialect", "ShapeError", "dialects", "read_labelled"]

_NAMED = re.compile(r"(?P<base>.*)/v2/models/(?P<name>[^/]+)(?P<version>/versions/[^/]+)?(/(infer|ready))?")


def dialects(client: Client, labels: Sequence[str] | None, task: Task | None = None) -> Iterator[Dialect]:
    """What a service may speak, the likeliest first; those that state what they are come alone.

    Args:
        client: of the service.
        labels: class id -> label, for a KServe v2 service that does not state them.
        task: what is asked of it. None takes what it states, else one label a text.

    Raises:
        SourceError: it cannot be reached, or it holds no such model, or several.
        ModelError: it states another task; or that it gives vectors, and nobody has asked for these.
    """

    def choose(stated: Any) -> Task:
        return _agreed(client, stated, task)

    named = _NAMED.fullmatch(client.path)
    if task is not None and task.vectors:
        yield _embeddings(client, named["base"] if named else client.path, task)
        return
    if named:
        model = f"{named['base']}/v2/models/{named['name']}{named['version'] or ''}"
        yield kserve(client, model, labels, choose)
        return
    if client.path.endswith("/predict"):
        base, paths = client.path.removesuffix("/predict"), [client.path]
    else:
        base = client.path.removesuffix("/v2")
        server = client.get(f"{base}/v2")
        name = only_model(client, base, server) if server and "name" in server else None
        if name is not None:
            yield kserve(client, f"{base}/v2/models/{name}", labels, choose)
            return
        paths = [f"{base}/predict", base or "/"]
    own = client.get(f"{base}/about") or {}
    asked = choose(own.get("task"))
    if own.get("fallback") or own.get("pairs") or (own.get("task") == asked.name and not asked.one_label):
        yield _own(paths[0], own, asked)
        return
    about = client.get(f"{base}/info")
    if about and isinstance(about.get("model_type"), dict | str):
        yield _tei(client, paths[0], about, asked)
        return
    for path in paths:
        yield Dialect(name="Hugging Face", path=path, body=_hf_body(asked), read=_hf_reader(asked), task=asked)
        if asked.one_label or asked.number:
            yield Dialect(name="TEI", path=path, body=_tei_body, read=read_labelled, task=asked)


def _agreed(client: Client, stated: Any, asked: Task | None) -> Task:
    """The task that a service is asked for: what it states has to be what is wanted of it."""
    task = TASKS.get(stated, asked) if isinstance(stated, str) else asked
    if task is None:
        task = ONE_LABEL
    if asked is not None and task is not asked:
        raise ModelError(
            f"{client.shown} does {task.name}, and {asked.name} is asked of it",
            cause="another model was deployed there, or the suite does not say its `task`",
            fix=f"name another service; or set `task: {task.name}` in the suite, with metrics of that task",
        )
    if task.vectors and asked is None:
        raise ModelError(
            f"{client.shown} answers with vectors",
            cause="nobody has said that these are wanted, and it is asked for them elsewhere than for labels",
            fix=f'say so where it is opened: `task="{task.name}"`; a suite does by its `task`',
        )
    return task


def _embeddings(client: Client, path: str, task: Task) -> Dialect:
    """A service that gives a vector for each text at ``/embed``: TEI, and ours.

    Raises:
        SourceError: it serves no model for embeddings.
        ModelError: it states another task.
    """
    base = path.removesuffix("/embed").removesuffix("/predict").removesuffix("/v2")
    own = client.get(f"{base}/about") or {}
    _agreed(client, own.get("task"), task)
    about = {} if own else client.get(f"{base}/info") or {}
    kind = about.get("model_type")
    if isinstance(kind, dict | str) and "embedding" not in kind:
        raise SourceError(
            f"the service serves {kind if isinstance(kind, str) else ', '.join(kind)}, and no embeddings",
            cause="another model was deployed there, to classify or to rank",
            fix="name a service that gives vectors",
        )
    return Dialect(
        name="TEI",
        path=f"{base}/embed",
        body=lambda texts: {"inputs": list(texts), "truncate": True},
        read=read_vectors,
        task=task,
        labels=(),
        max_length=whole(about.get("max_input_length")),
        texts=whole(about.get("max_client_batch_size")),
        metadata=about,
        pairs=False,
    )


def _own(path: str, about: Mapping[str, Any], task: Task) -> Dialect:
    """One of ours at ``/predict``, by its ``/about``."""
    stated = about.get("labels")
    sure = {"thresholds": False} if about.get("fallback") else {}  # the model's own labels are judged
    listed = isinstance(stated, list) and not task.one_label
    return Dialect(
        name="Hugging Face",
        path=path,
        body=_entity_body({}) if task.per_token else _scored_body({"top_k": None, **sure}),
        read=_hf_reader(task),
        task=task,
        labels=tuple(map(str, stated or ())) or None if listed else None,
        thresholds=shares_in(about.get("thresholds")),
        pairs=bool(about.get("pairs")),
    )


def _hf_body(task: Task) -> Callable[[Sequence[str]], Mapping[str, Any]]:
    """The question in the shape of pipelines of transformers."""
    if task.per_token:
        return _entity_body({"parameters": {"aggregation_strategy": "simple"}})
    # By themselves, pipelines take softmax or sigmoid by what a config says, and by how many outputs there are.
    function = {} if task.one_label else {"function_to_apply": task.function}
    return _scored_body({"top_k": None, **function})


def _scored_body(parameters: Mapping[str, Any]) -> Callable[[Sequence[str]], Mapping[str, Any]]:
    return lambda texts: {"inputs": list(map(_input, texts)), "parameters": dict(parameters)}


def _entity_body(beside: Mapping[str, Any]) -> Callable[[Sequence[str]], Mapping[str, Any]]:
    return lambda texts: {"inputs": list(texts), **beside}


def _hf_reader(task: Task) -> Callable[[Any, int], list[Any]]:
    return read_found if task.per_token else read_labelled


def _input(text: str) -> Any:
    """A text as pipelines of transformers take it; of two, an object."""
    first, *second = parts(text)
    return {TEXT: first, TEXT_PAIR: second[0]} if second else text


def _tei_body(texts: Sequence[str]) -> Mapping[str, Any]:
    return {"inputs": [list(parts(text)) for text in texts], "truncate": True}


def _tei(client: Client, path: str, about: Mapping[str, Any], task: Task) -> Dialect:
    """TEI, which states labels and limits at ``/info``."""
    kind = about["model_type"]
    classifier = kind.get("classifier") if isinstance(kind, dict) else None
    if not isinstance(classifier, dict):
        raise SourceError(
            f"the service serves {kind if isinstance(kind, str) else ', '.join(kind)}, and no classifier",
            cause="another model was deployed there, for embeddings or for ranking",
            fix="name a service that classifies texts",
        )
    if not task.one_label and not task.number:
        raise SourceError(
            f"{client.shown} speaks TEI, which gives one label a text, and {task.name} is asked of it",
            cause="its scores are a softmax over all labels, whatever the model was trained for",
            fix="serve the model by `ftdeploy serve`, Hugging Face's toolkit or KServe v2; or name its folder",
        )
    named = classifier.get("id2label") or {}
    return Dialect(
        name="TEI",
        path=path,
        body=_tei_body,
        read=read_labelled,
        task=task,
        labels=tuple(str(named[index]) for index in sorted(named, key=int)) or None,
        max_length=whole(about.get("max_input_length")),
        texts=whole(about.get("max_client_batch_size")),
        metadata=about,
    )
