"""Vocabulary files: reading, the place of [QUESTION], and the tokenizer of the converted model."""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kosplinter_common.cli import InputError
from kosplinter_common.files import read_json_object
from kosplinter_common.vocabularies import (
    CLS,
    MASK,
    PAD,
    QUESTION,
    SEP,
    SPECIAL_TOKENS,
    UNK,
    refuse_byte_order_mark,
    refuse_other_pieces,
)

__all__ = ["CLS", "MASK", "PAD", "QUESTION", "SEP", "SPECIAL_TOKENS", "UNK", "Vocabulary", "load_vocabulary"]

VOCAB_FILE = "vocab.txt"
TOKENIZER_FILE = "tokenizer.json"
HANGUL_SYLLABLE = re.compile("[가-힣]")


@dataclass(frozen=True)
class Vocabulary:
    """WordPieces in the order of their ids, and the file they come from."""

    tokens: tuple[str, ...]
    path: str

    def __len__(self) -> int:
        return len(self.tokens)

    def id_of(self, token: str) -> int:
        """The token's id.

        Raises:
          InputError: it is not in the vocabulary.
        """
        try:
            return self.tokens.index(token)
        except ValueError:
            raise InputError(f"{self.path}: {token} is not among its {len(self)} tokens") from None

    def require(self, tokens: Sequence[str]) -> None:
        for token in tokens:
            self.id_of(token)

    def write(self, path: Path) -> None:
        path.write_text("".join(token + "\n" for token in self.tokens), encoding="utf-8")


def load_vocabulary(path: str | Path) -> Vocabulary:
    """Reads a vocabulary file of one WordPiece a line, or the WordPiece model of a tokenizer.json.

    Raises:
      InputError: no such file, broken UTF-8 or JSON, an empty vocabulary, a token twice, a gap in the ids.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: vocabulary not found")
    try:
        text = path.read_text(encoding="utf-8")
        tokens = _tokens_of_json(text) if path.suffix == ".json" else text.removesuffix("\n").split("\n")
    except (UnicodeDecodeError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: not a WordPiece vocabulary in UTF-8: {error!r}") from error
    refuse_byte_order_mark(path, text)
    tokens = [token.rstrip("\r") for token in tokens]
    refuse_other_pieces(path, tokens)
    if not any(tokens):
        raise InputError(f"{path}: found no tokens, expected one WordPiece a line")
    if len(set(tokens)) != len(tokens):
        twice = next(token for i, token in enumerate(tokens) if token in tokens[:i])
        raise InputError(f"{path}: {twice!r} stands there twice, so ids would not agree with lines")
    return Vocabulary(tuple(tokens), str(path))


def _tokens_of_json(text: str) -> list[str]:
    ids: dict[str, int] = json.loads(text)["model"]["vocab"]
    tokens = sorted(ids, key=lambda token: ids[token])
    if [ids[token] for token in tokens] != list(range(len(tokens))):
        raise ValueError("ids have gaps")
    return tokens


def find_vocabulary(given: str | None, folder: Path) -> Vocabulary:
    """The vocabulary that was given, or else the one beside the checkpoint, with the tokens that were added to it.

    Raises:
      InputError: neither is there, or an added token's id is another's or leaves a gap.
    """
    if given:
        return load_vocabulary(given)
    for name in (VOCAB_FILE, TOKENIZER_FILE):
        if (folder / name).is_file():
            return _with_added_tokens(load_vocabulary(folder / name), folder)
    raise InputError(
        f"{folder}: found neither {VOCAB_FILE} nor {TOKENIZER_FILE}; name the vocabulary with --vocab_file"
    )


def _with_added_tokens(vocabulary: Vocabulary, folder: Path) -> Vocabulary:
    """Behind the vocabulary, what tokenizer.add_tokens appended, [QUESTION] for instance: it is in other files."""
    added: dict[int, str] = {}
    for name, read in _ADDED_TOKENS.items():
        if (folder / name).is_file():
            try:
                found = read(read_json_object(folder / name, "a tokenizer's file"))
            except (KeyError, TypeError, ValueError, AttributeError) as error:
                raise InputError(f"{folder / name}: added tokens cannot be read: {error!r}") from error
            added |= found
    tokens = list(vocabulary.tokens)
    for number, token in sorted(added.items()):
        if number == len(tokens) and token not in tokens:
            tokens.append(token)
        elif number >= len(tokens) or tokens[number] != token:
            raise InputError(f"{folder}: added token {token} has id {number}, expected {len(tokens)}, the next one")
    return Vocabulary(tuple(tokens), vocabulary.path)


# Where versions of transformers write added tokens: {id: token}.
_ADDED_TOKENS: dict[str, Callable[[dict[str, Any]], dict[int, str]]] = {
    "added_tokens.json": lambda values: {int(number): str(token) for token, number in values.items()},
    "tokenizer_config.json": lambda values: {
        int(number): str(token["content"]) for number, token in values.get("added_tokens_decoder", {}).items()
    },
    TOKENIZER_FILE: lambda values: {int(t["id"]): str(t["content"]) for t in values.get("added_tokens", [])},
}


def place_question_token(vocabulary: Vocabulary, slot: str | None) -> tuple[Vocabulary, str]:
    """A vocabulary with [QUESTION] in it, and a sentence about what was done.

    Args:
      slot: the token that gives up its id, "[unused0]" for instance; None appends [QUESTION] as a new id.

    Raises:
      InputError: the slot is not in the vocabulary, or it is a special token, or [QUESTION] is there already.
    """
    if QUESTION in vocabulary.tokens:
        if slot:
            raise InputError(
                f"{vocabulary.path}: {QUESTION} has id {vocabulary.id_of(QUESTION)} already; no slot needed"
            )
        return vocabulary, f"{QUESTION} keeps its id {vocabulary.id_of(QUESTION)}"
    if slot is None:
        added = Vocabulary((*vocabulary.tokens, QUESTION), vocabulary.path)
        return added, f"{QUESTION} is a new row, id {len(vocabulary)}; it begins as a copy of {MASK}'s"
    if slot in SPECIAL_TOKENS:
        raise InputError(f"{vocabulary.path}: {slot} cannot give its place to {QUESTION}: it is needed itself")
    place = vocabulary.id_of(slot)
    tokens = (*vocabulary.tokens[:place], QUESTION, *vocabulary.tokens[place + 1 :])
    return Vocabulary(tokens, vocabulary.path), f"{QUESTION} takes the place of {slot}, id {place}, with its embedding"


def write_tokenizer(vocabulary: Vocabulary, folder: Path, do_lower_case: bool, max_length: int) -> list[str]:
    """Writes transformers' SplinterTokenizer and vocab.txt into `folder`; returns what the user must hear.

    Lower-casing takes accents with it, as in BERT, but not where the vocabulary has Hangul: there the tokenizer's way
    of stripping accents would take every syllable apart.
    """
    from transformers import SplinterTokenizer

    tokenizer = SplinterTokenizer(
        vocab={token: number for number, token in enumerate(vocabulary.tokens)},
        do_lower_case=do_lower_case,
        strip_accents=do_lower_case and not any(HANGUL_SYLLABLE.search(token) for token in vocabulary.tokens),
        model_max_length=max_length,
    )
    tokenizer.save_pretrained(folder)
    vocabulary.write(folder / VOCAB_FILE)
    if "." in vocabulary.tokens:
        return []
    return [
        f"'.' is not in {vocabulary.path}: questions will read {QUESTION} {UNK} where SplinterTokenizer writes a dot"
    ]
