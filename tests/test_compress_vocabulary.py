"""Trimmed vocabularies: what stays answers as before, what goes falls back on pieces, and nothing becomes unknown."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from checkpoints import ROOT, sentences
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from tiny import write_model_folder
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from ftdeploy.compress.tokenizer_files import kept_ids, renumbered
from ftdeploy.compress.vocabulary import compare, trim_vocabulary
from ftdeploy.errors import CompressionError
from ftdeploy.pairs import Pairs, join
from ftdeploy.predictor import Predictor
from ftdeploy.recipe import load_recipe
from ftdeploy.signature import Signature, read_signature, write_signature
from ftdeploy.sources import resolve

SPECIAL = ["<s>", "<pad>", "</s>", "<unk>"]
UNK = "<unk>"
WIDTH = 32


@cache
def real_texts() -> tuple[str, ...]:
    return tuple(row["text"] for row in sentences()[::10])


def _finished(tokenizer: Tokenizer, trainer: Any) -> Tokenizer:
    tokenizer.train_from_iterator(real_texts()[:600], trainer)
    ends = [(end, tokenizer.token_to_id(end)) for end in ("<s>", "</s>")]
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> $B </s>", special_tokens=ends
    )
    tokenizer.add_tokens(["emoji_smile"])  # not special, and after the model's own
    tokenizer.enable_truncation(24)
    return tokenizer


def wordpiece() -> Tokenizer:
    made = Tokenizer(models.WordPiece(unk_token=UNK))
    made.normalizer = normalizers.BertNormalizer(lowercase=True)
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.decoder = decoders.WordPiece()
    return _finished(
        made, trainers.WordPieceTrainer(vocab_size=1500, special_tokens=SPECIAL, show_progress=False)
    )  # fmt: skip


def byte_bpe() -> Tokenizer:
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=1500, special_tokens=SPECIAL, initial_alphabet=alphabet, show_progress=False
    )
    made = _finished(made, trainer)
    cls, sep = (("<s>", made.token_to_id("<s>")), ("</s>", made.token_to_id("</s>")))
    made.post_processor = processors.Sequence(
        [
            processors.RobertaProcessing(sep=(sep[0], sep[1]), cls=(cls[0], cls[1])),
            processors.ByteLevel(trim_offsets=True),
        ]
    )
    return made


def fallback_bpe() -> Tokenizer:
    """As converted from SentencePiece: characters that are no tokens are spelled in bytes."""
    made = Tokenizer(models.BPE(unk_token=UNK, byte_fallback=True, fuse_unk=True))
    made.pre_tokenizer = pre_tokenizers.Metaspace()
    spelled = [f"<0x{byte:02X}>" for byte in range(256)]
    return _finished(
        made, trainers.BpeTrainer(vocab_size=1500, special_tokens=[*SPECIAL, *spelled], show_progress=False)
    )


def suffix_bpe() -> Tokenizer:
    made = Tokenizer(models.BPE(unk_token=UNK, end_of_word_suffix="</w>"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    trainer = trainers.BpeTrainer(
        vocab_size=1500, special_tokens=SPECIAL, end_of_word_suffix="</w>", show_progress=False
    )
    return _finished(made, trainer)


def unigram() -> Tokenizer:
    made = Tokenizer(models.Unigram())
    made.normalizer = normalizers.NFKC()
    made.pre_tokenizer = pre_tokenizers.Metaspace()
    return _finished(
        made,
        trainers.UnigramTrainer(vocab_size=1200, special_tokens=SPECIAL, unk_token=UNK, show_progress=False),
    )


TOKENIZERS: Mapping[str, Callable[[], Tokenizer]] = {
    "wordpiece": wordpiece, "byte-bpe": byte_bpe, "fallback-bpe": fallback_bpe, "suffix-bpe": suffix_bpe,
    "unigram": unigram,
}  # fmt: skip


@cache
def tokenizer_text(name: str) -> str:
    return str(TOKENIZERS[name]().to_str())


def whole(text: str) -> Tokenizer:
    """A tokenizer that neither cuts texts off nor fills them."""
    made = Tokenizer.from_str(text)
    made.no_truncation()
    made.no_padding()
    return made


def tokens(tokenizer: Tokenizer, text: str) -> list[str]:
    """What the model sees: Unigram tells an unknown character by its id only, and names it as it stands in the text."""
    return [tokenizer.id_to_token(id_) for id_ in tokenizer.encode(text).ids]


@cache
def pair(name: str, texts: int, safety: int) -> tuple[Tokenizer, Tokenizer]:
    """A tokenizer, and the same trimmed to some real texts."""
    before = whole(tokenizer_text(name))
    document = json.loads(before.to_str())
    used = {id_ for one in before.encode_batch(list(real_texts()[:texts])) for id_ in one.ids}
    made = renumbered(document, kept_ids(document, used, safety=safety))
    return before, Tokenizer.from_str(json.dumps(made))


def alphabet(tokenizer: Tokenizer) -> str:
    """Characters of the vocabulary, some that are not in it, and what normalizers change."""
    return "".join(sorted({character for token in tokenizer.get_vocab() for character in token})) + "éÉﬁ汉 \n\u0301☃"


# --- the tokenizer alone


@pytest.mark.parametrize("name", TOKENIZERS)
def test_no_text_becomes_unknown_that_was_not(name: str) -> None:
    """Whatever the characters are; and a text whose tokens all stayed is cut as before, the others otherwise."""
    before, after = pair(name, 3, 0)
    vocabulary = after.get_vocab()
    words = [word for text in real_texts()[:200] for word in text.split()]
    pieces = st.one_of(st.sampled_from(words), st.text(alphabet(before), max_size=12))

    @settings(max_examples=150, suppress_health_check=list(HealthCheck))
    @given(st.lists(pieces, max_size=8).map(" ".join))
    def check(text: str) -> None:
        old, new = tokens(before, text), tokens(after, text)
        assert new.count(UNK) <= old.count(UNK)
        assert (old == new) is (set(old) <= vocabulary.keys())

    check()
    assert len(vocabulary) < before.get_vocab_size() - 100


@pytest.mark.parametrize("name", TOKENIZERS)
def test_the_texts_are_cut_as_before(name: str) -> None:
    """Every one that trimming saw, token for token; and some that it did not see are not, or nothing had gone."""
    before, after = pair(name, 40, 0)
    for text in real_texts()[:40]:
        assert tokens(before, text) == tokens(after, text)
    unseen = real_texts()[40:]
    assert any(tokens(before, text) != tokens(after, text) for text in unseen)
    assert all(after.decode(after.encode(text).ids) for text in unseen)


@pytest.mark.parametrize("name", TOKENIZERS)
def test_what_is_safe_stays(name: str) -> None:
    """More safety is a larger vocabulary that holds the smaller; the most general tokens are in it, and single
    characters, special and added tokens are always."""
    before, none = pair(name, 3, 0)
    _, some = pair(name, 3, 100)
    assert none.get_vocab().keys() < some.get_vocab().keys() < before.get_vocab().keys()
    single = {token for token in before.get_vocab() if len(token.removeprefix("##").removesuffix("</w>")) == 1}
    assert {*single, *SPECIAL, "emoji_smile"} <= none.get_vocab().keys()
    model = json.loads(before.to_str())["model"]
    if model["type"] == "BPE":
        assert {"".join(merge) for merge in model["merges"][:100]} <= some.get_vocab().keys()
    elif model["type"] == "Unigram":
        ranked = sorted((entry for entry in model["vocab"] if len(entry[0]) > 1), key=lambda entry: -entry[1])
        assert {token for token, _score in ranked[:100]} <= some.get_vocab().keys()
    else:
        words = [token for token in sorted(model["vocab"], key=model["vocab"].__getitem__) if token not in single]
        assert set(words[:100]) <= some.get_vocab().keys()


def test_unknown_characters_cost_unigram_what_they_did() -> None:
    """What an unknown character costs is counted from the lowest score, so that one stays."""
    before, after = pair("unigram", 3, 0)
    lowest = [min(score for _token, score in json.loads(one.to_str())["model"]["vocab"]) for one in (before, after)]
    assert lowest[0] == lowest[1]


def test_merges_that_lead_to_a_token_stay_with_it() -> None:
    """Every merge that is left has its parts and its result, and every token of several bytes that is left is made by
    one."""
    before, after = pair("byte-bpe", 40, 0)
    model = json.loads(after.to_str())["model"]
    results = {left + right for left, right in model["merges"]}
    assert {part for merge in model["merges"] for part in merge} | results <= model["vocab"].keys()
    assert {token for token in model["vocab"] if len(token) > 1} - set(SPECIAL) == results
    assert len(results) < len(json.loads(before.to_str())["model"]["merges"])


def test_places_held_free_are_not_general() -> None:
    """BERT's [unused1] have low ids, and no text has them."""
    vocab = {"<unk>": 0, "[unused0]": 1, "[unused1]": 2}
    for token in ["[", "]", *"unsed01", *("##" + c for c in "[]unsed01"), "un", "sun", "dune"]:
        vocab[token] = len(vocab)
    made = Tokenizer(models.WordPiece(vocab, unk_token=UNK))
    found = kept_ids(json.loads(made.to_str()), (), safety=2)
    assert {vocab["un"], vocab["sun"]} <= set(found)
    assert not {1, 2, vocab["dune"]} & set(found)


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (models.WordLevel({"good": 0, "film": 1, UNK: 2}, unk_token=UNK), "WordLevel"),
        (models.WordPiece({UNK: 0, "good": 1, "g": 2, "##o": 3}, unk_token=UNK), "'good'"),
        (models.Unigram([(UNK, 0.0), ("ab", -1.0), ("a", -2.0)], unk_id=0, byte_fallback=False), "'ab'"),
    ],
)
def test_without_anything_to_fall_back_on_it_refuses(model: Any, reason: str) -> None:
    """Whole words, or an alphabet with holes: a text could become unknown."""
    with pytest.raises(CompressionError, match=reason):
        kept_ids(json.loads(Tokenizer(model).to_str()), (), safety=0)


