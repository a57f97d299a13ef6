"""Names by a model: a bundle of ours, or a token-classification checkpoint in the hub's layout, on the CPU."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from ftdeploy.checkpoints import check_checkpoint
from ftdeploy.errors import DependencyError, ModelError
from ftdeploy.privacy.kinds import IdentifierType
from ftdeploy.privacy.span import Span
from ftdeploy.recipe.privacy import NameModel

#: Where a folder may hold a model of ours: a bundle, a model folder.
_INSIDE = ("src/model", ".")
_OVERLAP = 16  # tokens that two windows of a long text share, so that a name on the border is whole in one
_WINDOWS = 16  # in one call


def load_names(settings: NameModel) -> Callable[[str], Iterable[Span]]:
    """A function that finds in a text what the model finds.

    Args:
        settings: the recipe's section.

    Raises:
        ArtifactError: the bundle is incomplete or damaged.
        ModelError: the checkpoint is refused, is none for tokens, or none of its labels is asked for.
        DependencyError: torch or transformers is not installed, which a checkpoint wants and a bundle does not.
    """
    folder = next((one for one in _INSIDE if (settings.path / one / "signature.json").is_file()), None)
    if folder is not None:
        return _by_bundle(settings.path / folder, settings)
    check_checkpoint(settings.path)
    try:
        import torch
        from transformers import AutoModelForTokenClassification, AutoTokenizer
    except ImportError as error:
        raise DependencyError(
            "`data.privacy.ner` needs torch and transformers",
            cause="ftdeploy was installed without the extra `train`",
            fix="pip install 'ftdeploy[train]'",
        ) from error
    options: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    tokenizer = AutoTokenizer.from_pretrained(str(settings.path), use_fast=True, **options)
    model, info = AutoModelForTokenClassification.from_pretrained(
        str(settings.path), use_safetensors=True, output_loading_info=True, **options
    )
    model.eval()
    labels: Mapping[int, str] = model.config.id2label
    types = {number: settings.labels.get(_bare(label)) for number, label in labels.items()}
    if info["missing_keys"] or not any(types.values()):
        raise ModelError(
            f"{settings.path} is no model that finds {', '.join(settings.labels)}",
            cause=f"its labels are {', '.join(list(labels.values())[:10])}"
            + ("; and it has no head for tokens" if info["missing_keys"] else ""),
            fix="name a token-classification checkpoint, and its labels under `data.privacy.ner.labels`",
        )
    most = min(getattr(model.config, "max_position_embeddings", 512), tokenizer.model_max_length, 512)
    window = {"truncation": True, "max_length": most, "stride": min(_OVERLAP, most // 4), "padding": True}

    def find(text: str) -> list[Span]:
        batch = tokenizer(
            text, return_overflowing_tokens=True, return_offsets_mapping=True, return_special_tokens_mask=True,
            return_tensors="pt", **window,
        )  # fmt: skip
        fit = {name: batch[name] for name in tokenizer.model_input_names if name in batch}
        spans: list[Span] = []
        for first in range(0, len(batch["input_ids"]), _WINDOWS):
            with torch.inference_mode():
                part = {name: values[first : first + _WINDOWS] for name, values in fit.items()}
                scores = model(**part).logits.float().softmax(-1)
            for number, row in enumerate(scores, start=first):
                confidence, chosen = row.max(-1)
                tokens = zip(
                    batch["offset_mapping"][number].tolist(), batch["special_tokens_mask"][number].tolist(),
                    chosen.tolist(), confidence.tolist(), strict=True,
                )  # fmt: skip
                spans += _joined(text, tokens, types, labels)
        return spans

    return find


def _by_bundle(folder: Path, settings: NameModel) -> Callable[[str], Iterable[Span]]:
    """What a bundle finds, or the model folder of an artifact; as it is served, sentence by sentence."""
    from ftdeploy.predictor import Predictor

    predictor = Predictor(folder, device="cpu")
    kinds = predictor.task.summaries(predictor.signature.labels)
    types = {kind: settings.labels[kind] for kind in kinds if kind in settings.labels}
    if not predictor.task.per_token or not types:
        raise ModelError(
            f"{settings.path} is no model that finds {', '.join(settings.labels)}",
            cause=f"its task is {predictor.signature.task}, and its labels are {', '.join(kinds[:10])}",
            fix="name a bundle of token-classification, and its labels under `data.privacy.ner.labels`",
        )

    def find(text: str) -> list[Span]:
        (entities,) = predictor.task.decode(predictor.predict([text]), predictor.signature, [text])
        return [
            Span(one["start"], one["end"], types[one["entity_group"]], one["score"])
            for one in entities
            if one["entity_group"] in types
        ]

    return find


def _bare(label: str) -> str:
    return label[2:] if label[:2] in {"B-", "I-", "L-", "U-", "E-", "S-"} else label


def _joined(text: str, tokens: Iterable[Any], types: Mapping[int, IdentifierType | None],
            labels: Mapping[int, str]) -> list[Span]:  # fmt: skip
    """Tokens of one type that follow each other, with nothing but spaces between, are one finding; B- begins another.

    The confidence of a finding is that of its least sure token.
    """
    spans: list[Span] = []
    open_ = False
    for (start, end), special, number, confidence in tokens:
        kind = types.get(number)
        if special or start == end or kind is None:
            open_ = open_ and bool(special)
            continue
        last = spans[-1] if spans else None
        between = last is not None and (start == last.end or text[last.end : start].isspace())
        begins = labels[number].startswith("B-") and last is not None and start != last.end
        if open_ and last is not None and last.kind == kind and between and not begins:
            spans[-1] = Span(last.start, end, kind, min(last.confidence, confidence))
        else:
            spans.append(Span(start, end, kind, confidence))
        open_ = True
    return spans
