"""The decoder of documents against one that looks at every span of every window."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pytest import MonkeyPatch, approx

from finetuning.qa import decoding
from finetuning.qa.decoding import Decoded, DecodingSettings, WindowLogits, decode_document
from finetuning.qa.features import (
    FeatureSettings,
    OffsetTokenizer,
    QAFeatures,
    TokenizedContext,
    build_features,
    question_template,
)
from finetuning.qa.questions import QAExample
from tests.finetuning.tiny_qa import splinter_tokenizer

TOKENIZER = splinter_tokenizer()
TEXT = "김민수는 서울에서 태어났다. 지금도 부산에 살며 걷는다."


def windowed_features(context: str, room: int = 7, stride: int = 3) -> QAFeatures:
    template = question_template(TOKENIZER, hide_sep=True)
    examples = [QAExample("0", "가?", context, (), ("가",), "글")]
    sizes = FeatureSettings(max_seq_length=room + template.num_special + 2, doc_stride=stride)
    return build_features(examples, OffsetTokenizer(TOKENIZER), template, sizes, with_labels=False)


def byte_level(features: QAFeatures) -> QAFeatures:
    """As a tokenizer of bytes would cut it: each wordpiece twice, and a white space of its own before some words."""
    text, pieces = features.examples[0].context, features.contexts[0]
    bounds = []
    for start, end in zip(pieces.starts.tolist(), pieces.ends.tolist(), strict=True):
        blank = start > 0 and text[start - 1] == " "
        bounds += [(start - 1, start)] * blank + [(start - blank, end), (start, end)]
    starts, ends = np.array(bounds, np.int32).T
    features.contexts[0] = TokenizedContext(np.zeros(len(starts), np.int32), starts, ends)
    windows = [(0, first, min(first + 7, len(starts)), 0, 0) for first in range(0, len(starts) - 4, 3)]
    features.windows = np.array(windows, np.int32)
    return features


def logits_of(features: QAFeatures, seed: int, scale: float = 3.0, null_scores: Any = None) -> WindowLogits:
    generator = np.random.default_rng(seed)
    firsts = np.r_[0, (features.windows[:, 2] - features.windows[:, 1]).cumsum()]
    starts, ends = (generator.normal(size=(2, firsts[-1])) * scale).astype(np.float32)
    nulls = generator.normal(size=len(features)) if null_scores is None else np.array(null_scores, float)
    return WindowLogits(starts, ends, firsts, nulls)


def every_span(features: QAFeatures, logits: WindowLogits, longest: int) -> dict[tuple[int, int], float]:
    """Characters and best score of each distinct span with text."""
    best: dict[tuple[int, int], float] = {}
    for window, (_, first, last, _, _) in enumerate(features.windows.tolist()):
        base = int(logits.firsts[window]) - first
        for i in range(first, last):
            for j in range(i, min(i + longest, last)):
                score = float(logits.starts[base + i]) + float(logits.ends[base + j])
                span = features.answer_span(0, i, j)
                if span[0] < span[1]:
                    best[span] = max(score, best.get(span, -math.inf))
    return best


def decoded(features: QAFeatures, logits: WindowLogits, longest: int, n_best: int, with_null: bool = False) -> Decoded:
    return decode_document(features, 0, len(features), logits, DecodingSettings(longest, n_best, with_null))


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 2**32 - 1),
    words=st.integers(1, 9),
    room=st.integers(1, 12),
    stride=st.integers(1, 12),
    longest=st.integers(1, 30),
    n_best=st.integers(1, 12),
    scale=st.sampled_from([4.0, 40.0]),
    bytewise=st.booleans(),
    with_null=st.booleans(),
)
def test_answers_equal_the_naive_decoder_over_all_windows(
    seed: int,
    words: int,
    room: int,
    stride: int,
    longest: int,
    n_best: int,
    scale: float,
    bytewise: bool,
    with_null: bool,
) -> None:
    features = windowed_features(" ".join(TEXT.split()[:words]), room, stride)
    features = byte_level(features) if bytewise else features
    logits = logits_of(features, seed, scale)
    best = every_span(features, logits, longest)
    expected = sorted(best.items(), key=lambda item: (-item[1], item[0]))
    found = decoded(features, logits, longest, n_best, with_null)
    assert [(a.start, a.end) for a in found.answers] == [span for span, _ in expected[:n_best]]
    assert all(a.text == features.examples[0].context[a.start : a.end] for a in found.answers)
    null_score = min(logits.null_scores)
    total = np.logaddexp.reduce([*best.values(), *([null_score] if with_null else [])])
    np.testing.assert_allclose([a.score for a in found.answers], [s for _, s in expected[:n_best]], rtol=1e-12)
    probabilities = [np.exp(score - total) for _, score in expected[:n_best]]
    np.testing.assert_allclose([a.probability for a in found.answers], probabilities, rtol=1e-9)
    assert found.null_difference == approx(null_score - expected[0][1], abs=1e-9)


def test_a_span_that_three_windows_show_has_its_whole_probability() -> None:
    features = windowed_features("가 나 다 라 마 바 사 아 자", room=7, stride=1)
    assert len(features) == 3
    logits = logits_of(features, 0, scale=0.0)
    spans = len(every_span(features, logits, 1))
    answers = decoded(features, logits, 1, 20).answers
    assert len(answers) == spans == 9
    assert [answer.probability for answer in answers] == approx([1 / 9] * 9, rel=1e-12)


def test_ties_go_to_the_earlier_start_then_to_the_earlier_end() -> None:
    features = windowed_features("가 나 다 라 마 바 사 아 자", room=7, stride=2)
    found = [(a.start, a.end) for a in decoded(features, logits_of(features, 0, scale=0.0), 3, 5).answers]
    assert found == [(0, 1), (0, 3), (0, 5), (2, 3), (2, 5)]


def test_no_answer_scores_as_in_the_window_where_it_is_least_likely() -> None:
    features = windowed_features("가 나 다 라 마 바 사 아 자", room=7, stride=1)
    logits = logits_of(features, 0, scale=0.0, null_scores=[5.0, -2.0, 1.0])
    assert decoded(features, logits, 1, 1).null_difference == -2.0


def test_no_answer_takes_its_share_of_the_probability() -> None:
    features = windowed_features("가")
    logits = logits_of(features, 0, scale=0.0, null_scores=[0.0])
    assert decoded(features, logits, 1, 1, with_null=True).answers[0].probability == approx(0.5)
    assert decoded(features, logits, 1, 1).answers[0].probability == approx(1.0)


def test_probabilities_are_sums_in_float64() -> None:
    features = windowed_features("가 나 다 라 마 바 사", room=7)
    logits = logits_of(features, 0, scale=0.0)
    logits.starts[:] = 1e4
    logits.ends[0] = 1e-3  # lost beside 10,000 in float32
    answers = decoded(features, logits, 1, 7).answers
    assert answers[0].probability / answers[1].probability == approx(math.exp(1e-3), rel=1e-9)
    assert sum(answer.probability for answer in answers) == approx(1, abs=1e-12)


@pytest.mark.parametrize("bytewise", [False, True])
def test_a_long_document_is_decoded_in_blocks_of_bounded_size(monkeypatch: MonkeyPatch, bytewise: bool) -> None:
    features = windowed_features(" ".join([TEXT] * 6))
    features = byte_level(features) if bytewise else features
    logits = logits_of(features, 1)
    whole = decoded(features, logits, 5, 12, with_null=True)
    tables = []
    spans = decoding._best_spans

    def noting(table: np.ndarray, first: int, n_best: int) -> Any:
        tables.append(table.shape)
        return spans(table, first, n_best)

    monkeypatch.setattr(decoding, "_best_spans", noting)
    monkeypatch.setattr(decoding, "BLOCK_STARTS", 4)
    blocks = decoded(features, logits, 5, 12, with_null=True)
    assert len(tables) > 15 and max(tables) <= (8, 5)
    assert [(a.start, a.end, a.score) for a in blocks.answers] == [(a.start, a.end, a.score) for a in whole.answers]
    np.testing.assert_allclose(
        [a.probability for a in blocks.answers], [a.probability for a in whole.answers], rtol=1e-12
    )