# --- model folders


def write_folder(folder: Path, tokenizer: str, *, table: str = "float", extra: Iterable[Any] = (),
                 rows: int | None = None, pad: str = "<pad>") -> None:  # fmt: skip
    """A bag-of-words model over this tokenizer, its table stored in one of the ways that tools store it."""
    folder.mkdir()
    read = Tokenizer.from_str(tokenizer)
    (folder / "tokenizer.json").write_text(tokenizer, encoding="utf-8")
    count = rows or read.get_vocab_size() + 5  # models have a few rows more than tokens
    values = np.random.default_rng(3).normal(size=(count, WIDTH)).astype(np.float32)
    weights, lookup = TABLES[table](values)
    head = np.random.default_rng(4).normal(size=(WIDTH, 2)).astype(np.float32)
    weights |= {"head": head, "one": np.array([1]), "two": np.array([2])}
    node = helper.make_node
    nodes = [
        *lookup, *extra,
        node("Cast", ["attention_mask"], ["weight"], to=TensorProto.FLOAT),
        node("Unsqueeze", ["weight", "two"], ["mask"]),
        node("Mul", ["rows", "mask"], ["kept"]), node("ReduceSum", ["kept", "one"], ["embedding"], keepdims=0),
        node("MatMul", ["embedding", "head"], ["logits"]),
    ]  # fmt: skip
    info = helper.make_tensor_value_info
    inputs = [info(name, TensorProto.INT64, ["batch", "sequence"]) for name in ("input_ids", "attention_mask")]
    outputs = [info("logits", TensorProto.FLOAT, ["batch", 2]), info("embedding", TensorProto.FLOAT, ["batch", WIDTH])]
    tensors = [
        numpy_helper.from_array(value, name) if isinstance(value, np.ndarray) else value
        for name, value in weights.items()
    ]
    graph = helper.make_graph(nodes, "bag", inputs, outputs, initializer=tensors)
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=10), str(folder / "model.onnx"))
    write_signature(
        folder,
        Signature(name="bag", task="text-classification", labels=("no", "yes"), max_length=24,
                  pad_id=read.token_to_id(pad)),
    )  # fmt: skip


