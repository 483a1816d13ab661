"""Vocabulary files and the tokenizer in front of WordPiece."""

import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers.models import WordPiece

from data_gen.passages import tokenization
from data_gen.passages.tokenization import SPECIAL_TOKENS, TextTokenizer, Vocabulary
from kosplinter_common.cli import InputError

TOKENS = (
    *SPECIAL_TOKENS,
    "서울",
    "서",
    "##울",
    "##에서",
    "한",
    "강",
    "##강",
    "a",
    "A",
    "cafe",
    "café",
    "[",
    "]",
    ".",
    "漢",
    "字",
)
VOCABULARY = Vocabulary("vocab.txt", TOKENS)


def tokens_of(text, do_lower_case=False):
    ids, ends = TextTokenizer(VOCABULARY, do_lower_case).encode([text])
    assert ends.tolist() == [len(ids)]
    return [TOKENS[number] for number in ids]


def test_wordpieces_of_korean():
    assert tokens_of("서울에서 한강. A漢字") == ["서울", "##에서", "한", "##강", ".", "A", "漢", "字"]
    assert tokens_of("부산") == ["[UNK]"]


def test_special_tokens_in_text_are_text():
    assert tokens_of("[MASK]") == ["[", "[UNK]", "]"]


def test_lower_casing_strips_accents_and_leaves_hangul_whole():
    assert tokens_of("A Café 한", True) == ["a", "cafe", "한"]
    assert tokens_of("A café 한", False) == ["A", "café", "한"]


def test_a_word_that_is_too_long_is_unknown():
    assert tokens_of("서" + "강" * 99) == ["서", *["##강"] * 99]
    assert tokens_of("서" + "강" * 100) == ["[UNK]"]


def test_characters_that_the_vocabulary_lacks_are_read_as_others_and_counted():
    tokens = (*TOKENS, '"', "-", "“")
    tokenizer = TextTokenizer(Vocabulary("vocab.txt", tokens), False)
    ids, ends = tokenizer.encode(["“서울”…", "한 – Ａ", "서울"])
    assert [tokens[number] for number in ids] == ["“", "서울", '"', ".", ".", ".", "한", "-", "A", "서울"]
    assert ends.tolist() == [6, 9, 10] and tokenizer.characters_replaced == 4
    tokenizer.encode(["””서울”"])  # words that are remembered count, too
    tokenizer.encode(["””서울”"])
    assert tokenizer.characters_replaced == 10


TEXTS = st.lists(st.text(alphabet="서울한강 aAé.漢㐀㐁\t\u00a0\u0301", max_size=40), max_size=6)


@settings(deadline=None, max_examples=300)
@given(TEXTS, st.integers(1, 20), st.integers(0, 30), st.booleans())
def test_batches_and_memory_change_nothing(segments, batch, memory, do_lower_case):
    """Word by word, in batches, and remembered or not: the same as the Rust tokenizer gives for whole segments."""
    plain = tokenization.TextTokenizer(VOCABULARY, do_lower_case).backend
    plain.model = WordPiece(
        {token: i for i, token in enumerate(TOKENS)}, unk_token="[UNK]", max_input_chars_per_word=100
    )
    expected = [plain.encode(segment, add_special_tokens=False).ids for segment in segments]
    tokenizer = TextTokenizer(VOCABULARY, do_lower_case)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tokenization, "_BATCH_CHARACTERS", batch)
        patch.setattr(tokenization, "_MAX_REMEMBERED_CHARACTERS", memory)
        for _ in range(2):
            ids, ends = tokenizer.encode(segments)
            assert [part.tolist() for part in np.split(ids, ends[:-1])] == (expected or [[]])
            assert len(ends) == len(segments)


def test_real_text_gives_the_tokens_of_the_rust_tokenizer():
    shared = Path(__file__).resolve().parents[4] / "shared"
    if not shared.is_dir():
        pytest.skip("no ../shared beside the repository")
    vocabulary = Vocabulary.load(shared / "vocab" / "koelectra-vocab.txt")
    lines = [
        line.replace("\n", " ")
        for path in sorted((shared / "data" / "korean_text").glob("*.txt"))
        for line in path.open(encoding="utf-8").readlines(20_000)
    ]
    tokenizer = TextTokenizer(vocabulary, False)
    ids, ends = tokenizer.encode(lines)
    read = [tokenizer.with_known_characters(line) for line in lines]
    expected = [e.ids for e in tokenizer.backend.encode_batch_fast(read, add_special_tokens=False)]
    assert [part.tolist() for part in np.split(ids, ends[:-1])] == expected


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "vocabulary is empty"),
        (b"\xff\xfe", "not UTF-8"),
        ("\n".join([*SPECIAL_TOKENS, "가", "나", "가"]).encode(), "'가' stands on line 7 and again on line 9"),
        ("\n".join(SPECIAL_TOKENS[:-1]).encode(), r"special token \[QUESTION\] not found among 5 tokens"),
    ],
)
def test_wrong_vocabularies_are_named(tmp_path, content, message):
    path = tmp_path / "vocab.txt"
    path.write_bytes(content)
    with pytest.raises(InputError, match=rf"vocab\.txt: .*{message}"):
        Vocabulary.load(path)


def test_a_missing_vocabulary_is_named(tmp_path):
    with pytest.raises(InputError, match=r"none\.txt: vocabulary file not found"):
        Vocabulary.load(tmp_path / "none.txt")


def test_ids_are_line_numbers(tmp_path):
    path = tmp_path / "vocab.txt"
    path.write_text("\n".join(TOKENS) + "\n", encoding="utf-8")
    vocabulary = Vocabulary.load(path)
    assert vocabulary.tokens == TOKENS and vocabulary.id("서울") == 6


RUNS = st.lists(
    st.tuples(
        st.sampled_from(["서울", "한강", "a", ".", "·", "漢", "😀", "1", "“"]), st.sampled_from([1, 1, 2, 60, 90])
    ),
    max_size=30,
)


@settings(deadline=None)
@given(RUNS, st.booleans())
def test_a_text_without_spaces_is_given_to_the_library_in_parts_and_has_the_same_tokens(runs, do_lower_case):
    text = "".join(part * times for part, times in runs)
    expected = TextTokenizer(VOCABULARY, do_lower_case).encode([text])[0].tolist()
    with pytest.MonkeyPatch.context() as patch:
        size = 110  # more than a word that is not taken apart
        patch.setattr(tokenization, "_PIECE_CHARACTERS", size)
        patch.setattr(tokenization, "_PIECE", re.compile(tokenization._PIECE.pattern.replace("131072", str(size))))
        tokenizer = TextTokenizer(VOCABULARY, do_lower_case)
        assert tokenizer.encode([text])[0].tolist() == expected
        assert all(len(piece) <= 2 * size for piece in tokenization._pieces(text))


@pytest.mark.parametrize("text", ["가" * 1_000_000, "가나다라마바사아자차," * 90_000, "漢" * 900_000, "ab+/" * 250_000])
def test_parts_are_small_whatever_the_text(text):
    parts = list(tokenization._pieces(text))
    assert max(map(len, parts)) <= 1 << 18
    assert "".join(parts) == text or set(text) == {"가"}  # of one word, which is [UNK], a part
