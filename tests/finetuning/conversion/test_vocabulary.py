"""Tokenizers of converted folders, on the public vocabularies where they are at hand."""

from pathlib import Path

import pytest
from transformers import AutoTokenizer

from finetuning.conversion.vocabulary import load_vocabulary, write_tokenizer
from tests.finetuning.tiny_checkpoints import vocabulary, write_vocabulary

PUBLIC = Path(__file__).resolve().parents[4] / "shared" / "vocab"


@pytest.mark.parametrize(("name", "question", "pad"), [("koelectra-vocab", 0, 1), ("bert-cased-vocab", 104, 0)])
def test_public_vocabularies(name: str, question: int, pad: int, tmp_path: Path) -> None:
    path = PUBLIC / f"{name}.txt"
    if not path.is_file():
        pytest.skip(f"{path} is not there")
    known = load_vocabulary(path)
    assert write_tokenizer(known, tmp_path, do_lower_case=False, max_length=512) == []
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    assert (tokenizer.question_token_id, tokenizer.pad_token_id) == (question, pad)
    assert len(tokenizer) == len(known) and tokenizer.convert_ids_to_tokens(range(len(known))) == list(known.tokens)
    ids = tokenizer("Who?", "Seoul.").input_ids
    template = [ids[0], *ids[ids.index(question) : ids.index(question) + 3], ids[-1]]
    assert tokenizer.convert_ids_to_tokens(template) == ["[CLS]", "[QUESTION]", ".", "[SEP]", "[SEP]"]
    assert (tmp_path / "vocab.txt").read_bytes().splitlines() == path.read_bytes().splitlines()


def test_hangul_stays_whole_lower_cased_or_not(tmp_path: Path) -> None:
    known = load_vocabulary(write_vocabulary(tmp_path / "vocab.txt", vocabulary()))
    for lower, word in ((False, "이순신은 cafe"), (True, "이순신은 CAFE")):
        write_tokenizer(known, tmp_path / str(lower), do_lower_case=lower, max_length=40)
        tokens = AutoTokenizer.from_pretrained(tmp_path / str(lower)).tokenize(word)
        assert tokens == ["이순신", "##은", "cafe"]


def test_accents_go_where_a_lower_cased_vocabulary_has_no_hangul(tmp_path: Path) -> None:
    latin = [token for token in vocabulary() if token.isascii()]
    known = load_vocabulary(write_vocabulary(tmp_path / "vocab.txt", latin))
    for lower, expected in ((True, ["cafe"]), (False, ["[UNK]"])):
        write_tokenizer(known, tmp_path / str(lower), do_lower_case=lower, max_length=40)
        assert AutoTokenizer.from_pretrained(tmp_path / str(lower)).tokenize("Café") == expected


def test_vocabulary_of_a_tokenizer_json(tmp_path: Path) -> None:
    known = load_vocabulary(write_vocabulary(tmp_path / "vocab.txt", vocabulary()))
    write_tokenizer(known, tmp_path / "out", do_lower_case=False, max_length=40)
    assert load_vocabulary(tmp_path / "out" / "tokenizer.json").tokens == known.tokens
