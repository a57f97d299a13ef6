"""Students: shape, lessons, and a training that a kill does not change."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from checkpoints import write_tiny_checkpoint
from onnx import numpy_helper
from tiny_run import TinyRun, artifact

from ftdeploy.compress.distil import Lessons, _changed, _epoch_rows, _passes
from ftdeploy.compress.students import Cut, School, cut_to, make_student
from ftdeploy.compress.tools import graph
from ftdeploy.dataset import label_names, read_split
from ftdeploy.errors import CompressionError
from ftdeploy.onnx_export import load_model
from ftdeploy.predictor import Predictor
from ftdeploy.recipe import Distillation, Shape, Sparsity
from ftdeploy.signature import read_signature
from ftdeploy.tasks import TASKS

TASK = TASKS["text-classification"]
CUT = Cut(layers=(0, 1), channels=32, heads=1)


def _school(tiny: TinyRun, **settings: object) -> School:
    dataset, onnx = artifact(tiny.run, "dataset"), artifact(tiny.run, "onnx")
    train = read_split(dataset, "train")
    texts = train["text"].to_pylist()
    return School(
        checkpoint=artifact(tiny.run, "checkpoint").path, onnx=onnx.path,
        rows=[row.ids for row in Predictor(onnx.path, device="cpu").encode(texts)],
        targets=TASK.targets(train["label"].to_pylist(), label_names(dataset)), task=TASK,
        settings=Distillation.model_validate({"epochs": 3, "augment": 0.5} | settings), opset=18, seed=13, device="cpu",
        bf16=False,
    )  # fmt: skip


def _made(school: School, folder: Path, *, cut: Cut = CUT) -> Path:
    work, out = folder / "work", folder / "out"
    work.mkdir(parents=True, exist_ok=True)
    out.mkdir()
    make_student(school, cut, seconds=0, work=work, out=out)
    return out


@pytest.mark.slow
def test_a_student_is_a_smaller_model_folder_with_its_teachers_face(tiny: TinyRun, tmp_path: Path) -> None:
    """Half the channels, one of two heads: a smaller file with the same inputs, labels and tokenizer."""
    school = _school(tiny, epochs=1)
    out = _made(school, tmp_path)
    assert (out / "model.onnx").stat().st_size < (school.onnx / "model.onnx").stat().st_size
    assert (out / "tokenizer.json").read_bytes() == (school.onnx / "tokenizer.json").read_bytes()
    assert read_signature(out) == read_signature(school.onnx)


@pytest.mark.slow
def test_of_a_cascade_a_student_and_its_teacher_share_all_but_the_layers_below_the_last(
    tiny: TinyRun, tmp_path: Path
) -> None:
    """The last layer, the head and the positions stay the teacher's, to the last bit, so that one graph needs them
    once; what is below learns. A student alone learns all of them."""
    cut = Cut(layers=(0, 1), channels=32, heads=2)
    theirs = _weights(artifact(tiny.run, "onnx").path)
    for cascade in (True, False):
        school = replace(_school(tiny, epochs=1, embedding_bits=None), cascade=cascade)
        ours = _weights(_made(school, tmp_path / str(cascade), cut=cut))
        same = {name for name, values in ours.items() if name in theirs and np.array_equal(values, theirs[name])}
        later = {name for name in ours if "layer.1." in name or "position_embeddings" in name or "classifier" in name}
        assert later
        assert not {name for name in same if "layer.0." in name}
        assert (later <= same) is cascade


def _weights(folder: Path) -> dict[str, Any]:
    """Constants that have a name of their own, with more than one number."""
    tensors = onnx.load(str(folder / "model.onnx")).graph.initializer
    return {one.name: numpy_helper.to_array(one) for one in tensors
            if not one.name.startswith(("onnx::", "/")) and np.prod(one.dims) > 1}  # fmt: skip


@pytest.mark.slow
def test_teaching_brings_a_student_closer_to_its_teacher(tiny: TinyRun, tmp_path: Path) -> None:
    """One of two layers, taught by the teacher alone: its logits on validation rows are closer to the teacher's than
    those of one that learned at next to no rate."""
    cut = Cut(layers=(0,), channels=64, heads=2)
    school = _school(tiny, hard=0.0, epochs=4)
    texts = read_split(artifact(tiny.run, "dataset"), "validation")["text"].to_pylist()
    taught = _made(school, tmp_path / "taught", cut=cut)
    untaught = _made(_school(tiny, hard=0.0, epochs=1, learning_rate=1e-9), tmp_path / "untaught", cut=cut)
    wanted, learned, plain = (Predictor(folder).predict(texts).logits for folder in (school.onnx, taught, untaught))
    assert np.square(learned - wanted).mean() < 0.5 * np.square(plain - wanted).mean()


@pytest.mark.slow
@pytest.mark.parametrize("bits", [4, None])
def test_a_student_learns_with_its_embeddings_as_they_will_be_stored(
    bits: int | None, tiny: TinyRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rounded before anything is learned, and not learned; without bits they are the teacher's. Small tables stay."""
    monkeypatch.setattr(graph, "TABLE", 10)
    school = _school(tiny, epochs=1, embedding_bits=bits)
    theirs, ours = (
        {one.name: numpy_helper.to_array(one) for one in onnx.load(str(folder / "model.onnx")).graph.initializer}
        for folder in (school.onnx, _made(school, tmp_path))
    )
    (name,) = (name for name in ours if "word_embeddings" in name)
    expected = theirs[name] if bits is None else graph.rounded_table(theirs[name], bits=bits)
    np.testing.assert_array_equal(ours[name], expected)


