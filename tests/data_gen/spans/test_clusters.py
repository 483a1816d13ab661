"""Span rules: each of the paper's four, the three boundary rules, and all of them against a naive oracle."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_gen.spans.clusters import recurring_span_clusters
from data_gen.spans.josa import JOSA_EOMI
from kosplinter_common.cli import InputError
from tests.data_gen.spans.naive_spans import naive_clusters

# Few pieces, so that everything recurs; two josa, two continuations that are none, punctuation, stop words.
PIECES = ["서울", "부산", "이", "그", "A", "##시", "##에서", "##는", "##는데", "##이", ".", "[UNK]", "The", "the"]
STOPWORDS = frozenset({"이", "그", "the", "그이", "이는"})
PASSAGES = st.integers(2, len(PIECES)).flatmap(lambda kinds: st.lists(st.sampled_from(PIECES[:kinds]), max_size=60))
BOUNDARIES = ["first", "all", "particle"]


@settings(deadline=None, max_examples=400)
@given(PASSAGES, st.integers(1, 12), st.sampled_from(BOUNDARIES), st.booleans())
def test_clusters_equal_the_naive_ones(tokens, max_span_length, boundary, use_stopwords):
    stopwords = STOPWORDS if use_stopwords else frozenset()
    found = recurring_span_clusters(tokens, max_span_length, stopwords, boundary)
    assert found == naive_clusters(tokens, max_span_length, stopwords, boundary, JOSA_EOMI)


@settings(deadline=None, max_examples=200)
@given(PASSAGES, st.integers(1, 12), st.sampled_from(["all", "particle"]))
def test_invariants(tokens, max_span_length, boundary):
    taken = []
    for cluster in recurring_span_clusters(tokens, max_span_length, STOPWORDS, boundary):
        assert len(cluster) >= 2
        assert len({tuple(tokens[start : end + 1]) for start, end in cluster}) == 1
        assert cluster == sorted(cluster)
        for start, end in cluster:
            assert end - start < max_span_length
            taken.extend(range(start, end + 1))
    assert len(taken) == len(set(taken))


def spans_of(text, **options):
    tokens = text.split()
    return {
        " ".join(tokens[cluster[0][0] : cluster[0][1] + 1]): [start for start, _ in cluster]
        for cluster in recurring_span_clusters(tokens, **options)
    }


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_a_span_recurs_as_whole_words(boundary):
    assert spans_of("x 서울 ##시 y z w ##시 v", boundary=boundary) == {}
    assert spans_of("서울 ##시 x 서울 ##시", boundary=boundary) == {"서울 ##시": [0, 3]}


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_a_span_is_maximal(boundary):
    assert spans_of("a b c x a b c y", boundary=boundary) == {"a b c": [0, 4]}
    assert spans_of("a b x a b y a", boundary=boundary) == {"a b": [0, 3]}
    assert spans_of("a b x a b y a z a", boundary=boundary) == {"a b": [0, 3], "a": [6, 8]}


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_an_occurrence_that_touches_a_longer_span_is_pruned(boundary):
    assert spans_of("w x y z . x y z . w x q . w x r", boundary=boundary) == {"x y z": [1, 5], "w x": [9, 13]}
    assert spans_of("x y z w . x y z . q z w . r z w", boundary=boundary) == {"x y z": [0, 5], "z w": [10, 14]}


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_a_span_has_a_longest_length(boundary):
    twelve = "a b c d e f g h i j k l"
    assert spans_of(f"{twelve} . {twelve}", boundary=boundary) == {
        "a b c d e f g h i j": [0, 13],
        "k l": [10, 23],
    }


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_a_span_is_not_only_stop_words(boundary):
    options = {"stopwords": frozenset({"the", "of"}), "boundary": boundary}
    assert spans_of("Of the x of the", **options) == {}
    assert spans_of("of the king x of the king", **options) == {"of the king": [0, 4]}


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_punctuation_and_special_tokens_are_in_no_span(boundary):
    assert spans_of("[CLS] a . [UNK] [SEP] [CLS] a . [UNK] [SEP]", boundary=boundary) == {"a": [1, 6]}


def test_stop_words_are_whole_words_except_in_the_reference():
    text = "그 ##러나 a 그 ##러나 b"
    assert spans_of(text, stopwords=frozenset({"그러나"})) == {}
    assert spans_of(text, stopwords=frozenset({"그러나"}), boundary="first") == {"그 ##러나": [0, 3]}
    assert spans_of(text, stopwords=frozenset({"그"})) == {"그 ##러나": [0, 3]}


def test_the_reference_tests_the_first_occurrence_only():
    assert spans_of("서울 x 서울 ##시 y", boundary="first") == {"서울": [0, 2]}
    assert spans_of("서울 ##시 x 서울 y 서울", boundary="first") == {}
    assert spans_of("서울 ##시 x 서울 y 서울", boundary="all") == {"서울": [3, 5]}
    assert spans_of("서울 x 서울 ##시 y", boundary="all") == {}


def test_only_the_reference_keeps_occurrences_that_overlap_each_other():
    assert recurring_span_clusters(["a", "a", "a"], boundary="first") == [[(0, 1), (1, 2)]]
    assert recurring_span_clusters(["a", "a", "a"], boundary="all") == [[(0, 0), (1, 1), (2, 2)]]
    assert recurring_span_clusters(["a", "a", "a", "a"], boundary="all") == [[(0, 1), (2, 3)]]


def test_particles_do_not_part_a_noun_from_itself():
    text = "서울 ##에서 x . 서울 ##은 y . 서울 ##에서 z . 서울 ##시 w"
    assert spans_of(text, boundary="particle") == {"서울": [0, 4, 8]}
    assert spans_of(text, boundary="all") == {"서울 ##에서": [0, 8]}


def test_a_particle_stays_in_a_span_where_it_never_changes():
    assert spans_of("서울 ##에서 x . 서울 ##에서 z", boundary="particle") == {"서울 ##에서": [0, 4]}


def test_pieces_that_are_one_particle_only_together():
    assert "에서는" in JOSA_EOMI
    text = "서울 ##에서 ##는 x . 서울 ##은 y"
    assert spans_of(text, boundary="particle") == {"서울": [0, 5]}


def test_a_noun_that_is_a_stop_word_is_no_span_under_particles_either():
    assert spans_of("그 ##는 x . 그 ##를 y", boundary="particle", stopwords=frozenset({"그"})) == {}


def test_ties_go_by_the_first_place_of_the_first_piece():
    # "b c" and "c a" overlap; b stands earlier in the text than c
    assert spans_of("b x c a . b c a . b c . c a", boundary="all") == {"b c": [5, 9], "c a": [2, 12]}


@pytest.mark.parametrize("tokens", [[], ["a"], ["##a", "##a"], ["."] * 600])
def test_passages_without_spans(tokens):
    assert recurring_span_clusters(tokens) == []


def test_a_passage_of_one_repeated_token():
    clusters = recurring_span_clusters(["a"] * 25)
    assert clusters == [[(0, 9), (10, 19)], [(20, 21), (22, 23)]]


@pytest.mark.parametrize(("option", "message"), [({"boundary": "some"}, "some"), ({"max_span_length": 0}, "found 0")])
def test_wrong_options_are_named(option, message):
    with pytest.raises(InputError, match=message):
        recurring_span_clusters(["a", "a"], **option)
