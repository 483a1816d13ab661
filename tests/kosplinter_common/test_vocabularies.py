"""Vocabulary files of other kinds, and [QUESTION] for those that lack it."""

from pathlib import Path

import pytest

from finetuning.conversion.vocabulary import load_vocabulary
from kosplinter_common.cli import InputError
from kosplinter_common.vocabularies import SPECIAL_TOKENS, read_vocabulary, with_question_token

BERT = ["[PAD]", "[unused1]", "[unused2]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "가", "##가"]


def write(path: Path, tokens: list[str], begin: str = "") -> Path:
    path.write_text(begin + "\r\n".join(tokens) + "\r\n", encoding="utf-8", newline="")
    return path


@pytest.mark.parametrize("read", [read_vocabulary, load_vocabulary])
@pytest.mark.parametrize(
    ("tokens", "begin", "message"),
    [
        ([*SPECIAL_TOKENS, "##가"], "\ufeff", "begins with a byte order mark.*--add_question_token=.* without it"),
        ([*SPECIAL_TOKENS, "▁한강", "시"], "", "found '▁한강', a piece of SentencePiece, expected WordPieces"),
        ([*SPECIAL_TOKENS, "a", "Ġthe"], "", "found 'Ġthe', a piece of byte-level BPE"),
    ],
)
def test_other_files_are_told_what_to_do(tmp_path: Path, read, tokens: list[str], begin: str, message: str) -> None:
    with pytest.raises(InputError, match=rf"v\.txt: {message}"):
        read(write(tmp_path / "v.txt", tokens, begin))


def test_wordpieces_may_hold_such_signs(tmp_path: Path) -> None:
    for tokens in ([*SPECIAL_TOKENS, "##가", "▁한"], [*SPECIAL_TOKENS, "▁", "Ġ"]):
        assert read_vocabulary(write(tmp_path / "v.txt", tokens)) == tokens


def test_without_a_question_token_the_message_names_the_command(tmp_path: Path) -> None:
    path = write(tmp_path / "v.txt", BERT)
    with pytest.raises(InputError, match=rf"QUESTION.* not found among 9 tokens; .*--add_question_token={path}"):
        read_vocabulary(path)
    with pytest.raises(InputError, match=r"special token \[MASK\] not found among 8 tokens$"):
        read_vocabulary(write(path, [token for token in BERT if token != "[MASK]"]))


@pytest.mark.parametrize("begin", ["", "\ufeff"])
def test_a_reserved_token_gives_its_place(tmp_path: Path, begin: str) -> None:
    tokens, place = with_question_token(write(tmp_path / "v.txt", BERT, begin))
    assert tokens == ["[PAD]", "[QUESTION]", *BERT[2:]] and place == "[QUESTION] takes the place of [unused1], id 1"


def test_without_one_it_is_appended_and_said(tmp_path: Path) -> None:
    plain = [token for token in BERT if "unused" not in token]
    tokens, place = with_question_token(write(tmp_path / "v.txt", plain))
    assert tokens == [*plain, "[QUESTION]"] and "id 7: a model needs a row more" in place


def test_nothing_is_added_twice_or_to_half_a_vocabulary(tmp_path: Path) -> None:
    assert with_question_token(write(tmp_path / "v.txt", list(SPECIAL_TOKENS)))[0] == list(SPECIAL_TOKENS)
    with pytest.raises(InputError, match=r"\[MASK\] not found"):
        with_question_token(write(tmp_path / "v.txt", BERT[:6]))
    with pytest.raises(InputError, match="not found"):
        with_question_token(tmp_path / "none.txt")
