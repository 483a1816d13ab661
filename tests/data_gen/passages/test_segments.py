"""Where sentences end, and what a document's tokens are told about the places to cut them at."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_gen.passages.segments import sentences, tokenized_segments
from data_gen.passages.tokenization import SPECIAL_TOKENS, TextTokenizer, Vocabulary

VOCABULARY = Vocabulary("vocab.txt", (*SPECIAL_TOKENS, *"가나다라12.?!…”", "##가", "##나", "##다"))
TOKENIZER = TextTokenizer(VOCABULARY, False)
IS_CONTINUATION = np.array([token.startswith("##") for token in VOCABULARY.tokens])


def tokenized(segments, max_tokens):
    return tokenized_segments(segments, TOKENIZER, max_tokens, IS_CONTINUATION)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("가다. 나다? 라다! 가나", ["가다.", "나다?", "라다!", "가나"]),
        ("그는 “간다.” 했다… 끝", ["그는 “간다.”", "했다…", "끝"]),
        ("1988. 3. 1. 선고 가다. 3.5 나", ["1988. 3. 1. 선고 가다.", "3.5 나"]),
        ("가。나！다", ["가。", "나！", "다"]),
        ("가나다", ["가나다"]),
        ("가다.", ["가다."]),
    ],
)
def test_sentences(text, expected):
    assert sentences(text) == expected


@settings(deadline=None)
@given(st.lists(st.text("가나다12. ?!”", min_size=1, max_size=40), max_size=4), st.integers(1, 12))
def test_cutting_changes_no_token(segments, max_tokens):
    segments = [segment for segment in (" ".join(each.split()) for each in segments) if segment]
    ids, ends = TOKENIZER.encode(segments)
    found = tokenized(segments, max_tokens)
    assert found.ids.tolist() == ids.tolist()
    assert found.segment_ends.tolist() == ends.tolist()
    assert set(ends.tolist()) <= set(found.part_ends.tolist())


def test_only_segments_longer_than_a_record_are_cut_at_sentences():
    found = tokenized(["가나다. 라.", "가 나. 다가 라 1. 나 다."], 6)
    assert [VOCABULARY.tokens[id_] for id_ in found.ids.tolist()] == [
        *["가", "##나", "##다", ".", "라", "."],
        *["가", "나", ".", "다", "##가", "라", "1", ".", "나", "다", "."],
    ]
    assert found.segment_ends.tolist() == [6, 17]
    assert found.part_ends.tolist() == [6, 9, 17]
    assert found.cuts.tolist() == [2, 0, 0, 2, 2, 2, 2, 1, 1, 2, 0, 1, 1, 1, 1, 1, 1, 2]


def test_segments_without_tokens_end_nowhere():
    found = tokenized(["", "가", "", "나"], 8)
    assert found.segment_ends.tolist() == found.part_ends.tolist() == [1, 2]
    assert not len(tokenized([""], 8).ids)
