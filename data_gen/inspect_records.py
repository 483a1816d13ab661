"""Writes a page to look at records: passages with their questions and answers, and plots. It needs no network.

python data_gen/inspect_records.py FOLDER --html=page.html
"""

import logging
import random
import sys
from pathlib import Path

if not __package__:  # run as a file: import from the repository root, not from this folder
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from absl import app, flags

from common.cli import InputError, exit_with_one_line
from common.files import atomic_file
from data_gen.dataset_info import DatasetInfo, file_sha256
from data_gen.inspection import Statistics, as_passage, frequent_ngrams, sampled_records
from data_gen.inspection_page import render_page
from data_gen.tokenization import Vocabulary

FLAGS = flags.FLAGS

flags.DEFINE_string("html", None, "The page to write.", required=True)
flags.DEFINE_integer("num_records", 20, "Records to show as text.", lower_bound=1)
flags.DEFINE_integer("num_statistics_records", 5000, "Records to count for the plots.", lower_bound=1)
flags.DEFINE_integer("num_ngrams", 45, "Most frequent spans to plot.", lower_bound=0)
flags.DEFINE_string("vocab_file", None, "The vocabulary; by default where dataset.json says it was.")
flags.DEFINE_integer("seed", 0, "Another seed shows other records.")


def _vocabulary(info: DatasetInfo, path: str) -> Vocabulary:
    vocabulary = Vocabulary.load(path)
    found = file_sha256(path)
    if found != info.vocab.sha256:
        raise InputError(f"{path}: sha256 is {found}, but the records were made with {info.vocab.sha256}")
    return vocabulary


def _write_page(folder: Path) -> None:
    info = DatasetInfo.load(folder)
    vocabulary = _vocabulary(info, FLAGS.vocab_file or info.flags["vocab_file"])
    statistics = Statistics()
    records = []
    for name, record in sampled_records(folder, info, max(FLAGS.num_statistics_records, FLAGS.num_records)):
        statistics.add(record)
        records.append((name, record))
    shown = sorted(random.Random(FLAGS.seed).sample(range(len(records)), min(FLAGS.num_records, len(records))))
    passages = [as_passage(*records[number], vocabulary.tokens) for number in shown]
    page = render_page(folder.resolve().name, info, passages, statistics, frequent_ngrams(folder, FLAGS.num_ngrams))
    with atomic_file(FLAGS.html) as partial:
        partial.write_text(page, encoding="utf-8")
    print(f"{FLAGS.html}: {len(passages)} of {info.counts['records']:,} records")


def main(argv: list[str]) -> None:
    logging.basicConfig(format="%(message)s", level=logging.INFO)
    if len(argv) != 2:
        sys.exit(f"error: found {len(argv) - 1} folders, expected one: inspect_records.py FOLDER --html=page.html")
    exit_with_one_line(lambda: _write_page(Path(argv[1])))


if __name__ == "__main__":
    app.run(main)
