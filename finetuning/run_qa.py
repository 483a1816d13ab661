"""Fine-tunes a model for extractive question answering and answers questions with it.

    python finetuning/run_qa.py --model_type=bert --model_name_or_path DIR --qass_head=True --train_file F \
        --predict_file G --do_train --do_eval --output_dir OUT

Takes the flags of the original systems and every flag of Hugging Face's TrainingArguments. Data may be KorQuAD/SQuAD
JSON, SQuAD 2.0, KLUE-MRC, AI Hub 기계독해, MRQA JSONL(.gz) or plain JSONL, told apart by content. OUT gets the model,
predictions.json, nbest_predictions.json, question_results.jsonl, eval_results.json and data_report.json.
"""

import json
import sys
from pathlib import Path

if not __package__:  # run as a file: import from the repository root, not from this folder
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from kosplinter_common.cli import InputError, exit_with_one_line

# isort: split

from finetuning.flags import SETTINGS, make_parser, parse_settings, prepare_training_arguments


def main() -> None:
    parser = make_parser("run_qa.py", __doc__, *SETTINGS)
    model, data, schedule, arguments = parse_settings(parser, sys.argv[1:])
    if not arguments.do_train and not arguments.do_eval:
        raise InputError("nothing to do: expected --do_train, --do_eval or both")
    if not arguments.output_dir:
        raise InputError("--output_dir: found nothing, expected a folder")
    prepare_training_arguments(arguments, schedule, data, arguments.do_eval)

    from finetuning.qa.identity import RunSettings
    from finetuning.qa.run import load_run_data, run_question_answering

    run_data = load_run_data(data, arguments.do_train, arguments.do_eval)
    results = run_question_answering(RunSettings(model, data, schedule), arguments, run_data)
    if results and arguments.process_index == 0:
        print(json.dumps(results, ensure_ascii=False, indent=2))


if __name__ == "__main__":
    exit_with_one_line(main)
