"""What conversions are verified on and by: masked examples, differences, and the writer of weights."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file
from transformers import AutoTokenizer

from finetuning.conversion.batches import Batch, batch_from_records, batch_from_text, random_batch
from finetuning.conversion.torch_writing import write_safetensors
from finetuning.conversion.verification import Outputs, check, compare
from finetuning.conversion.vocabulary import Vocabulary, write_tokenizer
from kosplinter_common.cli import InputError
from tests.finetuning.tiny_checkpoints import vocabulary

KNOWN = Vocabulary(tuple(vocabulary()), "vocab.txt")


def assert_well_masked(batch: Batch, length: int) -> None:
    """[QUESTION] where a question is, hidden [PAD]s behind it, answers where they can be seen, something hidden."""
    question, pad = KNOWN.id_of("[QUESTION]"), KNOWN.id_of("[PAD]")
    assert batch.input_ids.shape == batch.input_mask.shape == (len(batch.input_ids), length)
    assert ((batch.input_ids == pad) == (batch.input_mask == 0)).all()
    for row, column in zip(*np.nonzero(batch.question_positions), strict=True):
        assert batch.input_ids[row, batch.question_positions[row, column]] == question
        begin, end = batch.beginnings[row, column], batch.endings[row, column]
        assert 0 <= begin <= end and batch.input_mask[row, [begin, end]].all()
    assert (batch.input_ids == question).sum() == batch.real_questions.sum() >= len(batch.input_ids)


@settings(max_examples=30, deadline=None)
@given(length=st.integers(8, 200))
def test_random_examples_are_masked_as_in_pretraining(length: int) -> None:
    batch = random_batch(KNOWN, length)
    assert_well_masked(batch, length)
    if length >= 64:  # spans inside a row are hidden, not only its padding
        assert any((batch.input_mask[row, : batch.question_positions[row].max()] == 0).any() for row in range(4))


def test_text_is_tokenised_and_masked(tmp_path: Path) -> None:
    write_tokenizer(KNOWN, tmp_path, do_lower_case=False, max_length=40)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    (tmp_path / "text.txt").write_text("이순신은 조선의 장군이다.\n" * 20, encoding="utf-8")
    batch = batch_from_text(tmp_path / "text.txt", tokenizer, KNOWN, 40)
    assert_well_masked(batch, 40)
    pieces = ["[QUESTION]", "[PAD]", "[CLS]", "[SEP]", "이순신", "##은", "조선", "##의", "장군", "##이다", "."]
    assert set(np.unique(batch.input_ids)) == {KNOWN.id_of(piece) for piece in pieces}
    (tmp_path / "text.txt").write_text("장군", encoding="utf-8")
    with pytest.raises(InputError, match="found 1 tokens"):
        batch_from_text(tmp_path / "text.txt", tokenizer, KNOWN, 40)


def test_records_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "a.tfrecord").write_bytes(b"")
    with pytest.raises(InputError, match="found features none"):
        batch_from_records(str(tmp_path / "a.tfrecord"), 128, 40)


def outputs_of(batch: Batch, largest: float = 1.0) -> Outputs:
    random = np.random.default_rng(0)
    shape = (*batch.question_positions.shape, batch.input_ids.shape[1])
    start, end = (random.uniform(-largest, largest, shape).astype(np.float32) for _ in range(2))
    layers = {name: random.normal(size=(6, 4)) for name in ("bert/embeddings", "bert/encoder/layer_0/output")}
    return Outputs(start, end, random.uniform(size=shape[:2]), layers)


def moved(outputs: Outputs, **values: object) -> Outputs:
    return Outputs(**{**vars(outputs), **values})


def test_differences_count_where_a_model_can_point() -> None:
    """Padding questions, their losses, and hidden positions do not."""
    batch = random_batch(KNOWN, 40)
    batch.question_positions[0, 1] = 0
    expected = outputs_of(batch)
    start, end = expected.start_logits.copy(), expected.end_logits.copy()
    start[0, 1] = 9
    end[np.broadcast_to(batch.input_mask[:, None] == 0, end.shape)] = 9
    report = compare(expected, moved(expected, start_logits=start, end_logits=end), batch, 1e-4)
    assert report.maximum == 0
    start[1, 0, 0] += 0.25
    report = compare(expected, moved(expected, start_logits=start), batch, 1e-4)
    assert report.differences["start_logits"].maximum == pytest.approx(0.25) and report.parting_layer is None
    assert 0 < report.differences["start_logits"].mean < 0.25


@pytest.mark.parametrize(
    ("largest", "difference", "passes"),
    [(1, 9e-5, True), (1, 2e-4, False), (100, 9e-5, True), (100, 2e-4, False), (1, np.nan, False)],
)
def test_tolerance_is_absolute(largest: float, difference: float, passes: bool) -> None:
    batch = random_batch(KNOWN, 40)
    expected = outputs_of(batch, largest)
    report = compare(expected, moved(expected, loss=expected.loss + difference), batch, 1e-4)
    if passes:
        check(report, 1e-4, "here")
    else:
        with pytest.raises(InputError, match=r"here: verification failed on .*: loss differs by"):
            check(report, 1e-4, "here")


def test_the_first_layer_to_part_is_named() -> None:
    batch = random_batch(KNOWN, 40)
    expected = outputs_of(batch)
    layers = {name: values + 1 for name, values in expected.layers.items()}
    layers["bert/embeddings"] = expected.layers["bert/embeddings"] + 1e-6
    report = compare(expected, moved(expected, layers=layers, loss=expected.loss + 1), batch, 1e-4)
    with pytest.raises(InputError, match=r"first layer to part: bert/encoder/layer_0/output$"):
        check(report, 1e-4, "here")


@settings(max_examples=30, deadline=None)
@given(shapes=st.lists(st.lists(st.integers(0, 5), max_size=3).map(tuple), min_size=1, max_size=5))
def test_streamed_safetensors_read_back(
    shapes: list[tuple[int, ...]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("weights") / "model.safetensors"
    random = np.random.default_rng(0)
    values = {f"{number}": np.asarray(random.normal(size=shape), np.float32) for number, shape in enumerate(shapes)}
    write_safetensors(path, {name: value.shape for name, value in values.items()}, values.values())
    read = load_file(path)
    assert read.keys() == values.keys()
    for name, value in values.items():
        np.testing.assert_array_equal(read[name], value)


def test_a_tensor_of_another_shape_is_never_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"a: found \(2,\), expected \(3,\)"):
        write_safetensors(tmp_path / "w", {"a": (3,)}, [np.zeros(2, np.float32)])