Values = NDArray[np.float32]
Table = tuple[dict[str, Any], list[Any]]


def _float(values: Values) -> Table:
    return {"table": values}, [
        helper.make_node("Shape", ["input_ids"], ["shape"]),
        helper.make_node("Cast", ["input_ids"], ["ids"], to=TensorProto.INT32),
        helper.make_node("Gather", ["table", "ids"], ["rows"]),
    ]


def _half(values: Values) -> Table:
    return {"table": values.astype(np.float16)}, [
        helper.make_node("Cast", ["table"], ["full"], to=TensorProto.FLOAT),
        helper.make_node("Gather", ["full", "input_ids"], ["rows"]),
    ]


def _int8(values: Values, *, axis: int | None, after: bool) -> Table:
    """One scale for the table, for each row (axis 0) or for each column (axis 1)."""
    scale = np.asarray(np.abs(values).max(axis=None if axis is None else 1 - axis) / 127, dtype=np.float32)
    spread = scale if axis != 0 else scale[:, None]
    weights = {
        "table": np.round(values / spread).astype(np.int8), "scale": scale, "zero": np.zeros(scale.shape, np.int8),
    }  # fmt: skip
    ends = ["quantized", "rows"] if after else ["full", "rows"]
    gather = helper.make_node("Gather", ["table" if after else "full", "input_ids"], [ends[0] if after else "rows"])
    axes = {} if axis is None else {"axis": axis}
    back = helper.make_node(
        "DequantizeLinear", ["quantized" if after else "table", "scale", "zero"], ["rows" if after else "full"], **axes
    )
    return weights, [gather, back] if after else [back, gather]