@pytest.mark.slow
def test_a_student_of_fewer_layers_gives_out_the_nearest_layer(tiny: TinyRun, tmp_path: Path) -> None:
    """The second output comes from the layer that stood closest to the teacher's, and the model runs."""
    out = _made(_school(tiny, epochs=1), tmp_path, cut=Cut(layers=(0,), channels=64, heads=2))
    assert read_signature(out).embedding_layer == 1
    assert Predictor(out).predict(["a fine film"]).embedding.shape == (1, 32)


@pytest.mark.slow
def test_a_student_of_fewer_tokens_answers_alike_in_any_batch(tiny: TinyRun, tmp_path: Path) -> None:
    """Four layers, pruned, taught and exported: rows alone, together and in the reverse order have the same logits, and
    the second output is of a layer that all tokens go through."""
    write_tiny_checkpoint(tmp_path / "deep", layers=4)
    school = replace(_school(tiny, epochs=1), checkpoint=tmp_path / "deep")
    cut = Cut(layers=(0, 1, 2, 3), channels=32, heads=1, tokens=0.5)
    assert cut.name == "student-4x32x1-0.5-tokens"
    out = _made(school, tmp_path, cut=cut)
    assert read_signature(out).embedding_layer <= 2
    texts = read_split(artifact(tiny.run, "dataset"), "validation")["text"].to_pylist()[:40]
    student = Predictor(out, device="cpu")
    together = student.predict(texts).logits
    alone = np.concatenate([student.predict([text]).logits for text in texts])
    np.testing.assert_allclose(alone, together, atol=1e-4)
    np.testing.assert_allclose(student.predict(texts[::-1]).logits[::-1], together, atol=1e-4)


@pytest.mark.slow
def test_a_student_that_cannot_go_on_with_fewer_tokens_says_so(tiny: TinyRun, tmp_path: Path) -> None:
    """Of two layers the middle one is the last."""
    with pytest.raises(CompressionError, match="cannot go on with fewer tokens"):
        _made(_school(tiny, epochs=1), tmp_path, cut=replace(CUT, tokens=0.5))


