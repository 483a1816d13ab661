"""A WordPiece vocabulary and its tokenizer: text to token ids by the Rust tokenizer of Hugging Face `tokenizers`."""

import re
import string
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer, normalizers, pre_tokenizers
from tokenizers.models import WordPiece

from kosplinter_common.characters import replacements
from kosplinter_common.vocabularies import CLS, MASK, PAD, QUESTION, SEP, SPECIAL_TOKENS, UNK, read_vocabulary

__all__ = ["CLS", "MASK", "PAD", "QUESTION", "SEP", "SPECIAL_TOKENS", "UNK", "TextTokenizer", "Vocabulary"]

MAX_WORD_CHARACTERS = 100  # of a word that is taken apart, as in transformers' BERT tokenizers; a longer one is [UNK]

_BATCH_CHARACTERS = 1 << 17
_PIECE_CHARACTERS = _BATCH_CHARACTERS  # given to the library at a time
_MAX_REMEMBERED_CHARACTERS = 1 << 20  # of words: about 60 MB with what is kept about them
_RARE_IDEOGRAPHS = range(0x3400, 0x4DC0)  # CJK extension A
_ID_TYPE = np.dtype(np.int32)
# Characters of the basic plane that BERT splits words at: spaces, punctuation (of ASCII, symbols too), ideographs.
_BOUNDARIES = "".join(chr(code) for code in range(1 << 16) if unicodedata.category(chr(code)).startswith("P"))
_BOUNDARY = f"[ {re.escape(string.punctuation + _BOUNDARIES)}\u3400-\u4dbf\u4e00-\u9fff]"
_NEXT_BOUNDARY = re.compile(_BOUNDARY)
# As much text as possible that ends at such a place.
_PIECE = re.compile(f"(?s:.{{1,{_PIECE_CHARACTERS}}})(?<={_BOUNDARY})")


@dataclass(frozen=True)
class Vocabulary:
    """The tokens of a vocabulary file; a token's id is the number of its line, from 0."""

    path: str
    tokens: tuple[str, ...]

    @classmethod
    def load(cls, path: str | Path) -> "Vocabulary":
        """Reads a vocabulary file, one token a line.

        Raises:
          InputError: see read_vocabulary.
        """
        return cls(str(path), tuple(read_vocabulary(path)))

    def id(self, token: str) -> int:
        return self.tokens.index(token)


