"""Writes a page to look at records: passages with their questions and answers, and plots. It needs no network.

python data_gen/inspect_records.py FOLDER --html=page.html
"""

import logging
import sys
from pathlib import Path

if not __package__:  # run as a file: import from the repository root, not from this folder
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from kosplinter_common.cli import exit_with_one_line

# isort: split

from absl import app, flags

from data_gen.inspection.page import PageSizes, write_page

FLAGS = flags.FLAGS

flags.DEFINE_string("html", None, "The page to write.", required=True)
flags.DEFINE_integer("num_records", PageSizes.records, "Records to show as text.", lower_bound=1)
flags.DEFINE_integer("num_statistics_records", PageSizes.statistics_records, "Records to count.", lower_bound=1)
flags.DEFINE_integer("num_ngrams", PageSizes.ngrams, "Most frequent spans to plot.", lower_bound=0)
flags.DEFINE_string("vocab_file", None, "The vocabulary; by default where dataset.json says it was.")
flags.DEFINE_integer("seed", 0, "Another seed shows other records.")


def _main(folder: Path) -> None:
    sizes = PageSizes(FLAGS.num_records, FLAGS.num_statistics_records, FLAGS.num_ngrams)
    shown, total = write_page(folder, Path(FLAGS.html), FLAGS.vocab_file, sizes, FLAGS.seed)
    print(f"{FLAGS.html}: {shown} of {total:,} records")


def main(argv: list[str]) -> None:
    logging.basicConfig(format="%(message)s", level=logging.INFO)
    if len(argv) != 2:
        sys.exit(f"error: found {len(argv) - 1} folders, expected one: inspect_records.py FOLDER --html=page.html")
    exit_with_one_line(lambda: _main(Path(argv[1])))


if __name__ == "__main__":
    app.run(main)