@pytest.mark.slow
def test_a_killed_training_ends_in_the_same_weights(
    tiny: TinyRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped in the middle of the third epoch, it goes on after the second, and the model is that of a training that
    was left alone, to the last bit."""
    from ftdeploy.compress import distil

    school = _school(tiny)
    alone = _made(school, tmp_path / "alone")
    real, steps = distil._step, 0

    def dying(*given: object) -> None:
        nonlocal steps
        steps += 1
        if steps > 32:
            raise KeyboardInterrupt
        real(*given)  # type: ignore[arg-type]  # passed on as it came

    monkeypatch.setattr(distil, "_step", dying)
    with pytest.raises(KeyboardInterrupt):
        _made(school, tmp_path / "killed")
    assert (tmp_path / "killed" / "work" / "epoch.pt").exists()
    monkeypatch.setattr(distil, "_step", real)
    (tmp_path / "killed" / "out").rename(tmp_path / "killed" / "left")
    again = _made(school, tmp_path / "killed")
    assert (again / "model.onnx").read_bytes() == (alone / "model.onnx").read_bytes()


@pytest.mark.slow
def test_neural_compressor_prunes_while_it_learns_and_leaves_smaller_matrices(tiny: TinyRun, tmp_path: Path) -> None:
    """Its structured pruning takes half of the channels and one of two heads, cut out at the end; its single weights
    are zero in the exported graph, in matrices of the old size."""
    structured = Cut(layers=(0, 1), channels=32, heads=1, pruning="neural-compressor")
    sparse = Cut(layers=(0, 1), channels=64, heads=2, sparsity=Sparsity(pattern="1x1", share=0.6))
    assert (structured.name, sparse.name) == ("student-2x32x1-nc", "student-2x64x2-sparse-1x1-0.6")
    school = _school(tiny, quantization_aware=False)
    smaller, zeros = _made(school, tmp_path / "smaller", cut=structured), _made(school, tmp_path / "zeros", cut=sparse)
    whole = _matrices(school.onnx)
    assert sum(matrix.size for matrix in _matrices(smaller)) == sum(matrix.size for matrix in whole) / 2
    found = _matrices(zeros)
    assert [matrix.shape for matrix in found] == [matrix.shape for matrix in whole]
    share = sum(int((matrix == 0).sum()) for matrix in found) / sum(matrix.size for matrix in found)
    assert share == pytest.approx(0.6, abs=0.02)
    assert np.isfinite(Predictor(zeros).predict(["a fine film"]).logits).all()


def _matrices(folder: Path) -> list[np.ndarray[Any, Any]]:
    """The matrices of the encoder's layers, in a graph as it was exported."""
    graph = onnx.load(str(folder / "model.onnx")).graph
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    names = [node.input[1] for node in graph.node if node.op_type == "MatMul" and "/encoder/layer" in node.name]
    return [numpy_helper.to_array(tensors[name]) for name in names if name in tensors]


def test_shares_become_whole_numbers(tiny: TinyRun) -> None:
    """At least one layer and one head, channels in multiples of 32, layers at even distances from the first on."""
    model = load_model(artifact(tiny.run, "checkpoint").path, TASK)
    assert cut_to(Shape(), model) == Cut(layers=(0, 1), channels=64, heads=2)
    assert cut_to(Shape(layers=0.1, ffn=0.1, heads=0.1), model) == Cut(layers=(0,), channels=32, heads=1)
    assert cut_to(Shape(ffn=0.5), model).name == "student-2x32x2"


def test_copies_keep_the_ends_and_have_no_label() -> None:
    """A copy masks or cuts words, never the special tokens; the teacher alone knows what it means; another epoch brings
    other copies, the same epoch the same ones."""
    rows = [[101, *range(200, 230), 102]] * 40
    lessons = Lessons(rows=rows, targets=np.ones(40, dtype=np.int64), pad_id=0, mask_id=103)
    settings = Distillation(augment=1.5)
    first, again, other = (_epoch_rows(lessons, settings, seed=1, epoch=epoch) for epoch in (0, 0, 1))
    assert len(first) == 100
    assert first == again
    assert first != other
    copies = first[40:]
    assert {row.target for row in first[:40]} == {1}
    assert {row.target for row in copies} == {-1}
    assert all((row.ids[0], row.ids[-1]) == (101, 102) for row in copies)
    assert any(103 in row.ids for row in copies)
    assert any(len(row.ids) < 32 for row in copies)
    left_out = _changed(rows[0], None, np.random.default_rng(1))
    assert set(left_out) <= set(rows[0])


@pytest.mark.parametrize(
    ("fitting", "asked", "unlabelled", "plan"),
    [
        (2.93, 1.0, 0, (3, 0.95)),  # instead of two whole ones and time that is left over
        (2.4, 1.0, 0, (2, 1.4)),
        (0.6, 1.0, 0, (1, 0.2)),
        (0.2, 1.0, 0, (1, 0.0)),  # one pass in any case
        (40.0, 4.0, 0, (40, 4.0)),
        (2.9, 0.0, 0, (2, 0.0)),  # no copies where none are wanted
        (1.75, 1.0, 10, (2, 0.62)),  # unlabelled texts are read in every pass
    ],
)
def test_whole_epochs_fill_the_time(fitting: float, asked: float, unlabelled: int, plan: tuple[int, float]) -> None:
    """The nearest whole number of passes, with more or fewer copies than asked for, takes as long as what fits."""
    lessons = Lessons(rows=[[1, 2]] * 10, targets=np.zeros(10, dtype=np.int64), pad_id=0, mask_id=None,
                      unlabelled=[[1, 2]] * unlabelled)  # fmt: skip
    assert _passes(fitting, lessons, Distillation(augment=asked)) == plan


def test_half_of_the_copies_are_of_two_rows() -> None:
    """The beginning of one and the end of another, no longer than the longer, between one row's special tokens; rows
    with text in one only give whole copies."""
    rows = [[101, *range(200, 210), 102], [101, *range(300, 330), 102]] * 200
    lessons = Lessons(rows=rows, targets=np.zeros(400, dtype=np.int64), pad_id=0, mask_id=103)
    copies = _epoch_rows(lessons, Distillation(augment=1.0, joined=0.5), seed=1, epoch=0)[400:]
    joined = [row.ids for row in copies if {token // 100 for token in row.ids[1:-1]} >= {2, 3}]
    assert 50 < len(joined) < 120  # of half, one in two is of two rows with other tokens, and has some of each
    for ids in joined:
        border = next(at for at, token in enumerate(ids[1:-1]) if token // 100 != ids[1] // 100)
        starts, ends = ids[1 : border + 1], ids[border + 1 : -1]
        assert starts[0] in {200, 300}
        assert starts == list(range(starts[0], starts[0] + len(starts)))
        assert ends == list(range(ends[0], ends[0] + len(ends)))
        assert len(ids) <= 32
    assert all(len(row.ids) > 2 for row in copies)
    for row in _epoch_rows(lessons, Distillation(augment=1.0, joined=0.0), seed=1, epoch=0):
        assert len({token // 100 for token in row.ids[1:-1]} - {1}) == 1


@pytest.mark.parametrize("mask_id", [103, None])
def test_copies_of_pairs_stay_pairs(mask_id: int | None) -> None:
    """Words are masked or left out, what stands between the texts never, no text is cut off with its other half, and
    none is joined with another row's."""
    row = [101, *range(200, 220), 102, *range(300, 320), 102]
    copies = [_changed(row, mask_id, np.random.default_rng(seed), frozenset({101, 102})) for seed in range(40)]
    for one in copies:
        assert (one[0], one[-1], one.count(102)) == (101, 102, 2)
        border = one.index(102)
        assert all(token < 300 for token in one[1:border])
        assert all(token >= 300 or token == mask_id for token in one[border + 1 : -1])
    assert any(one != row for one in copies)
    if mask_id is not None:
        assert {len(one) for one in copies} == {len(row)}
    other = [101, *range(400, 420), 102, *range(500, 520), 102]
    lessons = Lessons(rows=[row, other] * 20, targets=np.zeros(40, dtype=np.int64), pad_id=0, mask_id=mask_id,
                      between=frozenset({101, 102}))  # fmt: skip
    for learned in _epoch_rows(lessons, Distillation(augment=2.0), seed=1, epoch=0):
        hundreds = {token // 100 for token in learned.ids} - {1}
        assert hundreds in ({2, 3}, {4, 5})
