"""The fast decoder against one that looks at every span."""

import math
from typing import Any

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pytest import approx
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from finetuning.qa.decoding import WindowSpans, best_spans, decode_documents
from finetuning.qa.features import FeatureSettings, OffsetTokenizer, QAFeatures, build_features, question_template
from finetuning.qa.questions import QAExample
from tests.finetuning.tiny_qa import splinter_tokenizer


def naive_spans(
    starts: np.ndarray, ends: np.ndarray, context: np.ndarray, longest: int
) -> list[tuple[float, int, int]]:
    """All allowed spans of one window, best first."""
    positions = range(len(starts))
    allowed = [(i, j) for i in positions for j in positions if context[i] and context[j] and i <= j < i + longest]
    return sorted(((float(starts[i]) + float(ends[j]), i, j) for i, j in allowed), reverse=True)


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 2**32 - 1),
    length=st.integers(1, 24),
    longest=st.integers(1, 30),
    n_best=st.integers(1, 12),
    scale=st.sampled_from([4.0, 40.0]),
)
def test_best_spans_equal_the_naive_decoder(seed: int, length: int, longest: int, n_best: int, scale: float) -> None:
    generator = np.random.default_rng(seed)
    starts, ends = (generator.normal(size=(2, 3, length)) * scale).astype(np.float32)
    first = generator.integers(0, length, 3)
    last = np.array([generator.integers(f, length) for f in first])
    positions = np.arange(length)
    context = (positions >= first[:, None]) & (positions <= last[:, None])
    spans = best_spans(*map(torch.from_numpy, (starts, ends, context)), longest, n_best)
    for row in range(3):
        expected = naive_spans(starts[row], ends[row], context[row], longest)
        found = [
            (score, start, end)
            for score, start, end in zip(*(part[row].tolist() for part in spans[:3]), strict=True)
            if math.isfinite(score)
        ]
        assert [span[1:] for span in found] == [span[1:] for span in expected[:n_best]]
        np.testing.assert_allclose([s[0] for s in found], [s[0] for s in expected[:n_best]], rtol=1e-5, atol=1e-5)
        log_total = np.logaddexp.reduce([score for score, _, _ in expected])
        np.testing.assert_allclose(spans.log_total[row], log_total, rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(spans.null_scores[row], starts[row, 0] + ends[row, 0], rtol=1e-5, atol=1e-5)


def test_total_counts_small_ends_of_large_starts() -> None:
    starts = torch.tensor([[-100.0, 100.0, -100.0]])
    ends = torch.tensor([[50.0, -50.0, -50.0]])
    spans = best_spans(starts, ends, torch.ones(1, 3, dtype=torch.bool), max_answer_length=2, n_best=1)
    assert spans.log_total.item() == approx(50 + math.log(2))


class LargestStorage(TorchDispatchMode):
    """Elements of the largest tensor that was written while this was entered."""

    elements = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        tensors = [value for value in tree_leaves(result) if isinstance(value, torch.Tensor)]
        self.elements = max([self.elements, *(t.untyped_storage().nbytes() // t.itemsize for t in tensors)])
        return result


def test_no_table_of_all_spans_is_written() -> None:
    logits, mask = torch.randn(8, 384), torch.ones(8, 384, dtype=torch.bool)
    with LargestStorage() as largest:
        best_spans(logits, logits, mask, max_answer_length=30, n_best=20)
    assert 0 < largest.elements < 8 * 384 * 30 / 5


def test_spans_in_half_precision_are_scored_in_float64() -> None:
    logits = torch.tensor([[0.0, 1.0, 2.0]], dtype=torch.bfloat16)
    assert best_spans(logits, logits, torch.ones(1, 3, dtype=torch.bool), 2, 2).scores.dtype == torch.float64


def windowed_features(contexts: list[str]) -> QAFeatures:
    tokenizer = splinter_tokenizer()
    examples = [QAExample(str(i), "누가?", text, (), ("가",), "글") for i, text in enumerate(contexts)]
    template = question_template(tokenizer, hide_sep=True)
    sizes = FeatureSettings(max_seq_length=14, doc_stride=3)
    return build_features(examples, OffsetTokenizer(tokenizer), template, sizes, with_labels=False)


def all_spans_naively(
    features: QAFeatures, starts: np.ndarray, ends: np.ndarray, longest: int
) -> dict[str, list[tuple[float, int, int]]]:
    found: dict[str, list[tuple[float, int, int]]] = {example.id: [] for example in features.examples}
    for i in range(len(features)):
        window, owner = features[i], int(features.windows[i, 0])
        context = np.zeros(starts.shape[1], bool)
        context[window["context_start"] : window["context_end"]] = True
        for score, first, last in naive_spans(starts[i], ends[i], context, longest):
            shift = int(features.context_offsets[i])
            span = features.answer_span(owner, first + shift, last + shift)
            found[features.examples[owner].id].append((score, *span))
    return found


def test_documents_equal_the_naive_decoder_over_all_windows() -> None:
    features = windowed_features(
        ["김민수는 서울에서 태어났다. 지금도 부산에 살며 걷는다.", "가나", "이영희 박철수 강가"]
    )
    generator = np.random.default_rng(0)
    starts, ends = generator.normal(size=(2, len(features), 14)).astype(np.float32) * 3
    context = np.zeros((len(features), 14), bool)
    for i in range(len(features)):
        context[i, features[i]["context_start"] : features[i]["context_end"]] = True
    spans = best_spans(*map(torch.from_numpy, (starts, ends, context)), 5, 8)
    decoded = decode_documents(features, spans, 6, with_null=False)
    assert len(features) > 4
    for question, candidates in all_spans_naively(features, starts, ends, 5).items():
        best: dict[tuple[int, int], float] = {}
        for score, start, end in candidates:
            best[start, end] = max(score, best.get((start, end), -math.inf))
        expected = sorted(best.items(), key=lambda item: -item[1])[:6]
        answers = decoded[question].answers
        assert [(a.start, a.end) for a in answers] == [span for span, _ in expected]
        total = np.logaddexp.reduce([score for score, _, _ in candidates])
        np.testing.assert_allclose(
            [a.probability for a in answers], [np.exp(s - total) for _, s in expected], rtol=1e-3
        )


def test_no_answer_takes_its_share_of_the_probability() -> None:
    features = windowed_features(["가나"])
    spans = WindowSpans(
        scores=torch.tensor([[2.0]]),
        starts=torch.tensor([[features[0]["context_start"]]]),
        ends=torch.tensor([[features[0]["context_start"]]]),
        log_total=torch.tensor([2.0]),
        null_scores=torch.tensor([2.0]),
    )
    with_null = decode_documents(features, spans, 1, with_null=True)["0"]
    assert with_null.answers[0].probability == approx(0.5) and with_null.null_difference == 0.0
    assert decode_documents(features, spans, 1, with_null=False)["0"].answers[0].probability == approx(1.0)
