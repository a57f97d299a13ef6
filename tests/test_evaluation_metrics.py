"""The `evaluate` modules against the libraries that everybody uses, on random and on odd rows."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

import evaluate
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nltk.stem.porter import PorterStemmer
from rouge_score.rouge_scorer import RougeScorer
from sacrebleu.metrics.chrf import CHRF
from seqeval.metrics import f1_score as seqeval_f1
from seqeval.metrics import precision_score as seqeval_precision
from seqeval.metrics import recall_score as seqeval_recall
from seqeval.scheme import IOB2
from sklearn.metrics import (
    average_precision_score,
    brier_score_loss,
    f1_score,
    log_loss,
    matthews_corrcoef,
    precision_score,
    recall_score,
    roc_auc_score,
)

from ftdeploy.metrics import SCORE_METRICS, score
from ftdeploy.suite import suites_folder

FOLDER = suites_folder() / "metrics"
NAMES = sorted(path.stem for path in FOLDER.glob("*.py"))
_PAIRS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=40)
#: Words that the stemmer's rules are about, whole and mangled.
_WORDS = st.one_of(
    st.builds(
        lambda start, *ends: start + "".join(ends),
        st.from_regex(r"[a-z]{1,5}", fullmatch=True),
        *[st.sampled_from(["", "s", "ies", "sses", "ed", "ied", "eed", "ing", "y", "ational", "tional", "enci", "izer",
                           "bli", "alli", "entli", "eli", "ousli", "ization", "ator", "alism", "iveness", "fulness",
                           "ousness", "aliti", "iviti", "biliti", "fulli", "logi", "icate", "ative", "alize", "ical",
                           "ful", "ness", "ance", "ible", "ement", "ment", "ent", "sion", "ion", "ou", "ate", "ive",
                           "ize", "e", "ll", "at", "bl", "tt"])] * 2,
    ),
    st.sampled_from(["sky", "skies", "dying", "news", "innings", "howe", "proceed", "y", "yy", "syzygy", "died", "by"]),
)  # fmt: skip
_TEXTS = st.lists(st.tuples(*[st.text(st.sampled_from("abcd .,-'\nAÄß"), max_size=30)] * 2), min_size=1, max_size=5)


@pytest.fixture(scope="module")
def modules(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """All modules, loaded as a user loads them."""
    folder = str(tmp_path_factory.mktemp("evaluate"))
    return {name: evaluate.load(str(FOLDER / f"{name}.py"), cache_dir=folder, keep_in_memory=True) for name in NAMES}


def columns(pairs: list[tuple[Any, Any]]) -> dict[str, list[Any]]:
    """The rows as the modules take them."""
    return {"predictions": [pair[0] for pair in pairs], "references": [pair[1] for pair in pairs]}


def test_the_modules_that_there_are() -> None:
    """Nothing is added or lost without this test."""
    assert set(NAMES) == {
        "accuracy", "average_precision", "brier_score", "chrf", "entity_f1", "exact_match",
        "expected_calibration_error", "f1", "log_loss", "macro_f1", "matthews_correlation", "perplexity", "precision",
        "recall", "roc_auc", "rouge",
    }  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_modules_import_nothing_but_evaluate(name: str) -> None:
    """They run wherever `evaluate` does: no ftdeploy, no scikit-learn, no NumPy."""
    lines = (FOLDER / f"{name}.py").read_text(encoding="utf-8").splitlines()
    imported = {line.split()[1].split(".")[0] for line in lines if line.startswith(("import ", "from "))}
    assert imported <= {"__future__", "collections", "datasets", "evaluate", "itertools", "math", "re"}


ROWS: dict[str, dict[str, list[Any]]] = {
    "chrf": {"predictions": ["a cat", "dog"], "references": ["the cat", "dog"]},
    "entity_f1": {"predictions": [["B-x", "I-x", "O"]], "references": [["B-x", "I-x", "O"]]},
    "exact_match": {"predictions": ["a", "b"], "references": ["a", "c"]},
    "perplexity": {"predictions": [[-1.0, -2.0], [-3.0]]},
    "rouge": {"predictions": ["the cats sat"], "references": ["the cat sat"]},
}
_SCORES: dict[str, list[Any]] = {"references": [0, 1, 1], "prediction_scores": [[0.9, 0.1], [0.4, 0.6], [0.7, 0.3]]}
ROWS |= {name: _SCORES for name in NAMES if name.endswith(("precision", "score", "error", "loss", "auc"))}
ROWS["precision"] = {"predictions": [0, 1, 1], "references": [0, 1, 0]}


@pytest.mark.parametrize("name", NAMES)
def test_they_answer_through_evaluate(name: str, modules: dict[str, Any]) -> None:
    """The columns that a module says it takes are those that it computes from, whole and batch by batch."""
    rows = ROWS.get(name, {"predictions": [0, 1, 1], "references": [0, 1, 0]})
    found = modules[name].compute(**rows)
    modules[name].add_batch(**rows)
    assert modules[name].compute() == found
    assert all(isinstance(value, float | list | dict) for value in found.values())


@given(pairs=_PAIRS, average=st.sampled_from(["macro", "micro", "weighted", None]))
@settings(max_examples=50)
def test_class_metrics_are_scikit_learns(modules: dict[str, Any], pairs: list[tuple[int, int]], average: Any) -> None:
    """Every average, and each class on its own; classes that never occur, and rows of one class."""
    rows = columns(pairs)
    for name, theirs in (("f1", f1_score), ("precision", precision_score), ("recall", recall_score)):
        expected = theirs(rows["references"], rows["predictions"], average=average, zero_division=0)
        assert modules[name]._compute(**rows, average=average)[name] == pytest.approx(expected)
    one = f1_score(rows["references"], rows["predictions"], labels=[2], average=None, zero_division=0)
    assert modules["f1"]._compute(**rows, average=None, labels=[2])["f1"] == pytest.approx(one)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-learn's remarks on samples of one class
        correlation = matthews_corrcoef(rows["references"], rows["predictions"])
    found = modules["matthews_correlation"]._compute(**rows)
    assert found["matthews_correlation"] == pytest.approx(correlation)


def test_an_unknown_average_is_refused(modules: dict[str, Any]) -> None:
    """Not computed as another."""
    with pytest.raises(ValueError, match="'binary' is not"):
        modules["f1"]._compute(predictions=[1], references=[1], average="binary")


@given(seed=st.integers(0, 10_000), count=st.integers(1, 40), classes=st.integers(2, 4))
@settings(max_examples=50)
def test_score_metrics_are_scikit_learns(modules: dict[str, Any], seed: int, count: int, classes: int) -> None:
    """Coarse scores with many ties; of one class only, where scikit-learn has no answer, ftdeploy's."""
    random = np.random.default_rng(seed)
    references = random.integers(0, classes, count)
    scores = random.integers(1, 5, (count, classes)).astype(float)
    scores /= scores.sum(axis=1, keepdims=True)
    rows = {"references": references.tolist(), "prediction_scores": scores.tolist()}
    labels, present = list(range(classes)), np.unique(references)
    found = {name: modules[name]._compute(**rows)[name] for name in ("brier_score", "log_loss", "roc_auc",
             "average_precision", "expected_calibration_error")}  # fmt: skip
    brier = brier_score_loss(references, scores, labels=labels, scale_by_half=False)
    assert found["brier_score"] == pytest.approx(brier)
    assert found["log_loss"] == pytest.approx(log_loss(references, scores, labels=labels))
    if len(present) == classes:
        last = scores[:, 1] if classes == 2 else scores
        assert found["roc_auc"] == pytest.approx(roc_auc_score(references, last, multi_class="ovr"))
    looked_at = [1] if classes == 2 else present
    each = [average_precision_score(references == c, scores[:, c]) for c in looked_at if c in present]
    assert found["average_precision"] == pytest.approx(np.mean(each) if each else 0)
    for ours, name in (("ece", "expected_calibration_error"), ("roc_auc", "roc_auc")):
        engine = score(SCORE_METRICS[ours], references, scores.argmax(axis=1), classes, scores)
        assert found[name] == pytest.approx(engine)


