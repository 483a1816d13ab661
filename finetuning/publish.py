"""Uploads a converted or fine-tuned folder to the Hugging Face Hub; --dry_run checks and lists it without a network.

    python finetuning/publish.py --folder=converted --repo_id=name/kosplinter-base --dry_run

Of a fine-tuned folder the model and its card go; checkpoints and files that hold questions and answers stay.
"""

import argparse
import re
import sys
from pathlib import Path

if not __package__:  # run as a file: import from the repository root, not from this folder
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from kosplinter_common.cli import InputError, exit_with_one_line

# What a run leaves beside its model: of no use to others, with paths of this machine, or with texts of the data.
RUN_FILES = frozenset(
    (
        *("run.json", "train_results.json", "eval_results.json", "data_report.json", "predictions.json"),
        *("nbest_predictions.json", "question_results.jsonl", "training_args.bin"),
    )
)
RUN_FOLDERS = re.compile(r"checkpoint-\d+|runs|\.cache")
NEEDED = ("README.md", "config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json")


def files_to_publish(folder: Path, repo_id: str) -> list[Path]:
    """What an upload would send, sorted.

    Raises:
      InputError: a file that a published model needs is missing, a pickle lies there, or the card names no licence.
    """
    from huggingface_hub.utils import HFValidationError, validate_repo_id

    try:
        validate_repo_id(repo_id)
    except HFValidationError as error:
        raise InputError(f"--repo_id: {error}") from error
    missing = [name for name in NEEDED if not (folder / name).is_file()]
    if missing:
        writers = "convert_tf_to_pytorch.py and run_qa.py --do_train write whole folders"
        raise InputError(f"{folder}: found no {', '.join(missing)}; {writers}")
    files = sorted(path for path in folder.rglob("*") if path.is_file() and not _is_of_a_run(path.relative_to(folder)))
    pickles = [path.name for path in files if path.suffix in (".bin", ".pt", ".pth", ".pkl")]
    if pickles:
        raise InputError(f"{folder}: found {', '.join(pickles)}, expected safetensors only: pickles can run code")
    if "\nlicense: other\n" in (folder / "README.md").read_text(encoding="utf-8"):
        raise InputError(f"{folder}/README.md: license: found 'other', expected the one you publish under")
    return files


def _is_of_a_run(path: Path) -> bool:
    return path.name in RUN_FILES or any(RUN_FOLDERS.fullmatch(part) for part in path.parts[:-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", required=True, help="what convert_tf_to_pytorch.py or run_qa.py wrote")
    parser.add_argument("--repo_id", required=True, help="user/model on the Hub")
    parser.add_argument("--private", action="store_true", help="create the repository as a private one")
    parser.add_argument("--dry_run", action="store_true", help="check and list, send nothing")
    arguments = parser.parse_args()
    folder = Path(arguments.folder)
    files = files_to_publish(folder, arguments.repo_id)
    for file in files:
        print(f"{file.stat().st_size:>13,} bytes  {file.relative_to(folder)}")
    if arguments.dry_run:
        print(f"dry run: {len(files)} files would go to {arguments.repo_id}")
        return

    from huggingface_hub import create_repo, upload_folder

    create_repo(arguments.repo_id, private=arguments.private, exist_ok=True)
    names = [str(file.relative_to(folder)) for file in files]
    print(upload_folder(repo_id=arguments.repo_id, folder_path=folder, allow_patterns=names, commit_message="Model"))


if __name__ == "__main__":
    exit_with_one_line(main)
