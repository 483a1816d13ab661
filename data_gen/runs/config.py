"""What every run of data generation is told, on one machine and on Beam."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from data_gen.corpora.reading import FileLog, ReaderOptions, name_files
from data_gen.passages.generation import GenerationConfig, RecordGenerator
from data_gen.passages.tokenization import TextTokenizer, Vocabulary
from data_gen.spans.clusters import span_tables
from data_gen.spans.exclusion import ExcludedNgrams
from kosplinter_common.cli import InputError


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """A run. On Beam paths may be remote. `flags` are what dataset.json repeats."""

    input_files: tuple[str, ...]
    output_dir: str | Path
    vocab_file: str | Path
    generation: GenerationConfig
    do_lower_case: bool = False
    corpus_format: str = "auto"
    reader_options: ReaderOptions = field(default_factory=ReaderOptions)
    stopwords: frozenset[str] = frozenset()
    exclude_ngrams: tuple[str, ...] = ()
    num_shards: int = 0  # 0: by the size of the input
    unit_bytes: int = 4 << 20
    allow_unreadable_files: bool = False
    flags: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, lowest in {"num_shards": 0, "unit_bytes": 1}.items():
            if getattr(self, name) < lowest:
                raise InputError(f"{name}: found {getattr(self, name)}, expected {lowest} or more")

    def refuse_losses(self, files: FileLog) -> None:
        """Raises InputError where files were lost and no flag allows it; the message names them."""
        unreadable = files.summary()["unreadable"]
        if unreadable and not self.allow_unreadable_files:
            raise InputError(
                f"input_file: {len(unreadable)} files cannot be read: {name_files(unreadable)}. Replace them and give "
                "the same command again, or go on without them by --allow_unreadable_files"
            )

    def record_generator(self, vocabulary: Vocabulary, excluded: ExcludedNgrams) -> RecordGenerator:
        """Makes records of documents; `excluded` are the n-grams of `exclude_ngrams`."""
        return RecordGenerator(
            vocabulary,
            TextTokenizer(vocabulary, self.do_lower_case),
            span_tables(vocabulary.tokens, self.stopwords, excluded=excluded),
            self.generation,
        )
