"""Data generation on Apache Beam: the flags of create_pretraining_data.py, and the same bytes, on many machines.

python data_gen/beam_pipeline.py --input_file='gs://bucket/corpus/*' --output_dir=gs://bucket/records \
    --vocab_file=gs://bucket/vocab.txt --runner=DataflowRunner ...

Flags that are not data generation's are Beam's pipeline options. docs/BEAM.md has the commands for each runner.
"""

import logging
import os
import sys
from pathlib import Path

if not __package__:  # run as a file: import from the repository root, not from this folder
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from kosplinter_common.cli import InputError, exit_with_one_line

# isort: split

from absl import app, flags
from apache_beam.io.filesystems import FileSystems
from apache_beam.options.pipeline_options import PipelineOptions

import data_gen.flags
from data_gen.beam.job import BeamConfig, run
from data_gen.beam.remote_files import matching_files
from data_gen.flags import FLAGS, common_settings
from data_gen.runs.pipeline import use_of_text

_REPOSITORY = str(Path(__file__).resolve().parents[1])


def _beam_config() -> BeamConfig:
    return BeamConfig(
        **common_settings(),
        input_files=tuple(matching_files(FLAGS.input_file)),
        output_dir=FLAGS.output_dir,
        vocab_file=FLAGS.vocab_file,
        exclude_ngrams=tuple(matching_files(FLAGS.exclude_ngrams)) if FLAGS.exclude_ngrams else (),
    )


def _pipeline_options(arguments: list[str]) -> PipelineOptions:
    """Beam's options.

    Raises:
      InputError: an argument is no flag of data generation and no option of Beam.
    """
    known = PipelineOptions([]).get_all_options()
    unknown = PipelineOptions(arguments).get_all_options(retain_unknown_options=True).keys() - known.keys()
    if unknown:
        expected = "a flag of create_pretraining_data.py or an option of Beam"
        raise InputError(f"found --{sorted(unknown)[0]}, expected {expected}")
    return PipelineOptions(arguments)


def _main(arguments: list[str]) -> None:
    options = _pipeline_options(arguments)
    FileSystems.set_options(options)  # for the files that are looked at before there is a pipeline
    # Worker processes that a runner starts on this machine import from here too.
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (_REPOSITORY, os.environ.get("PYTHONPATH"))))
    info = run(_beam_config(), options)
    print(f"{FileSystems.join(FLAGS.output_dir, 'dataset.json')}: {info.counts['records']:,} records")
    print(use_of_text(info.counts))


def main(argv: list[str]) -> None:
    logging.basicConfig(format="%(message)s", level=logging.INFO)
    exit_with_one_line(lambda: _main(argv[1:]))


if __name__ == "__main__":
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # the workers are the parallelism
    flags.adopt_module_key_flags(data_gen.flags)  # --help shows them
    flags.mark_flags_as_required(["input_file", "output_dir", "vocab_file"])
    app.run(main, flags_parser=lambda argv: FLAGS(argv, known_only=True))
