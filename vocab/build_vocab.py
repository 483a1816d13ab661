"""Trains a WordPiece vocabulary on a corpus, special tokens first, or adds [QUESTION] to one that lacks it.

    python vocab/build_vocab.py --input_file='corpus/*.txt' --output_file=vocab/my-vocab.txt --vocab_size=32000
    python vocab/build_vocab.py --add_question_token=bert/vocab.txt --output_file=vocab/with-question.txt

Reads what data generation reads (docs/CORPORA.md). Nothing is lower-cased and no accent is stripped unless asked:
stripping takes Hangul syllables apart into Jamo.
"""

import argparse
import itertools
import random
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

if not __package__:  # run as a file: import from the repository root, not from this folder
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from kosplinter_common.cli import InputError, exit_with_one_line, expand_globs

# isort: split

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
from tqdm import tqdm

from data_gen.corpora.reading import FileLog, ReaderOptions, name_files, plan_units, read_unit
from kosplinter_common.files import atomic_file
from kosplinter_common.vocabularies import with_question_token

SPECIAL_TOKENS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[QUESTION]"]
# Always a piece, whatever the corpus: SplinterTokenizer writes "[QUESTION] ." behind a question.
FULL_STOP = "."


@dataclass(frozen=True)
class VocabularyConfig:
    """How a vocabulary is trained. `limit_alphabet` bounds the characters kept (modern Hangul alone has 11,172)."""

    vocab_size: int = 32000
    min_frequency: int = 2
    limit_alphabet: int = 6000
    do_lower_case: bool = False


def train(read_texts: Callable[[], Iterator[str]], config: VocabularyConfig) -> list[str]:
    """The pieces of a WordPiece vocabulary in the order of their ids, at most `config.vocab_size`.

    `read_texts` is called twice and must give the same texts each time: the trainer numbers single characters in a
    random order and breaks ties by those numbers, so they are counted and ordered here first.

    Raises:
      InputError: the texts hold no words, or the size leaves no room for the alphabet.
    """
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(strip_accents=False, lowercase=config.do_lower_case)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    initial, continuing = alphabet(map(tokenizer.normalizer.normalize_str, read_texts()), config.limit_alphabet)
    first_pieces = [*SPECIAL_TOKENS, *initial, *continuing]
    if len(first_pieces) > config.vocab_size:
        raise InputError(
            f"--vocab_size={config.vocab_size} is too small: found {len(first_pieces)} special tokens and characters "
            f"alone; raise it, or lower --limit_alphabet={config.limit_alphabet}"
        )
    trainer = trainers.WordPieceTrainer(
        vocab_size=config.vocab_size,
        min_frequency=config.min_frequency,
        limit_alphabet=len(initial),
        initial_alphabet=initial,
        special_tokens=first_pieces,  # keeps their order
        show_progress=sys.stderr.isatty(),
    )
    tokenizer.train_from_iterator(read_texts(), trainer)
    ids = tokenizer.get_vocab()
    return sorted(ids, key=ids.__getitem__)


def alphabet(normalized_texts: Iterator[str], limit: int) -> tuple[list[str], list[str]]:
    """The `limit` most frequent characters, and those among them that stand inside words as `##` pieces; both sorted.

    Raises:
      InputError: there are no characters but white space.
    """
    counts: Counter[str] = Counter()
    neighbours: set[tuple[str, str]] = set()
    for text in normalized_texts:
        counts.update(text)
        neighbours.update(itertools.pairwise(text))
    visible = [character for character in counts if not character.isspace()]
    if not visible:
        raise InputError("the corpus holds no text: found 0 characters, expected some")
    kept = set(sorted(visible, key=lambda c: (-counts[c], c))[:limit]) | {FULL_STOP}
    split = pre_tokenizers.BertPreTokenizer().pre_tokenize_str
    pairs = ((before, after) for before, after in neighbours if after in kept and not before.isspace())
    continuing = {after for before, after in pairs if len(split(before + after)) == 1}
    return sorted(kept), [f"##{character}" for character in sorted(continuing)]


def corpus_texts(
    input_file: str, corpus_format: str, sample_rate: float, seed: int, allow_unreadable_files: bool = False
) -> Iterator[str]:
    """The segments of a random `sample_rate` of the documents, which the seed chooses; faults go to stderr.

    Raises:
      InputError: at the end, where files could not be read and that is not allowed.
    """
    units = plan_units(expand_globs(input_file), corpus_format)
    chosen = random.Random(seed)
    skipped: Counter[str] = Counter()
    files = FileLog()
    for unit in tqdm(units, desc="reading", unit="unit", disable=None):
        for document in read_unit(unit, ReaderOptions(), skipped, files):
            if chosen.random() < sample_rate:
                yield from document.segments
    for reason, count in skipped.items():
        print(f"skipped {count}: {reason}", file=sys.stderr)
    if (lost := files.summary()["unreadable"]) and not allow_unreadable_files:
        raise InputError(f"files that cannot be read: {name_files(lost)}; go on without by --allow_unreadable_files")


def write_vocabulary(path: Path, tokens: list[str]) -> None:
    with atomic_file(path) as partial:
        partial.write_text("".join(f"{token}\n" for token in tokens), encoding="utf-8")


def main() -> None:
    defaults = VocabularyConfig()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--input_file", help="corpus to train on: globs, comma separated")
    source.add_argument("--add_question_token", metavar="FILE", help="write this vocabulary with [QUESTION] in it")
    parser.add_argument("--output_file", required=True, type=Path)
    parser.add_argument("--vocab_size", type=int, default=defaults.vocab_size)
    parser.add_argument("--min_frequency", type=int, default=defaults.min_frequency)
    parser.add_argument("--limit_alphabet", type=int, default=defaults.limit_alphabet)
    parser.add_argument("--do_lower_case", action="store_true", help="for English; strips no accents either way")
    parser.add_argument("--corpus_format", default="auto", help="as in data_gen/create_pretraining_data.py")
    parser.add_argument("--sample_rate", type=float, default=1.0, help="share of the documents to read, 0 < rate <= 1")
    parser.add_argument("--random_seed", type=int, default=12345)
    parser.add_argument("--allow_unreadable_files", action="store_true", help="go on without the files that are lost")
    args = parser.parse_args()
    if args.add_question_token:
        tokens, place = with_question_token(args.add_question_token)
        write_vocabulary(args.output_file, tokens)
        print(f"{args.output_file}: {len(tokens):,} tokens of {args.add_question_token}; {place}")
        return
    if not 0 < args.sample_rate <= 1:
        raise InputError(f"--sample_rate: found {args.sample_rate}, expected above 0 and at most 1")
    config = VocabularyConfig(args.vocab_size, args.min_frequency, args.limit_alphabet, args.do_lower_case)
    reading = (args.input_file, args.corpus_format, args.sample_rate, args.random_seed, args.allow_unreadable_files)
    pieces = train(lambda: corpus_texts(*reading), config)
    write_vocabulary(args.output_file, pieces)
    print(f"{args.output_file}: {len(pieces):,} pieces, {', '.join(SPECIAL_TOKENS)} first")


if __name__ == "__main__":
    exit_with_one_line(main)
