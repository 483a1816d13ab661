"""WordPiece vocabulary files, one token a line, and what a person is told of files that are something else."""

import re
from collections import Counter
from pathlib import Path

from kosplinter_common.cli import InputError

PAD, UNK, CLS, SEP, MASK, QUESTION = "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[QUESTION]"
SPECIAL_TOKENS = (PAD, UNK, CLS, SEP, MASK, QUESTION)

_BYTE_ORDER_MARK = "\ufeff"
_RESERVED = re.compile(r"\[unused\d+\]")
_WORD_BEGINS = {"▁": "SentencePiece", "Ġ": "byte-level BPE"}  # how pieces of other kinds mark the begin of a word


def read_vocabulary(
    path: str | Path, special_tokens: tuple[str, ...] = SPECIAL_TOKENS, leave_mark_out: bool = False
) -> list[str]:
    """The tokens of a file in the order of their ids; `leave_mark_out`: without a byte order mark, if there is one.

    Raises:
      InputError: unreadable, not UTF-8, empty, of another kind, with a token twice, or without a special token.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: vocabulary file not found")
    try:
        lines = path.read_text(encoding="utf-8-sig" if leave_mark_out else "utf-8").split("\n")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: vocabulary is not UTF-8: {error}") from error
    refuse_byte_order_mark(path, lines[0])
    tokens = [line.strip() for line in lines]
    while tokens and not tokens[-1]:
        tokens.pop()
    if not tokens:
        raise InputError(f"{path}: vocabulary is empty")
    refuse_other_pieces(path, tokens)
    token, count = Counter(tokens).most_common(1)[0]
    if count > 1:
        first, second = [number for number, found in enumerate(tokens, 1) if found == token][:2]
        raise InputError(f"{path}: token {token!r} stands on line {first} and again on line {second}")
    require(path, tokens, special_tokens)
    return tokens


def refuse_byte_order_mark(path: str | Path, text: str) -> None:
    """Raises InputError where a file begins with U+FEFF, which its first token would keep."""
    if text.startswith(_BYTE_ORDER_MARK):
        raise InputError(
            f"{path}: begins with a byte order mark, which would belong to its first token; {_adding(path)} without it"
        )


def refuse_other_pieces(path: str | Path, tokens: list[str]) -> None:
    """Raises InputError where no token continues a word as WordPieces do, and some begin one as other pieces do."""
    if any(token.startswith("##") for token in tokens):
        return
    for mark, kind in _WORD_BEGINS.items():
        if found := next((token for token in tokens if token.startswith(mark) and len(token) > 1), None):
            raise InputError(
                f"{path}: found {found!r}, a piece of {kind}, expected WordPieces (## before what continues a word): "
                "take a BERT vocabulary, or train one with vocab/build_vocab.py"
            )


def require(path: str | Path, tokens: list[str], special_tokens: tuple[str, ...]) -> None:
    """Raises InputError where a special token is missing."""
    missing = [token for token in special_tokens if token not in tokens]
    if missing == [QUESTION]:
        raise InputError(
            f"{path}: special token {QUESTION} not found among {len(tokens)} tokens; {_adding(path)} with it"
        )
    if missing:
        raise InputError(f"{path}: special token {missing[0]} not found among {len(tokens)} tokens")


def _adding(path: str | Path) -> str:
    return f"`python vocab/build_vocab.py --add_question_token={path} --output_file=NEW` writes it"


def with_question_token(path: str | Path) -> tuple[list[str], str]:
    """A file's tokens, [QUESTION] among them, and a sentence about its place.

    [QUESTION] takes the place of the first token that is reserved for such uses, "[unused0]" for instance, so that the
    rows of a model's embedding keep their tokens; without one it is appended.

    Raises:
      InputError: as `read_vocabulary`, but for a byte order mark, which is left out.
    """
    tokens = read_vocabulary(path, tuple(token for token in SPECIAL_TOKENS if token != QUESTION), leave_mark_out=True)
    if QUESTION in tokens:
        return tokens, f"{QUESTION} keeps its id {tokens.index(QUESTION)}"
    place = next((number for number, token in enumerate(tokens) if _RESERVED.fullmatch(token)), None)
    if place is None:
        return [*tokens, QUESTION], f"{QUESTION} is a new token, id {len(tokens)}: a model needs a row more for it"
    reserved, tokens[place] = tokens[place], QUESTION
    return tokens, f"{QUESTION} takes the place of {reserved}, id {place}"
