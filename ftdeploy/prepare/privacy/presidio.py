"""Microsoft Presidio's pattern recognisers beside our own: national numbers of many states, with their check digits.

Only recognisers that look at patterns are run, one by one, so no spaCy model is needed or fetched. Those of e-mail
addresses and URLs are left out: tldextract below them asks the network for a list, and ours find the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ftdeploy.errors import ConfigError, DependencyError, did_you_mean
from ftdeploy.privacy.kinds import IdentifierType
from ftdeploy.privacy.span import Span

_ASKS_THE_NETWORK = frozenset({"EmailRecognizer", "UrlRecognizer"})


def load_presidio(entities: Mapping[str, IdentifierType]) -> Callable[[str], Iterable[Span]]:
    """A function that finds entities of Presidio in a text; its scores are taken as confidences.

    Args:
        entities: Presidio's names by our types.

    Raises:
        DependencyError: Presidio is not installed.
        ConfigError: none of its pattern recognisers finds an entity that is asked for.
    """
    try:
        from presidio_analyzer import PatternRecognizer, predefined_recognizers
    except ImportError as error:
        raise DependencyError(
            "`data.privacy.presidio` needs Presidio",
            cause="presidio-analyzer is not installed; ftdeploy brings recognisers of its own",
            fix="pip install 'ftdeploy[presidio]'",
        ) from error
    classes = [getattr(predefined_recognizers, name) for name in sorted(dir(predefined_recognizers))]
    patterns: list[Any] = [
        one
        for one in classes
        if isinstance(one, type) and issubclass(one, PatternRecognizer) and one is not PatternRecognizer
        and one.__name__ not in _ASKS_THE_NETWORK
    ]  # fmt: skip
    made: list[Any] = [one() for one in patterns]
    known = {entity: recogniser for recogniser in made for entity in recogniser.supported_entities}
    unknown = [entity for entity in entities if entity not in known]
    if unknown:
        raise ConfigError(
            f"Presidio has no pattern recogniser for {unknown[0]!r}",
            cause="`data.privacy.presidio` names an entity that it finds with a model, or that another version has",
            fix=did_you_mean(unknown[0], known),
        )
    chosen = {entity: known[entity] for entity in entities}

    def find(text: str) -> list[Span]:
        return [
            Span(result.start, result.end, entities[entity], float(result.score))
            for entity, recogniser in chosen.items()
            for result in recogniser.analyze(text, [entity], None) or ()
        ]

    return find
