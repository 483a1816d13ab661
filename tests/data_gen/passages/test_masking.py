"""Masking: invariants on random passages, and statistics of every random choice."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_gen.passages.masking import MaskingConfig
from data_gen.passages.random_numbers import next_below, next_float, seed_generator, shuffle
from kosplinter_common.cli import InputError
from tests.data_gen.masked_records import ID, PIECES, VOCABULARY, WORDS, masked_record

PASSAGES = st.lists(st.sampled_from(WORDS + PIECES), min_size=1, max_size=60).map(lambda t: ["[CLS]", *t, "[SEP]"])
SCHEMES = {
    "spans": {"max_questions_per_seq": 8},
    "pieces": {"max_questions_per_seq": 0, "max_predictions_per_seq": 9},
    "words": {"max_questions_per_seq": 0, "max_predictions_per_seq": 9, "do_whole_word_mask": True},
    "geometric": {"max_questions_per_seq": 0, "max_predictions_per_seq": 9, "geometric_masking_p": 0.2},
    "both": {"max_questions_per_seq": 8, "max_predictions_per_seq": 12},
    "spans and geometric": {"max_questions_per_seq": 8, "max_predictions_per_seq": 12, "geometric_masking_p": 0.2},
}
SHARES = st.sampled_from([0.15, 0.5, 1.0])
# 4 standard deviations: a wrong alarm once in 16,000 checks, and seeds are fixed
DEVIATIONS = 4.0


def assert_share(count, total, expected):
    deviation = (expected * (1 - expected) / total) ** 0.5
    assert abs(count / total - expected) < DEVIATIONS * deviation, (count / total, expected)


@settings(deadline=None, max_examples=600)
@given(
    PASSAGES,
    st.sampled_from(sorted(SCHEMES)),
    st.sampled_from(["first", "all", "particle"]),
    SHARES,
    st.integers(0, 99),
)
def test_invariants(tokens, scheme, boundary, share, seed):
    config = MaskingConfig(64, span_boundary=boundary, masked_lm_prob=share, **SCHEMES[scheme])
    record, original = masked_record(tokens, config, seed)
    expected = np.full(64, ID["[PAD]"])
    expected[: len(original)] = original
    mask = (np.arange(64) < len(original)).astype(int)
    answers = np.zeros(64, bool)
    limit = min(config.max_questions_per_seq, max(1, round(share * len(tokens))))
    num_questions = 0
    if config.max_questions_per_seq:
        num_questions = check_questions(record, original, expected, mask, answers)
        assert num_questions <= limit
    if config.max_predictions_per_seq:
        check_predictions(record, original, expected, mask, answers, num_questions, config)
    np.testing.assert_array_equal(record["input_ids"], expected)
    np.testing.assert_array_equal(record["input_mask"], mask)


def check_questions(record, original, expected, mask, answers):
    """Checks the questions, applies them to what is expected, and marks the answers; returns their number."""
    names = ("positions", "beginnings", "endings", "weights")
    positions, beginnings, endings, weights = (record[f"masked_span_{name}"] for name in names)
    count = int(weights.sum())
    assert weights.tolist() == [1] * count + [0] * (len(weights) - count)
    for padding in (positions[count:], beginnings[count:], endings[count:]):
        assert not padding.any()
    assert np.all(np.diff(positions[:count]) > 0)
    hidden = np.zeros(len(expected), bool)
    for position, begin, end in zip(positions[:count], beginnings[:count], endings[:count], strict=True):
        length = end - begin + 1
        np.testing.assert_array_equal(original[position : position + length], original[begin : end + 1])
        assert not hidden[position : position + length].any()
        hidden[position : position + length] = True
        answers[begin : end + 1] = True
        expected[position] = ID["[QUESTION]"]
        expected[position + 1 : position + length] = ID["[PAD]"]
        mask[position + 1 : position + length] = 0
    assert not (hidden & answers).any()
    return count


def check_predictions(record, original, expected, mask, answers, num_questions, config):
    positions, labels, weights = (record[f"masked_lm_{name}"] for name in ("positions", "ids", "weights"))
    count = int(weights.sum())
    assert weights.tolist() == [1] * count + [0] * (len(weights) - count)
    assert not positions[count:].any() and not labels[count:].any()
    assert count <= max(config.max_predictions_per_seq - num_questions, 0)
    if config.geometric_masking_p:
        assert count <= config.masked_lm_prob * len(original)
    else:
        assert num_questions + count <= max(num_questions, round(config.masked_lm_prob * len(original)), 1)
    assert np.all(np.diff(positions[:count]) > 0)
    for position, label in zip(positions[:count], labels[:count], strict=True):
        assert label == original[position] and mask[position] and not answers[position]
        assert original[position] not in (ID["[CLS]"], ID["[SEP]"])
        replaced = record["input_ids"][position]
        assert VOCABULARY.tokens[replaced] in ("[MASK]", *WORDS, *PIECES)
        expected[position] = replaced


@pytest.mark.parametrize("scheme", ["words", "geometric"])
def test_words_are_masked_whole(scheme):
    tokens = ["[CLS]", *["서울", "##시", "##에서", "부산", "대구", "##는", ".", "7", "A", "##이", "##시"] * 3, "[SEP]"]
    config = MaskingConfig(64, masked_lm_prob=0.4, **(SCHEMES[scheme] | {"max_predictions_per_seq": 30}))
    for seed in range(200):
        record, _ = masked_record(tokens, config, seed)
        chosen = set(record["masked_lm_positions"][: int(record["masked_lm_weights"].sum())].tolist())
        for position in range(1, len(tokens) - 1):
            if tokens[position].startswith("##"):
                assert (position in chosen) == (position - 1 in chosen)


LONG = ["[CLS]", *[f"w{i}" for i in range(500)], "[SEP]"]
LONG_VOCABULARY = VOCABULARY.__class__("long.txt", (*VOCABULARY.tokens, *LONG[1:-1]))


def replacements(config, records=200):
    """How often a chosen token became [MASK], another token, or stayed, over many records without repeated words."""
    kinds, chosen = Counter(), 0
    for seed in range(records):
        record, original = masked_record(LONG, config, seed, LONG_VOCABULARY)
        count = int(record["masked_lm_weights"].sum())
        for position in record["masked_lm_positions"][:count]:
            token = record["input_ids"][position]
            kinds["mask" if token == ID["[MASK]"] else "kept" if token == original[position] else "random"] += 1
        chosen += count
    return kinds, chosen


@pytest.mark.parametrize("scheme", ["pieces", "words"])
def test_80_10_10_by_piece(scheme):
    config = MaskingConfig(512, **(SCHEMES[scheme] | {"max_predictions_per_seq": 80}))
    kinds, chosen = replacements(config)
    assert chosen == 200 * round(0.15 * 502)
    same_by_chance = 0.1 / 513  # a random token that happens to be the same one
    assert_share(kinds["mask"], chosen, 0.8)
    assert_share(kinds["random"], chosen, 0.1 - same_by_chance)
    assert_share(kinds["kept"], chosen, 0.1 + same_by_chance)


def runs(positions):
    return np.split(positions, np.flatnonzero(np.diff(positions) != 1) + 1)


def geometric_spans(max_span_length, predictions, records):
    """The runs of tokens that were chosen, in records of 500 words: spans that do not touch, but for a few."""
    config = MaskingConfig(512, 0, predictions, max_span_length, geometric_masking_p=0.3, masked_lm_prob=1.0)
    for seed in range(records):
        record, _ = masked_record(LONG, config, seed, LONG_VOCABULARY)
        assert record["masked_lm_weights"].sum() == predictions
        for span in runs(record["masked_lm_positions"]):
            yield seed, span, record["input_ids"][span]


def test_lengths_of_geometric_spans():
    """A budget of 4 tokens and spans of up to 4: the first draw k leaves 4 - k for the others.

    So 4 is seen for a first draw of 4; 3 for a first draw of 3, or of 1 and then one of 3 (of those that fit in 3).
    Chance touches are below 4 / 500 a record.
    """
    found = Counter()
    for seed, span, _ in geometric_spans(4, 4, 5000):
        found[seed] = max(found[seed], len(span))
    longest = Counter(found.values())
    p = np.array([0.3 * 0.7**k for k in range(4)]) / (1 - 0.7**4)
    touching = 0.01
    assert abs(longest[4] / 5000 - p[3]) < touching + DEVIATIONS * (p[3] / 5000) ** 0.5
    three = p[2] + p[0] * p[2] / p[:3].sum()
    assert abs(longest[3] / 5000 - three) < touching + DEVIATIONS * (three / 5000) ** 0.5


def test_a_geometric_span_is_replaced_as_one():
    masked, mixed, spans = 0, 0, 0
    for _, _, replaced in geometric_spans(3, 9, 3000):
        is_mask = replaced == ID["[MASK]"]
        mixed += 0 < is_mask.sum() < len(is_mask)
        masked += is_mask[0]
        spans += 1
    assert mixed < 0.02 * spans  # where two spans touch
    assert_share(masked, spans, 0.8)


def test_the_answer_is_a_random_occurrence():
    tokens = ["[CLS]", *["서울", ".", "부산", ".", "서울", "A", "7", ".", "대구", "서울", "이", ".", "서울"], "[SEP]"]
    config = MaskingConfig(16, max_questions_per_seq=10, masked_lm_prob=1.0)
    places = Counter()
    for seed in range(4000):
        record, _ = masked_record(tokens, config, seed)
        assert record["masked_span_weights"].sum() == 3
        places[int(record["masked_span_beginnings"][0])] += 1
    assert sorted(places) == [1, 5, 10, 13]
    for count in places.values():
        assert_share(count, 4000, 0.25)


def test_clusters_come_in_random_order():
    tokens = ["[CLS]", *["서울", ".", "부산", ".", "대구", ".", "서울", ".", "부산", ".", "대구"], "[SEP]"]
    config = MaskingConfig(16, max_questions_per_seq=1)
    asked = Counter()
    for seed in range(3000):
        record, original = masked_record(tokens, config, seed)
        assert record["masked_span_weights"].sum() == 1
        asked[int(original[record["masked_span_positions"][0]])] += 1
    assert len(asked) == 3
    for count in asked.values():
        assert_share(count, 3000, 1 / 3)


def test_share_of_questions_and_predictions():
    tokens = ["[CLS]", *(WORDS[:5] * 20), "[SEP]"]
    for questions, predictions, expected in [(30, 0, (15, 0)), (4, 0, (4, 0)), (4, 80, (4, 11)), (4, 8, (4, 4))]:
        record, _ = masked_record(tokens, MaskingConfig(128, questions, predictions, max_span_length=1), 1)
        found = record["masked_span_weights"].sum(), record.get("masked_lm_weights", np.zeros(1)).sum()
        assert found == expected


def test_random_numbers_are_even_and_differ_by_every_part_of_the_seed():
    generator = np.empty(1, np.uint64)
    seed_generator(generator, np.arange(5))
    floats = np.array([next_float(generator) for _ in range(20000)])
    assert floats.min() >= 0 and floats.max() < 1
    assert abs(floats.mean() - 0.5) < DEVIATIONS * (1 / 12 / 20000) ** 0.5
    counts = Counter(int(next_below(generator, 5)) for _ in range(20000))
    assert sorted(counts) == [0, 1, 2, 3, 4]
    for count in counts.values():
        assert_share(count, 20000, 0.2)
    last = Counter()
    for _ in range(5000):
        values = np.arange(4).astype(np.int32)
        shuffle(generator, values)
        last[tuple(values)] += 1
    assert len(last) == 24
    for count in last.values():
        assert_share(count, 5000, 1 / 24)
    states = set()
    for part in range(5):
        for value in (-1, 0, 7, 2**40):
            seed = np.arange(5)
            seed[part] += value
            seed_generator(generator, seed)
            states.add(int(generator[0]))
    assert len(states) == 16  # value 0 is the same seed five times


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_seq_length": 2}, "max_seq_length: found 2, expected 3"),
        ({"max_questions_per_seq": 0}, "nothing to learn"),
        ({"masked_lm_prob": 0.0}, "masked_lm_prob: found 0.0"),
        ({"masked_lm_prob": 1.5}, "masked_lm_prob: found 1.5"),
        ({"geometric_masking_p": 1.0}, "geometric_masking_p: found 1.0"),
        ({"geometric_masking_p": 0.2, "do_whole_word_mask": True}, "choose one"),
        ({"span_boundary": "none"}, "found 'none'"),
        ({"max_span_length": 0}, "max_span_length: found 0"),
    ],
)
def test_wrong_options_are_named(options, message):
    with pytest.raises(InputError, match=message):
        MaskingConfig(**options)
