"""How fast data generation is: by stage, by number of processes, and by size of the input. Prints Markdown tables.

python -m benchmarks.bench_data_gen --input_file='corpus/*.txt' --vocab_file=vocab.txt --sizes_mb=1,10,100
"""

import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

if not __package__:  # run as a file: import from the repository root, not from this folder
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from absl import app, flags

from data_gen.corpora.reading import ReaderOptions, plan_units, read_unit
from data_gen.passages.generation import GenerationConfig, RecordGenerator
from data_gen.passages.masking import MaskingConfig
from data_gen.passages.tokenization import TextTokenizer, Vocabulary
from data_gen.runs.jobs import ShardJob
from data_gen.runs.pipeline import PipelineConfig, run
from data_gen.spans.clusters import BOUNDARIES, span_tables
from data_gen.spans.stopwords import load_stopwords
from kosplinter_common.cli import exit_with_one_line, expand_globs

FLAGS = flags.FLAGS
flags.DEFINE_string("input_file", None, "Plain text to measure on: glob patterns, comma separated.")
flags.DEFINE_string("vocab_file", None, "WordPiece vocabulary.")
flags.DEFINE_list("sizes_mb", ["1", "3", "10", "30", "100"], "Sizes of input to measure on; it is repeated if short.")
flags.DEFINE_list("processes", ["1", "2"], "Numbers of processes to measure with, on the largest size.")
flags.DEFINE_enum("span_boundary", "all", list(BOUNDARIES), "The boundary rule to measure with.")

# The public Splinter, measured by this project: 1.2 MB of KorQuAD text, dupe_factor 5, 512 tokens, one process; on
# the same machine, the Rust tokenizer alone did 1.3M tokens/s, which tells how that machine compares with this one.
PUBLIC_TOKENS_PER_SECOND = 0.195e6
TOKENIZER_TOKENS_PER_SECOND_THERE = 1.3e6


def write_input(folder: Path, megabytes: float) -> Path:
    """One file of about `megabytes` of the input files' text, repeated if need be."""
    path = folder / f"{megabytes:g}.txt"
    wanted = int(megabytes * 1e6)
    files = expand_globs(FLAGS.input_file)
    share = -(-wanted // len(files))  # of each file, so that every kind of text is in every size
    with open(path, "wb") as output:
        while output.tell() < wanted:
            for source in files:
                with open(source, "rb") as text:
                    part = text.read(max(0, min(share, wanted - output.tell())))
                output.write(part[: part.rfind(b"\n") + 1] + b"\n")
    return path


def generation_config() -> GenerationConfig:
    return GenerationConfig(MaskingConfig(span_boundary=FLAGS.span_boundary), dupe_factor=5)


@contextmanager
def cpu_seconds(seconds: Counter[str], stage: str) -> Iterator[None]:
    before = time.process_time()
    yield
    seconds[stage] += time.process_time() - before


def stages(path: Path, folder: Path) -> None:
    """CPU seconds of each stage on one process, per token of the records."""
    vocabulary = Vocabulary.load(FLAGS.vocab_file)
    tables = span_tables(vocabulary.tokens, load_stopwords("ko"))
    generator = RecordGenerator(vocabulary, TextTokenizer(vocabulary, False), tables, generation_config())
    generator.warm_up()
    generator.start(folder / "spill")
    seconds: Counter[str] = Counter()
    with cpu_seconds(seconds, "read and clean"):
        units = plan_units([str(path)])
        documents = [document for unit in units for document in read_unit(unit, ReaderOptions(), Counter())]
    tokenizer = TextTokenizer(vocabulary, False)  # a new one, that remembers no words, as the generator's does not
    with cpu_seconds(seconds, "tokenise"):
        text_tokens = sum(len(tokenizer.encode(document.segments)[0]) for document in documents)
    with cpu_seconds(seconds, "pack, find clusters, mask, encode, spill"):
        for number, document in enumerate(documents):
            generator.add_document(document.segments, 0, number)
        generator.finish()
    seconds["pack, find clusters, mask, encode, spill"] -= seconds["tokenise"]  # add_document tokenises again
    with cpu_seconds(seconds, "shuffle, checksum, write"):
        ShardJob(folder / "shard", 0, 1, 4, folder, generator.record_spills)()
    tokens = generator.counts["tokens"]
    print("\n| stage | CPU s | share | M tokens/s |\n|---|---|---|---|")
    for stage, value in [*seconds.items(), ("all", sum(seconds.values()))]:
        print(f"| {stage} | {value:.2f} | {value / sum(seconds.values()):.0%} | {tokens / value / 1e6:.2f} |")
    with cpu_seconds(seconds, "backend"):
        for document in documents:
            tokenizer.backend.encode_batch_fast(document.segments, add_special_tokens=False)
    tokenizer_speed = text_tokens / seconds.pop("backend")
    here = PUBLIC_TOKENS_PER_SECOND * tokenizer_speed / TOKENIZER_TOKENS_PER_SECOND_THERE
    speed = tokens / sum(seconds.values())
    print(
        f"\nThe Rust tokenizer alone, on whole segments: {tokenizer_speed / 1e6:.2f}M tokens/s here, "
        f"{TOKENIZER_TOKENS_PER_SECOND_THERE / 1e6:.2f}M where the public reference did "
        f"{PUBLIC_TOKENS_PER_SECOND / 1e6:.3f}M tokens/s. Against that: {speed / PUBLIC_TOKENS_PER_SECOND:.1f} times; "
        f"against that at this machine's speed ({here / 1e6:.3f}M): {speed / here:.1f} times."
    )


def whole_run(path: Path, processes: int, folder: Path) -> str:
    """A row about one run from text to shards: wall time, and the CPU time of all processes."""
    before, began = os.times(), time.perf_counter()
    info = run(
        PipelineConfig(
            input_files=(str(path),),
            output_dir=folder,
            vocab_file=Path(FLAGS.vocab_file),
            generation=generation_config(),
            stopwords=load_stopwords("ko"),
            num_processes=processes,
        )
    )
    seconds, after = time.perf_counter() - began, os.times()
    cpu = sum(after[:4]) - sum(before[:4])
    tokens = info.counts["tokens"]
    return (
        f"| {path.stem} | {processes} | {info.counts['records']:,} | {tokens / 1e6:.1f}M | {seconds:.1f} | {cpu:.1f} "
        f"| {tokens / seconds / 1e6:.2f} | {tokens / cpu / 1e6:.2f} |"
    )


def _main() -> None:
    sizes = [float(size) for size in FLAGS.sizes_mb]
    processes = [int(number) for number in FLAGS.processes]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows = [(size, processes[0]) for size in sizes] + [(sizes[-1], number) for number in processes[1:]]
        paths = {size: write_input(folder, size) for size in sizes}
        run_stages_on = paths[min(sizes, key=lambda size: abs(size - 10))]
        stages(run_stages_on, folder)
        print("\n| MB | processes | records | tokens | s | CPU s | M tokens/s | M tokens per CPU s |")
        print("|---|---|---|---|---|---|---|---|", flush=True)
        for number, (size, count) in enumerate(rows):
            print(whole_run(paths[size], count, folder / f"run{number}"), flush=True)


def main(argv: list[str]) -> None:
    del argv
    exit_with_one_line(_main)


if __name__ == "__main__":
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    flags.mark_flags_as_required(["input_file", "vocab_file"])
    app.run(main)