_TAGS = st.lists(
    st.lists(st.tuples(*[st.sampled_from(["O", "B-a", "I-a", "B-b", "I-b"])] * 2), min_size=1, max_size=10),
    min_size=1, max_size=5,
)  # fmt: skip


@given(texts=_TAGS)
def test_entities_are_seqevals(modules: dict[str, Any], texts: list[list[tuple[str, str]]]) -> None:
    """As `seqeval` in its strict mode with IOB2: tags that continue nothing, and texts without entities, too."""
    rows = {"predictions": [[tag for tag, _ in text] for text in texts],
            "references": [[tag for _, tag in text] for text in texts]}  # fmt: skip
    found = modules["entity_f1"]._compute(**rows)
    for key, theirs, average in (
        ("entity_f1", seqeval_f1, "micro"), ("entity_precision", seqeval_precision, "micro"),
        ("entity_recall", seqeval_recall, "micro"), ("entity_macro_f1", seqeval_f1, "macro"),
    ):  # fmt: skip
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # seqeval's remarks on texts without entities
            expected = theirs(rows["references"], rows["predictions"], mode="strict", scheme=IOB2, average=average,
                              zero_division=0)  # fmt: skip
        assert found[key] == pytest.approx(0.0 if np.isnan(expected) else expected), key