def _row_scales_looked_up(values: Values) -> Table:
    scale = (np.abs(values).max(axis=1, keepdims=True) / 127).astype(np.float32)
    return {"table": np.round(values / scale).astype(np.int8), "scale": scale}, [
        helper.make_node("Gather", ["table", "input_ids"], ["small"]),
        helper.make_node("Gather", ["scale", "input_ids"], ["factor"]),
        helper.make_node("Cast", ["small"], ["large"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["large", "factor"], ["rows"]),
    ]


def _blocks(values: Values) -> Table:
    """Four bits in blocks of 16, as ONNX Runtime's GatherBlockQuantized has it; the zero points fill whole bytes."""
    blocked = values.reshape(len(values), -1, 16)
    scale = (np.abs(blocked).max(axis=2) / 7).astype(np.float32)
    small = np.round(blocked / scale[:, :, None]).reshape(values.shape).astype(np.int8)
    table = helper.make_tensor("table", TensorProto.INT4, values.shape, small.reshape(-1).tolist())
    return {"table": table, "scale": scale}, [
        helper.make_node(
            "GatherBlockQuantized", ["table", "input_ids", "scale"], ["rows"], domain="com.microsoft",
            gather_axis=0, quantize_axis=1, block_size=16,
        )
    ]  # fmt: skip


TABLES: Mapping[str, Callable[[Values], Table]] = {
    "float": _float,
    "half": _half,
    "int8": lambda values: _int8(values, axis=None, after=True),
    "int8-by-row": lambda values: _int8(values, axis=0, after=False),
    "int8-by-column": lambda values: _int8(values, axis=1, after=False),
    "int8-scales-looked-up": _row_scales_looked_up,
    "int4-blocks": _blocks,
}


def _same_answers(source: Path, out: Path, texts: list[str]) -> None:
    before, after = (Predictor(folder, threads=1, device="cpu").predict(texts) for folder in (source, out))
    np.testing.assert_array_equal(before.logits, after.logits)
    np.testing.assert_array_equal(before.embedding, after.embedding)


@pytest.mark.parametrize("table", TABLES)
def test_answers_stay_however_the_table_is_stored(table: str, tmp_path: Path) -> None:
    """Bit for bit on the texts that trimming saw; the file is smaller, and padding follows its token."""
    write_folder(tmp_path / "source", tokenizer_text("wordpiece"), table=table)
    texts = list(real_texts()[:30])
    found = trim_vocabulary(tmp_path / "source", tmp_path / "out", texts, safety=0)
    _same_answers(tmp_path / "source", tmp_path / "out", texts)
    assert found.tokens_used <= found.tokens_after == len(found.ids) < found.tokens_before
    assert found.bytes_after < found.bytes_before
    model = onnx.load(str(tmp_path / "out" / "model.onnx"))
    onnx.checker.check_model(model)
    assert {t.dims[0] for t in model.graph.initializer if t.name == "table"} == {found.tokens_after}


@pytest.mark.parametrize("name", TOKENIZERS)
def test_every_kind_of_tokenizer_stays_with_its_table(name: str, tmp_path: Path) -> None:
    """The same rows for the same tokens; padding and the template's ids move with them."""
    write_folder(tmp_path / "source", tokenizer_text(name))
    texts = list(real_texts()[:30])
    trim_vocabulary(tmp_path / "source", tmp_path / "out", texts, safety=50)
    _same_answers(tmp_path / "source", tmp_path / "out", texts)
    read = Tokenizer.from_file(str(tmp_path / "out" / "tokenizer.json"))
    assert read.token_to_id("<pad>") == read_signature(tmp_path / "out").pad_id
    assert read.encode(texts[0]).ids[0] == read.token_to_id("<s>")
    assert len(read.encode("very long words " * 50).ids) == 24
    assert read.encode(texts[0], texts[1]).tokens.count("</s>") >= 2


def test_a_padding_id_with_another_place_moves(tmp_path: Path) -> None:
    """The signature names the token's new id."""
    write_folder(tmp_path / "source", tokenizer_text("wordpiece"), pad="emoji_smile")
    found = trim_vocabulary(tmp_path / "source", tmp_path / "out", real_texts()[:30], safety=0)
    assert read_signature(tmp_path / "source").pad_id != read_signature(tmp_path / "out").pad_id
    assert read_signature(tmp_path / "out").pad_id == found.tokens_after - 1


def test_the_same_texts_make_the_same_files(tmp_path: Path) -> None:
    """In whatever order the texts come."""
    write_folder(tmp_path / "source", tokenizer_text("unigram"))
    for name, texts in (("a", real_texts()[:20]), ("b", real_texts()[:20][::-1])):
        trim_vocabulary(tmp_path / "source", tmp_path / name, texts, safety=10)
    for file in ("model.onnx", "tokenizer.json", "signature.json"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def with_positions(folder: Path, *, first: int) -> None:
    """Adds a row of a table of 60 positions to each token's, which are counted from ``first`` on."""
    model = onnx.load(str(folder / "model.onnx"))
    node, graph = helper.make_node, model.graph
    numbers = {"first": np.array([first]), "zero": np.array([0]), "counted": np.arange(60)[None] + first,
               "positions": np.random.default_rng(5).normal(size=(60 + first, WIDTH)).astype(np.float32)}  # fmt: skip
    graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in numbers.items())
    added = [
        node("Shape", ["input_ids"], ["size"], start=1),
        node("Slice", ["counted", "zero", "size", "one", "one"], ["places"]),
        node("Gather", ["positions", "places"], ["placed"]), node("Add", ["rows", "placed"], ["both"]),
    ]  # fmt: skip
    at = next(at for at, one in enumerate(graph.node) if one.op_type == "Mul")
    graph.node[at].input[0] = "both"
    nodes = [*graph.node[:at], *added, *graph.node[at:]]
    del graph.node[:]
    graph.node.extend(nodes)
    onnx.save(model, str(folder / "model.onnx"))


@pytest.mark.parametrize(("first", "kept"), [(0, 24), (2, 62)])
def test_positions_that_no_row_reaches_go(first: int, kept: int, tmp_path: Path) -> None:
    """A row has 24 tokens at most, and all answers stay. Positions that are counted from another number are left."""
    write_folder(tmp_path / "source", tokenizer_text("wordpiece"))
    with_positions(tmp_path / "source", first=first)
    texts = [" ".join(real_texts()[:20]), *real_texts()[:20]]
    trim_vocabulary(tmp_path / "source", tmp_path / "out", texts, safety=0)
    model = onnx.load(str(tmp_path / "out" / "model.onnx"))
    assert [one.dims[0] for one in model.graph.initializer if one.name == "positions"] == [kept]
    _same_answers(tmp_path / "source", tmp_path / "out", texts)


def test_rare_tokens_may_go(tmp_path: Path) -> None:
    """With a minimal count some of the texts change, and `compare` names exactly those with a token that went."""
    write_folder(tmp_path / "source", tokenizer_text("wordpiece"))
    texts = list(real_texts()[:60])
    all_of = trim_vocabulary(tmp_path / "source", tmp_path / "all", texts, safety=0)
    often = trim_vocabulary(tmp_path / "source", tmp_path / "often", texts, safety=0, min_count=3)
    assert set(often.ids) < set(all_of.ids)
    assert compare(tmp_path / "source", tmp_path / "all", texts).changed == ()
    found = compare(tmp_path / "source", tmp_path / "often", texts)
    before = whole(tokenizer_text("wordpiece"))
    rows = [before.encode(text).ids for text in texts]
    assert found.changed == tuple(place for place, ids in enumerate(rows) if not set(ids) <= set(often.ids))
    assert 0 < found.tokens_lost < found.tokens_before < found.tokens_after
    assert found.texts == 60


def test_a_comparison_with_padding_is_allowed(tmp_path: Path) -> None:
    """RoBERTa counts positions where the id is not padding's: fine while that id stays."""
    for name, asked in (
        ("kept", 1),
        ("moved", Tokenizer.from_str(tokenizer_text("byte-bpe")).token_to_id("emoji_smile")),
    ):
        constant = helper.make_tensor("value", TensorProto.INT64, [], [asked])
        extra = [
            helper.make_node("Constant", [], ["padding"], value=constant),
            helper.make_node("Equal", ["input_ids", "padding"], ["is_padding"]),
        ]
        write_folder(tmp_path / name, tokenizer_text("byte-bpe"), extra=extra)
    trim_vocabulary(tmp_path / "kept", tmp_path / "out", real_texts()[:5], safety=0)
    with pytest.raises(CompressionError, match="Equal"):
        trim_vocabulary(tmp_path / "moved", tmp_path / "none", real_texts()[:5], safety=0)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["kept", "moved", "out"]


@pytest.mark.parametrize(
    ("extra", "reason"),
    [
        (helper.make_node("Transpose", ["table"], ["tied"]), "tied weights"),
        (helper.make_node("Gather", ["table", "attention_mask"], ["again"]), "tied weights"),
        (helper.make_node("ReduceMax", ["input_ids"], ["highest"]), "ReduceMax"),
    ],
)
def test_other_uses_of_table_or_ids_are_refused(extra: Any, reason: str, tmp_path: Path) -> None:
    """They would silently mean other tokens; nothing is left behind."""
    write_folder(tmp_path / "source", tokenizer_text("byte-bpe"), extra=[extra])
    with pytest.raises(CompressionError, match=reason):
        trim_vocabulary(tmp_path / "source", tmp_path / "out", real_texts()[:5], safety=0)
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


def test_a_table_shorter_than_the_vocabulary_is_refused(tmp_path: Path) -> None:
    """Tokens that the model has no row for."""
    write_folder(tmp_path / "source", tokenizer_text("wordpiece"), rows=500)
    with pytest.raises(CompressionError, match="500 rows"):
        trim_vocabulary(tmp_path / "source", tmp_path / "out", real_texts()[:30], safety=0)


def test_nothing_to_trim_is_said(tmp_path: Path) -> None:
    """A vocabulary that the safety list holds whole."""
    write_folder(tmp_path / "source", tokenizer_text("unigram"))
    with pytest.raises(CompressionError, match="are needed"):
        trim_vocabulary(tmp_path / "source", tmp_path / "out", (), safety=10**6)
    write_model_folder(tmp_path / "tiny")
    with pytest.raises(CompressionError, match="'awful'"):
        trim_vocabulary(tmp_path / "tiny", tmp_path / "out", (), safety=0)


def test_the_recipe_s_tokenizer(tmp_path: Path) -> None:
    """BERT's real vocabulary: smaller by more than half, texts as before, unseen ones without unknown tokens; and
    transformers reads it, with the same ids."""
    from transformers import PreTrainedTokenizerFast

    model = load_recipe(ROOT / "recipes" / "sentiment.yaml").model
    text = (resolve(model) / "tokenizer.json").read_text(encoding="utf-8")
    write_folder(tmp_path / "source", text, pad="[PAD]")
    texts = list(real_texts()[:200])
    found = trim_vocabulary(tmp_path / "source", tmp_path / "out", texts, safety=5000)
    assert found.tokens_after < found.tokens_before / 2
    read = Tokenizer.from_file(str(tmp_path / "out" / "tokenizer.json"))
    assert read.padding["pad_id"] == read.token_to_id("[PAD]")
    before, after = whole(text), whole(read.to_str())
    for unseen in [
        *real_texts()[200:],
        "Ünïcödé \u6c49\u5b57 \u0431\u043b\u0438\u043d #hashtag @user http://x.yz/?q=1",
    ]:
        assert tokens(after, unseen).count("[UNK]") == tokens(before, unseen).count("[UNK]")
    fast = PreTrainedTokenizerFast(tokenizer_file=str(tmp_path / "out" / "tokenizer.json"), pad_token="[PAD]")  # noqa: S106  # a token of text
    assert fast.convert_tokens_to_ids("[SEP]") == after.token_to_id("[SEP]") != before.token_to_id("[SEP]")
    for text in texts[:20]:
        assert fast(text)["input_ids"] == after.encode(text).ids
        assert fast.decode(fast(text)["input_ids"]) == before.decode(before.encode(text).ids, skip_special_tokens=False)


def test_a_trimmed_model_of_pairs_still_tells_its_texts_apart(tmp_path: Path) -> None:
    """The tokens of both texts stay, and the signature says which id the token at the border has now; the same answers
    come of pairs, which are compared as pairs."""
    write_folder(tmp_path / "source", tokenizer_text("wordpiece"))
    tokenizer = Tokenizer.from_file(str(tmp_path / "source" / "tokenizer.json"))
    border = tokenizer.get_vocab_size() - 1  # any token will do that moves
    name = tokenizer.id_to_token(border)
    pairs = Pairs(types_after=border)
    write_signature(tmp_path / "source", read_signature(tmp_path / "source").model_copy(update={"pairs": pairs}))
    texts = [join(one, other) for one, other in zip(real_texts()[:30], real_texts()[30:60], strict=True)]
    found = trim_vocabulary(tmp_path / "source", tmp_path / "out", texts, safety=0)
    _same_answers(tmp_path / "source", tmp_path / "out", texts)
    told = read_signature(tmp_path / "out").pairs
    assert told is not None
    assert told.types_after != border
    assert Tokenizer.from_file(str(tmp_path / "out" / "tokenizer.json")).id_to_token(told.types_after or 0) == name
    assert found.tokens_used < found.tokens_after
    assert compare(tmp_path / "source", tmp_path / "out", texts).changed == ()
