"""Makes an --init_checkpoint for pretraining from a Hugging Face BERT, Splinter or ELECTRA encoder.

    python finetuning/convert_pytorch_to_tf.py --pytorch_model_path=koelectra-base-v3 --tf_dump_path=init

A vocabulary without [QUESTION] gets it as a new last row, or in the place of an unused token (--question_slot).
"""

import argparse
import os
import sys
from pathlib import Path

if not __package__:  # run as a file: import from the repository root, not from this folder
    sys.path[0] = str(Path(__file__).resolve().parents[1])

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # TensorFlow complains of missing GPUs
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")  # transformers, of heads that an encoder has no use for

from kosplinter_common.cli import exit_with_one_line


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--pytorch_model_path", required=True, help="folder, .safetensors or .bin file")
    add("--bert_config_file", help="default: bert_config.json or config.json beside the model")
    add("--vocab_file", help="default: vocab.txt or tokenizer.json beside the model")
    add("--tf_dump_path", required=True, help="folder to write: model.ckpt, bert_config.json, vocab.txt")
    add("--question_slot", help="token that gives its place to [QUESTION], [unused0] for instance; default: a new row")
    add("--layer_norm_eps", type=float, help="in place of the config's, in a public system's for QASS too")
    add("--max_projection_error", type=float, help="accept a folded embedding projection off by so much (0.3: 30%%)")
    add("--verify", action=argparse.BooleanOptionalAction, default=True, help="compare the encoders of both frameworks")
    add("--verify_tolerance", type=float, default=1e-4, help="largest absolute difference allowed")
    return parser.parse_args()


def main() -> None:
    arguments = vars(parse_arguments())

    from finetuning.conversion.to_tensorflow import BackConversionConfig, convert

    paths = {"checkpoint": arguments.pop("pytorch_model_path"), "output": arguments.pop("tf_dump_path")}
    given = {name: value for name, value in arguments.items() if value is not None}
    convert(BackConversionConfig(**paths, **given))


if __name__ == "__main__":
    exit_with_one_line(main)
