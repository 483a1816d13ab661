"""What a run says about each question, and the files it says it in."""

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from finetuning.qa.decoding import Answer, Decoded
from finetuning.qa.features import QAFeatures
from finetuning.qa.metrics import best_null_threshold, evaluate_oracle, evaluate_predictions, metric_named
from finetuning.qa.questions import QAExample, has_unanswerable
from kosplinter_common.files import JSON_ERRORS, atomic_file

PREDICTIONS = "predictions.json"
NBEST = "nbest_predictions.json"
EVAL_RESULTS = "eval_results.json"
QUESTION_RESULTS = "question_results.jsonl"


def write_text(path: Path, text: str) -> None:
    with atomic_file(path) as partial:
        partial.write_text(text, encoding="utf-8", errors=JSON_ERRORS)


def write_json(path: Path, content: Any) -> None:
    write_text(path, json.dumps(content, ensure_ascii=False, indent=2) + "\n")


def write_jsonl(path: Path, rows: Iterable[Any]) -> None:
    with atomic_file(path) as partial, partial.open("w", encoding="utf-8", errors=JSON_ERRORS) as file:
        file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def choose_answers(
    decoded: dict[str, Decoded], examples: Sequence[QAExample], null_threshold: float | None
) -> dict[str, str]:
    """The answer to each question: the best span, or "" where there is none or where "no answer" scores higher than it
    by more than `null_threshold` (None: every question is answered).
    """
    predictions = {}
    for example in examples:
        found = decoded.get(example.id)
        silent = found is None or not found.answers
        if found is not None and null_threshold is not None:
            silent = silent or found.null_difference > null_threshold
        predictions[example.id] = "" if silent or found is None else found.answers[0].text
    return predictions


def nbest_lists(
    decoded: dict[str, Decoded], examples: Sequence[QAExample], with_null: bool
) -> dict[str, list[dict[str, Any]]]:
    """All answers of each question, best first; `with_null`, the empty one among them at its score's place."""
    lists = {}
    for example in examples:
        found = decoded.get(example.id)
        answers = list(found.answers) if found else []
        if with_null and not answers:
            answers = [Answer("", 0, 0, 0.0, 1.0)]
        elif with_null and found:
            best = answers[0]
            # probabilities of one question have the same denominator, so their ratios are those of the scores
            score = best.score + found.null_difference
            ratio = math.exp(min(found.null_difference, 700.0))
            answers.append(Answer("", 0, 0, score, min(best.probability * ratio, 1.0)))
            answers.sort(key=lambda answer: -answer.score)
        lists[example.id] = [asdict(answer) for answer in answers]
    return lists


def score_run(
    decoded: dict[str, Decoded],
    examples: Sequence[QAExample],
    metric_names: Sequence[str],
    null_threshold: float | None,
) -> tuple[dict[str, str], dict[str, list[dict[str, Any]]], dict[str, Any]]:
    """Predictions, n-best lists and scores of one run over `examples` (null_threshold as in `choose_answers`)."""
    predictions = choose_answers(decoded, examples, null_threshold)
    nbest = nbest_lists(decoded, examples, with_null=null_threshold is not None)
    labelled = [example for example in examples if example.labelled]
    if not labelled:
        return predictions, nbest, {"total": 0, "unlabelled": len(examples)}
    results: dict[str, Any] = evaluate_predictions(predictions, labelled, metric_names)
    results |= evaluate_oracle(nbest, labelled, metric_names[0])
    if len(labelled) < len(examples):
        results["unlabelled"] = len(examples) - len(labelled)
    if null_threshold is not None:
        results["null_score_diff_threshold"] = null_threshold
    if has_unanswerable(labelled):
        differences = {question: found.null_difference for question, found in decoded.items() if found.answers}
        spoken = choose_answers(decoded, labelled, None)
        results |= best_null_threshold(differences, spoken, labelled, metric_names[0])
    return predictions, nbest, results


def question_rows(
    predictions: dict[str, str], decoded: dict[str, Decoded], features: QAFeatures, metric_names: Sequence[str]
) -> Iterable[dict[str, Any]]:
    """One row per question whose answer is told, for error analysis: asked, expected, found and where, and its scores.

    `windows` are the characters [start, end) that each window of the question shows of the context.
    """
    windows = _window_characters(features)
    some_unanswerable = has_unanswerable(features.examples)
    metrics = {name: metric_named(name, some_unanswerable) for name in metric_names}
    for i, example in enumerate(features.examples):
        if not example.labelled:
            continue
        found = decoded.get(example.id)
        best = found.answers[0] if found and found.answers and predictions[example.id] else None
        row: dict[str, Any] = {
            "id": example.id,
            "question": example.question,
            "golds": list(example.golds),
            "gold_spans": [[start, start + len(text)] for start, text in example.spans],
            "prediction": predictions[example.id],
            "span": [best.start, best.end] if best else None,
            "score": best.score if best else None,
            "probability": best.probability if best else None,
            "null_difference": found.null_difference if found else None,
            "windows": windows[i],
        }
        for name, metric in metrics.items():
            row[f"{name}_exact_match"], row[f"{name}_f1"] = metric.score(predictions[example.id], example)
        yield row


def _window_characters(features: QAFeatures) -> list[list[list[int]]]:
    characters: list[list[list[int]]] = [[] for _ in features.examples]
    for example, first, last, _, _ in features.windows.tolist():
        context = features.contexts[features.context_of_example[example]]
        characters[example].append([int(context.starts[first]), int(context.ends[last - 1])])
    return characters
