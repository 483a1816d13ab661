"""build_vocab: special tokens first, text as it is written, a size that is kept, one line for what is wrong."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from transformers import SplinterTokenizer

from kosplinter_common.cli import InputError
from vocab.build_vocab import SPECIAL_TOKENS, VocabularyConfig, alphabet, corpus_texts, train

ROOT = Path(__file__).resolve().parents[2]
TEXTS = ["서울은 한국의 수도이다. 서울에서 Élan과 Élite를 보았다.", "부산은 항구이다. 부산에서 배를 보았다."] * 5


def train_small(**changes: object) -> list[str]:
    return train(lambda: iter(TEXTS), VocabularyConfig(**{"vocab_size": 120, **changes}))


def test_special_tokens_come_first_and_nothing_twice() -> None:
    pieces = train_small()
    assert pieces[:6] == SPECIAL_TOKENS == ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[QUESTION]"]
    assert len(set(pieces)) == len(pieces) <= 120
    assert "." in pieces and "서울" in pieces


def test_hangul_and_accents_stay_whole() -> None:
    pieces = train_small()
    assert any("É" in piece for piece in pieces)
    assert not any("\u1100" <= character <= "\u11ff" for piece in pieces for character in piece)
    assert any("é" in piece for piece in train_small(do_lower_case=True))


def test_the_same_corpus_gives_the_same_vocabulary() -> None:
    assert train_small() == train_small()


def test_pieces_inside_words_are_exactly_the_characters_that_stand_there() -> None:
    found = {piece for piece in train_small() if piece.startswith("##") and len(piece) == 3}
    words = re.findall(r"\w+", " ".join(TEXTS))
    assert found == {f"##{character}" for word in words for character in word[1:]}


def test_the_alphabet_is_limited_to_the_most_frequent_characters() -> None:
    initial, continuing = alphabet(iter(["가나 가나 가다 漢"]), 2)
    assert initial == [".", "가", "나"] and continuing == ["##나"]


def test_a_full_stop_is_a_piece_even_where_the_corpus_has_none() -> None:
    assert "." in train(lambda: iter(["서울 부산 서울 부산"] * 3), VocabularyConfig(vocab_size=50))


def test_splinter_tokenizer_takes_it(tmp_path: Path) -> None:
    pieces = train_small()
    tokenizer = SplinterTokenizer({p: i for i, p in enumerate(pieces)}, do_lower_case=False, strip_accents=False)
    assert tokenizer.tokenize("서울은 한국의 수도이다.") and tokenizer.unk_token not in tokenizer.tokenize(TEXTS[0])
    assert tokenizer.question_token_id == 5 and tokenizer.pad_token_id == 0


@pytest.mark.parametrize("texts", [[], [""], ["  \n"]])
def test_refuses_a_corpus_without_text(texts: list[str]) -> None:
    with pytest.raises(InputError, match="no text"):
        train(lambda: iter(texts), VocabularyConfig())


def test_refuses_a_size_below_the_alphabet() -> None:
    with pytest.raises(InputError, match=r"--vocab_size=10 is too small: found \d+ special tokens and characters"):
        train_small(vocab_size=10)


def test_sampling_is_by_seed(tmp_path: Path) -> None:
    corpus = tmp_path / "corpus.txt"
    corpus.write_text("\n\n".join(f"문서 {i}" for i in range(400)), encoding="utf-8")
    first, again, other = (list(corpus_texts(str(corpus), "auto", 0.5, seed)) for seed in (1, 1, 2))
    assert first == again != other
    assert 150 < len(first) < 250  # binomial(400, 0.5): five standard deviations are 50


def build(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "vocab/build_vocab.py", *arguments], cwd=ROOT, capture_output=True, text=True
    )


def test_command_writes_a_file_and_refuses_a_missing_corpus(tmp_path: Path) -> None:
    corpus, output = tmp_path / "corpus.txt", tmp_path / "out" / "vocab.txt"
    corpus.write_text("\n".join(TEXTS), encoding="utf-8")
    done = build(f"--input_file={corpus}", f"--output_file={output}", "--vocab_size=120")
    assert done.returncode == 0, done.stderr
    assert output.read_text(encoding="utf-8").splitlines() == train_small()
    missing = build(f"--input_file={tmp_path}/none*.txt", f"--output_file={tmp_path}/never.txt")
    assert missing.returncode == 1 and missing.stderr.startswith("error: no file matches")
    assert not (tmp_path / "never.txt").exists()


@pytest.mark.parametrize(
    "content",
    [
        "\r".join(TEXTS).encode(),
        ("file_id,sentence\r" + "".join(f"A,{text}\r" for text in TEXTS)).encode(),
        "\n".join(["첫 줄\r이어서", *TEXTS]).encode(),
        "\n".join(TEXTS).encode("cp949", "ignore"),
        "\n".join(TEXTS).encode("utf-16"),
    ],
)
def test_line_ends_and_encodings_do_not_matter(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "corpus").write_bytes(content)
    texts = list(corpus_texts(str(tmp_path / "corpus"), "auto", 1.0, 1))
    assert "서울은 한국의 수도이다." in " ".join(texts) and "부산에서 배를 보았다." in " ".join(texts)
    assert "서울" in train(lambda: iter(texts), VocabularyConfig(vocab_size=120))


def test_a_corpus_that_cannot_be_read_ends_the_command_unless_allowed(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("\n".join(TEXTS), encoding="utf-8")
    (tmp_path / "b.txt").write_bytes(b"7z\xbc\xaf\x27\x1c\0\4")
    pattern = f"{tmp_path}/*.txt"
    with pytest.raises(InputError, match=r"b\.txt: a 7z archive: unpack it first; .*--allow_unreadable_files"):
        list(corpus_texts(pattern, "auto", 1.0, 1))
    flags = [f"--input_file={pattern}", f"--output_file={tmp_path}/vocab", "--vocab_size=120"]
    command = [sys.executable, str(ROOT / "vocab" / "build_vocab.py"), *flags]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1 and "b.txt: a 7z archive" in done.stderr and not (tmp_path / "vocab").exists()
    done = subprocess.run([*command, "--allow_unreadable_files"], capture_output=True, text=True)
    assert done.returncode == 0 and (tmp_path / "vocab").exists()


def test_command_adds_a_question_token(tmp_path: Path) -> None:
    given, output = tmp_path / "bert.txt", tmp_path / "out.txt"
    given.write_text("\ufeff[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n[unused7]\n가\n##가\n", encoding="utf-8")
    done = build(f"--add_question_token={given}", f"--output_file={output}")
    assert done.returncode == 0 and "[QUESTION] takes the place of [unused7], id 5" in done.stdout, done.stderr
    assert output.read_text(encoding="utf-8").splitlines()[4:] == ["[MASK]", "[QUESTION]", "가", "##가"]
    for arguments in ([], [f"--input_file={given}", f"--add_question_token={given}"]):
        assert build(*arguments, f"--output_file={tmp_path}/never.txt").returncode == 2