class TextTokenizer:
    """BERT's normalisation and word splitting, then WordPiece.

    With `do_lower_case`, accents are stripped as in BERT's uncased models, but Hangul syllables stay whole. Tokens do
    not reach over spaces, so what stands between two spaces is tokenised once and remembered, within limits.

    Characters that the vocabulary lacks are read as others that it has, where there are such (kosplinter_common's
    characters.py).

    backend: the tokenizer of the `tokenizers` library that does the work.
    characters_replaced: how many characters were read as others so far.
    """

    def __init__(self, vocabulary: Vocabulary, do_lower_case: bool):
        ids = {token: number for number, token in enumerate(vocabulary.tokens)}
        # An ideograph that is no token: BERT takes ideographs for words of their own, so it can stand between words.
        self._separator = next(chr(code) for code in _RARE_IDEOGRAPHS if chr(code) not in ids)
        self._separator_id, self._unknown_id = len(ids), ids[UNK]
        self.backend = Tokenizer(
            WordPiece(
                ids | {self._separator: self._separator_id},
                unk_token=UNK,
                max_input_chars_per_word=MAX_WORD_CHARACTERS,
            )
        )
        clean = normalizers.BertNormalizer(
            clean_text=True, handle_chinese_chars=True, strip_accents=False, lowercase=do_lower_case
        )
        strip_accents = [normalizers.NFD(), normalizers.StripAccents(), normalizers.NFC()] if do_lower_case else []
        self.backend.normalizer = normalizers.Sequence([clean, *strip_accents])
        self.backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        self.replacements = replacements(ids, do_lower_case)
        self._replaced = re.compile(f"[{re.escape(''.join(self.replacements))}]" if self.replacements else "(?!)")
        self.characters_replaced = 0
        self._ids_of_word: dict[str, bytes] = {}
        self._remembered_characters = 0

    def encode(self, segments: Sequence[str]) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]:
        """Token ids of all segments, one after the other, and where in them each segment ends."""
        lengths = np.zeros(len(segments), np.int64)
        parts: list[bytes] = []
        for numbers, texts in _batches(segments):
            words = [self.with_known_characters(text).split(" ") for text in texts]
            self._learn(dict.fromkeys(chain.from_iterable(words)))
            encoded = [b"".join([self._ids_of_word[word] for word in line]) for line in words]
            np.add.at(lengths, numbers, [len(ids) // _ID_TYPE.itemsize for ids in encoded])
            parts += encoded
        return np.frombuffer(b"".join(parts), _ID_TYPE), np.cumsum(lengths)

    def with_known_characters(self, text: str) -> str:
        """The text as it is read; what is replaced is counted."""
        read, count = self._replaced.subn(lambda found: self.replacements[found[0]], text)
        self.characters_replaced += count
        return read

    def _learn(self, words: Iterable[str]) -> None:
        """Tokenises the words that are not remembered; forgets all others first when they have become too many."""
        if self._remembered_characters > _MAX_REMEMBERED_CHARACTERS:
            self._ids_of_word.clear()
            self._remembered_characters = 0
        new = [word for word in words if word not in self._ids_of_word]
        plain = [word for word in new if self._separator not in word]
        ids = self._ids(f" {self._separator} ".join(plain))
        ends = [*np.flatnonzero(ids == self._separator_id).tolist(), len(ids)]
        start = 0
        for word, end in zip(plain, ends, strict=bool(plain)):
            self._ids_of_word[word] = ids[start:end].tobytes()
            start = end + 1
        for word in new:
            self._remembered_characters += len(word)
            if self._separator in word:
                ids = self._ids(word)
                self._ids_of_word[word] = np.where(ids == self._separator_id, self._unknown_id, ids).tobytes()

    def _ids(self, text: str) -> npt.NDArray[np.int32]:
        ids = []
        for piece in _pieces(text):  # one by one: what the library keeps of a text is hundreds of times as large
            (encoding,) = self.backend.encode_batch_fast([piece], add_special_tokens=False)
            ids.append(np.array(encoding.ids, _ID_TYPE))
        return np.concatenate(ids)


def _batches(segments: Sequence[str]) -> Iterator[tuple[list[int], list[str]]]:
    """Segments with their numbers, so much at a time that the tokenizer's bookkeeping stays small."""
    numbers: list[int] = []
    texts: list[str] = []
    held = 0
    for number, segment in enumerate(segments):
        for text in _cut_at_spaces(segment):
            if held + len(text) > _BATCH_CHARACTERS and texts:
                yield numbers, texts
                numbers, texts, held = [], [], 0
            numbers.append(number)
            texts.append(text)
            held += len(text)
    if texts:
        yield numbers, texts


def _pieces(text: str) -> Iterator[str]:
    """A text in parts whose tokens are those of the text; of a word longer than a part, an [UNK], a part only."""
    start = 0
    while len(text) - start > 2 * _PIECE_CHARACTERS:
        piece = _PIECE.match(text, start)
        if piece:
            yield piece[0]
            start = piece.end()
        else:
            boundary = _NEXT_BOUNDARY.search(text, start + _PIECE_CHARACTERS)
            yield text[start : start + _PIECE_CHARACTERS]
            start = boundary.start() if boundary else len(text)
    yield text[start:]


def _cut_at_spaces(segment: str) -> Iterator[str]:
    """A segment in parts of about one batch; tokens do not reach over spaces."""
    start = 0
    while len(segment) - start > _BATCH_CHARACTERS:
        end = segment.find(" ", start + _BATCH_CHARACTERS)
        if end < 0:
            break
        yield segment[start:end]
        start = end
    yield segment[start:]
