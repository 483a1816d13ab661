"""Converts a Splinter checkpoint of any dialect to a folder for Hugging Face transformers, and proves it.

    python finetuning/convert_tf_to_pytorch.py --tf_checkpoint_path=out --bert_config_file=config.json \
        --vocab_file=vocab.txt --pytorch_dump_path=converted

Reads this project's and the public TensorFlow checkpoints, Google BERT's, Hugging Face Splinter folders and the
original's PyTorch state dicts. docs/CONVERSION.md has the tables.
"""

import argparse
import os
import sys
from pathlib import Path

if not __package__:  # run as a file: import from the repository root, not from this folder
    sys.path[0] = str(Path(__file__).resolve().parents[1])

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # TensorFlow complains of missing GPUs
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")  # transformers, of heads that an encoder has no use for

from kosplinter_common.cli import InputError, exit_with_one_line

FORMATS = ("qass", "splinter", "splinter-remote")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--tf_checkpoint_path", required=True, help="folder, prefix, model.ckpt-N, `checkpoint` file, or .bin file")
    add("--bert_config_file", help="default: bert_config.json or config.json beside the checkpoint")
    add("--vocab_file", help="default: vocab.txt or tokenizer.json beside the checkpoint")
    add("--pytorch_dump_path", required=True, help="folder to write")
    add("--format", choices=FORMATS, default="qass", help="this project's class, stock Splinter, or remote code")
    add("--do_lower_case", action="store_true", help="the vocabulary is lower-cased")
    add("--layer_norm_eps", type=float, help="in place of the config's, in a public system's for QASS too")
    add("--qass_layer_norm_eps", type=float, help="in place of the config's")
    add("--hidden_act", help="in place of the config's, in Hugging Face's terms: gelu (erf), gelu_pytorch_tanh, ...")
    add("--average_last", type=int, default=1, help="average so many checkpoints, up to the one named")
    add("--verify", action=argparse.BooleanOptionalAction, default=True, help="compare with the TensorFlow graph")
    add("--verify_records", help="TFRecords to compare on")
    add("--verify_text", help="text file to compare on; default: the sample corpus, or random WordPieces")
    add("--verify_tolerance", type=float, default=1e-4, help="largest absolute difference allowed")
    add("--license", default="other", help="licence field of the model card")
    return parser.parse_args()


def main() -> None:
    arguments = parse_arguments()
    if arguments.pytorch_dump_path.endswith((".bin", ".pt", ".pth")):
        raise InputError(
            f"--pytorch_dump_path: found the name of a file, {arguments.pytorch_dump_path}: the original wrote one, "
            "here it is a folder of weights, config and tokenizer"
        )

    from finetuning.conversion.to_torch import ConversionConfig, convert

    values = vars(arguments) | {"checkpoint": arguments.tf_checkpoint_path, "output": arguments.pytorch_dump_path}
    del values["tf_checkpoint_path"], values["pytorch_dump_path"]
    convert(ConversionConfig(**values))


if __name__ == "__main__":
    exit_with_one_line(main)
