"""Hashes, excluded n-grams, spills, and the counting of n-grams in bounded memory."""

import random
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_gen.runs.jobs import shuffled_payloads
from data_gen.spans import exclusion
from data_gen.spans.exclusion import is_excluded, load_excluded
from data_gen.spans.hashing import extend_hash, hash_set, in_hash_set, piece_hashes, text_hash
from data_gen.storage.ngrams import count_ngram, is_filled, merge_ngrams, ngram_counts, spill_ngrams, write_ngrams
from data_gen.storage.spills import KeyRange, key_range, write_spill
from kosplinter_common.cli import InputError


@settings(deadline=None)
@given(st.lists(st.text(max_size=5), max_size=6))
def test_hashes_are_put_together_piece_by_piece(pieces):
    hashes = piece_hashes(pieces)
    value = np.uint64(0)
    for piece in range(len(pieces)):
        value = np.uint64(extend_hash(value, hashes, piece))
    assert int(value) == text_hash("".join(pieces))


def test_hashes_are_the_polynomial_that_files_of_them_were_made_with():
    value = 0
    for byte in "서울 ##에서 ".encode():
        value = (value * 0x9E3779B97F4A7C15 + byte + 1) % 2**64
    assert text_hash("서울 ##에서 ") == value


def test_texts_have_hashes_of_their_own():
    rng = random.Random(3)
    texts = {"".join(rng.choices("가나다ab ", k=rng.randint(0, 6))) for _ in range(50_000)}
    assert len(np.unique(piece_hashes(texts).values)) == len(texts)


def test_hash_sets():
    inside = [f"단어{i}" for i in range(500)]
    table = hash_set(frozenset(inside))
    assert all(in_hash_set(table, np.uint64(text_hash(text))) for text in inside)
    assert not any(in_hash_set(table, np.uint64(text_hash(text + "x"))) for text in inside)
    assert not in_hash_set(hash_set(frozenset()), np.uint64(text_hash("단어")))


@pytest.mark.parametrize("last_line_end", ["", "\n"])
def test_excluded_ngrams_are_found_and_no_others(tmp_path, monkeypatch, last_line_end):
    monkeypatch.setattr(exclusion, "_BLOCK_BYTES", 100)  # lines are cut by blocks
    ngrams = [f"서울 ##{i}" for i in range(3000)]
    (tmp_path / "a").write_text("\n".join(f"{ngram}\t{i}" for i, ngram in enumerate(ngrams[:1000])) + last_line_end)
    (tmp_path / "b").write_text("\n".join(f"{ngram}\t{i}" for i, ngram in enumerate(ngrams[900:2000])) + last_line_end)
    excluded = load_excluded([str(tmp_path / "a"), str(tmp_path / "b")], tmp_path / "hashes")
    found = [is_excluded(excluded, np.uint64(text_hash(ngram + " "))) for ngram in ngrams]
    assert found == [True] * 2000 + [False] * 1000
    assert not is_excluded(excluded, np.uint64(text_hash("서울 ")))


def test_empty_lists_of_ngrams_exclude_nothing(tmp_path):
    (tmp_path / "a").write_text("")
    assert len(load_excluded([str(tmp_path / "a")], tmp_path / "hashes").hashes) == 0


def test_a_line_without_a_count_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(exclusion, "_BLOCK_BYTES", 16)
    (tmp_path / "a").write_text("서울\t3\n부산\t2\n대구\n인천\t1\n")
    with pytest.raises(InputError, match="a: line 3: found '대구', expected an n-gram, a tab, a count"):
        load_excluded([str(tmp_path / "a")], tmp_path / "hashes")
    assert not (tmp_path / "hashes").exists()


NGRAMS = st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=3), max_size=120)


@settings(deadline=None, max_examples=60)
@given(NGRAMS, st.integers(1, 4), st.integers(1, 3))
def test_counts_survive_tables_spills_and_merges(tmp_path_factory, ngrams, num_spills, num_merges):
    folder = tmp_path_factory.mktemp("ngrams")
    table = ngram_counts(128, 3)
    spills = []
    for number in range(num_spills):
        table = ngram_counts(128, 3)
        for ngram in ngrams[number::num_spills]:
            count_ngram(table, np.array(ngram, np.int32))
        spills.append(folder / f"{number}.ngrams")
        spill_ngrams(table, spills[-1])
    merged = [folder / f"merged-{number}" for number in range(num_merges)]
    for number, path in enumerate(merged):
        merge_ngrams(spills, key_range(number, num_merges), 3, path)
    write_ngrams(merged, 3, ["a", "b", "c", "d"], folder / "ngrams.txt")
    counts = Counter(map(tuple, ngrams))
    expected = sorted(counts, key=lambda ngram: (-counts[ngram], ngram))
    lines = [f"{' '.join('abcd'[token] for token in ngram)}\t{counts[ngram]}\n" for ngram in expected]
    assert (folder / "ngrams.txt").read_text() == "".join(lines)


def test_a_table_says_when_it_is_filled():
    table = ngram_counts(16, 2)
    for token in range(13):
        assert is_filled(table) == (token > 12)
        count_ngram(table, np.array([token], np.int32))
    assert is_filled(table)


@settings(deadline=None)
@given(st.lists(st.binary(max_size=4), max_size=40), st.integers(1, 3), st.integers(1, 5), st.integers(0, 9))
def test_spilled_payloads_come_back_in_the_order_of_their_keys(tmp_path_factory, payloads, num_spills, parts, seed):
    folder = tmp_path_factory.mktemp("spills")
    rng = np.random.default_rng(seed)
    keys = rng.integers(0, 2**64, len(payloads), np.uint64)
    keys[: len(keys) // 8] = 0
    spills = []
    for number in range(num_spills):
        order = np.argsort(keys[number::num_spills], kind="stable")
        own = [payloads[number::num_spills][i] for i in order]
        ends = np.cumsum([len(payload) for payload in own]).astype(np.uint64)
        spills.append(folder / str(number))
        write_spill(spills[-1], keys[number::num_spills][order], ends, b"".join(own))
    found = [payload for part in range(parts) for payload in shuffled_payloads(spills, key_range(part, parts))]
    by_spill = [i for number in range(num_spills) for i in range(number, len(payloads), num_spills)]
    assert found == [payloads[i] for i in sorted(by_spill, key=lambda i: keys[i])]


def test_key_ranges_cover_all_keys():
    for total in (1, 3, 7, 1000):
        ranges = [key_range(number, total) for number in range(total)]
        assert ranges[0].low == 0 and ranges[-1].high == 2**64
        assert all(before.high == after.low for before, after in pairwise(ranges))
    assert key_range(3, 4) == KeyRange(key_range(6, 8).low, key_range(7, 8).high)