@pytest.mark.parametrize(
    ("predictions", "words"), [([["E-x"]], "not a tag of IOB2"), ([["B"]], "not a tag"), ([["O", "O"]], "differ")]
)
def test_other_tags_are_refused(predictions: list[list[str]], words: str, modules: dict[str, Any]) -> None:
    """A tag of another scheme, or texts that do not fit, are an error and no score."""
    with pytest.raises(ValueError, match=words):
        modules["entity_f1"]._compute(predictions=predictions, references=[["O"]])


@given(words=st.lists(st.tuples(_WORDS, _WORDS), min_size=1, max_size=12), stemmed=st.booleans())
def test_rouge_is_rouge_scores(modules: dict[str, Any], words: list[tuple[str, str]], stemmed: bool) -> None:
    """With and without stemmer, on words that the stemmer has rules for."""
    guess, truth = (" ".join(pair[side] for pair in words) for side in (0, 1))
    theirs = RougeScorer(["rouge1", "rouge2", "rougeL"], use_stemmer=stemmed).score(truth, guess)
    ours = modules["rouge"]._compute(predictions=[guess], references=[truth], use_stemmer=stemmed)
    assert ours == pytest.approx({name: value.fmeasure for name, value in theirs.items()})


@given(texts=_TEXTS)
def test_rouge_of_odd_texts(modules: dict[str, Any], texts: list[tuple[str, str]]) -> None:
    """Empty texts, punctuation, letters that are none of a to z; the mean over the texts."""
    scorer = RougeScorer(["rouge1", "rouge2", "rougeL"])
    each = [scorer.score(truth, guess) for guess, truth in texts]
    ours = modules["rouge"]._compute(**columns(texts))
    assert ours == pytest.approx({name: np.mean([one[name].fmeasure for one in each]) for name in each[0]})


@given(word=_WORDS)
@settings(max_examples=300)
def test_the_stemmer_is_nltks(modules: dict[str, Any], word: str) -> None:
    """Whatever ends are put together."""
    stem = vars(__import__(modules["rouge"].__module__, fromlist=["stem"]))["stem"]
    assert stem(word) == PorterStemmer().stem(word)


@given(texts=_TEXTS)
def test_chrf_is_sacrebleus(modules: dict[str, Any], texts: list[tuple[str, str]]) -> None:
    """Over all texts together, at sacrebleu's defaults; texts shorter than an n-gram, and empty ones."""
    rows = columns(texts)
    expected = CHRF().corpus_score(rows["predictions"], [rows["references"]]).score
    assert modules["chrf"]._compute(**rows)["chrf"] == pytest.approx(expected)


def test_exact_match_and_its_options(modules: dict[str, Any]) -> None:
    """Letter by letter, unless told otherwise."""
    exact: Callable[..., dict[str, float]] = modules["exact_match"]._compute
    rows = {"predictions": ["Paris", " a  b", "x"], "references": ["paris", "a b ", "x"]}
    assert exact(**rows)["exact_match"] == pytest.approx(1 / 3)
    assert exact(**rows, ignore_case=True)["exact_match"] == pytest.approx(2 / 3)
    assert exact(**rows, ignore_case=True, ignore_space=True)["exact_match"] == 1


@given(texts=st.lists(st.lists(st.floats(-20, 0), max_size=8), min_size=1, max_size=5).filter(any))
def test_perplexity_is_the_exponential_of_the_loss(modules: dict[str, Any], texts: list[list[float]]) -> None:
    """Over all tokens, which long texts have more of, and as the mean of the texts' own."""
    found = modules["perplexity"]._compute(predictions=texts)
    each = [math.exp(-np.mean(text)) for text in texts if text]
    assert found["perplexity"] == pytest.approx(math.exp(-np.mean(np.concatenate(texts))))
    assert found["mean_perplexity"] == pytest.approx(np.mean(each))
    uniform = modules["perplexity"]._compute(predictions=[[-math.log(50)] * 7])
    assert uniform["perplexity"] == pytest.approx(50)
