"""QuestionAnswerer: a model that answers, learns from a few questions, and is saved."""

import dataclasses
import functools
import tempfile
import threading
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, overload

from finetuning.qa.metrics import parse_metric_names
from finetuning.qa.questions import QAData, has_unanswerable, load_questions
from finetuning.qa.results import score_run
from kosplinter.engine.answer import Answer
from kosplinter.engine.engine import Engine
from kosplinter.engine.inputs import check_limits, checked_number, checked_request
from kosplinter_common.cli import InputError

N_BEST = 20  # as run_qa.py's default: the oracle scores count that many


class QuestionAnswerer:
    """Answers questions from documents with any extractive model; may be used from several threads at once."""

    def __init__(self, engine: Engine, model: "Any | None" = None) -> None:
        """Use from_pretrained or from_onnx. `model` is a LoadedModel, absent where ONNX runs."""
        self._engine = engine
        self._model = model
        self._lock = threading.RLock()
        self._fitted: tempfile.TemporaryDirectory | None = None

    @classmethod
    def from_pretrained(
        cls,
        model: str | Path,
        *,
        dtype: str = "float32",
        device: str | None = None,
        threads: int = 0,
        **use: Any,
    ) -> "QuestionAnswerer":
        """Loads a folder or a hub name: a QASS model, a stock Splinter, BERT, ELECTRA, RoBERTa or their kind.

        Args:
          dtype: of matrix products: "float32", "bfloat16", or "auto": bfloat16 where this machine is fast at it.
          device: "cpu", "cuda", …; by default a GPU where there is one.
          threads: of this process that compute on a CPU; 0: as torch has it, as many as there are cores.
          use: max_seq_length, doc_stride, max_query_length, max_answer_length, null_score_diff_threshold or hide_sep,
            instead of what the model notes of its own use.

        Raises:
          InputError: no such model, or one whose parts do not fit each other; an unknown setting.
        """
        from kosplinter.engine.torch_model import load_torch_model

        loaded = load_torch_model(str(model), dtype, device, use, threads)
        return cls(loaded.engine, loaded)

    @classmethod
    def from_onnx(cls, folder: str | Path, *, threads: int = 0) -> "QuestionAnswerer":
        """Loads what export_onnx wrote, without torch; 0 threads: as many as there are cores.

        Raises:
          InputError: the folder does not hold an exported model.
        """
        from kosplinter.export.runtime import load_onnx_engine

        return cls(load_onnx_engine(Path(folder), threads))

    @property
    def min_probability(self) -> float:
        """Below which no answer is given unless asked for: what calibrate() found, else 0."""
        return self._engine.calibration.min_probability

    @overload
    def answer(
        self, question: str, documents: str | Sequence[str], *, min_probability: float | None = None
    ) -> Answer | None: ...

    @overload
    def answer(
        self, question: str, documents: str | Sequence[str], *, top_k: int, min_probability: float | None = None
    ) -> list[Answer]: ...

    def answer(
        self,
        question: str,
        documents: str | Sequence[str],
        *,
        top_k: int | None = None,
        min_probability: float | None = None,
    ) -> Answer | list[Answer] | None:
        """The best answer, or None; with top_k, a list of at most so many, best first, over all documents.

        None, or an empty list, means that the model does not know: no answer is as probable as `min_probability`
        (by default what calibrate() found, else 0), or the model has learned to say so and does.

        Raises:
          InputError: a field that cannot be used, by its name.
        """
        wanted = 1 if top_k is None else top_k
        (found,) = self.answer_many([(question, documents)], top_k=wanted, min_probability=min_probability)
        if top_k is None:
            return found[0] if found else None
        return found

    def answer_many(
        self,
        requests: Iterable[tuple[str, str | Sequence[str]]],
        *,
        top_k: int = 1,
        min_probability: float | None = None,
    ) -> list[list[Answer]]:
        """The answers to many (question, documents) at once, each as a list as `answer` gives it: batched by length.

        Raises:
          InputError: a field that cannot be used, by its place and name ("requests[3].question").
        """
        check_limits(top_k, min_probability)
        pairs = list(requests)
        places = [f"requests[{i}]." if len(pairs) > 1 else "" for i in range(len(pairs))]
        checked = [
            checked_request(question, documents, place)
            for place, (question, documents) in zip(places, pairs, strict=True)
        ]
        with self._lock:
            least = self._engine.calibration.min_probability if min_probability is None else min_probability
            return self._engine.rank(checked, top_k, least)

    def evaluate(
        self, questions: str | Path, *, metrics: str = "korquad,squad", progress: bool = False
    ) -> dict[str, Any]:
        """The scores that run_qa.py --do_eval writes, on a file (or comma-separated globs) in any known layout.

        Raises:
          InputError: a file that cannot be read; an unknown metric.
        """
        names, data = parse_metric_names(metrics), load_questions(str(questions))
        with self._lock:
            threshold = self._threshold_for(data)
            decoded = self._engine.decode(data.examples, N_BEST, threshold is not None, progress)
        scores = score_run(decoded, data.examples, names, threshold)[2]
        return scores | ({"faults": data.fault_counts()} if data.faults else {})

    def _threshold_for(self, data: QAData) -> float | None:
        """Of "no answer", by run_qa.py's rule: where some questions have no answer, or may."""
        noted = self._engine.use.null_score_diff_threshold
        if has_unanswerable(data.examples):
            return noted or 0.0
        return noted if any(not example.labelled for example in data.examples) else None

    def fit(
        self,
        questions: str | Path,
        validation: str | Path | None = None,
        *,
        output_dir: str | Path | None = None,
        seeds: Sequence[int] = (42,),
        **flags: Any,
    ) -> dict[str, Any]:
        """Learns from a few dozen questions, as run_qa.py does with the paper's hyper-parameters, and goes on with it.

        Args:
          validation: questions to choose the best epoch, and the best of several seeds, by F1.
          output_dir: keeps all that the runs write; by default only the model is kept, until it is saved.
          seeds: one run each.
          flags: any flag of run_qa.py: num_train_epochs=20, learning_rate=1e-4, …

        Returns:
          The scores of the best run on `validation`, with its seed; {"seed": …} alone without one.

        Raises:
          InputError: files, flags and model that do not fit; several seeds and no validation.
        """
        from kosplinter.answering.fitting import fit_model
        from kosplinter.engine.torch_model import load_torch_model

        model = self._torch_model("fit")
        folder = tempfile.TemporaryDirectory(prefix="kosplinter-fit-") if output_dir is None else None
        target = Path(folder.name if folder else str(output_dir))
        best, results = fit_model(model.source, model.engine.use, str(questions), validation, target, seeds, flags)
        loaded = load_torch_model(str(best), model.dtype, model.device, {})
        with self._lock:
            self._model, self._engine, previous = loaded, loaded.engine, self._fitted
            self._fitted = folder
        if previous:
            previous.cleanup()
        return results

    def calibrate(
        self,
        questions: str | Path,
        *,
        target: float = 0.9,
        picture: str | Path | None = None,
        progress: bool = False,
    ) -> dict[str, Any]:
        """Fits the temperature and the least probability at which `target` of the answers given are right.

        `questions` must be held out from what the model learned from. The two numbers belong to the model from now on;
        save_pretrained writes them into its config. `picture` is a PNG: reliability, and risk over coverage.

        Returns:
          temperature, min_probability, expected calibration error before and after, coverage and precision of answers
          given, cross-validated by article with a 95% interval, and the points of the risk–coverage curve.

        Raises:
          InputError: fewer than 20 questions with a told answer, or a file that cannot be read.
        """
        from kosplinter.calibration.fitting import calibrate

        checked_number(target, "target", 0.0, 1.0)
        data = load_questions(str(questions))
        with self._lock:
            with_null = self._engine.use.null_score_diff_threshold is not None
            best_answers = functools.partial(self._engine.best_answers, with_null=with_null, progress=progress)
            calibration, report = calibrate(data.examples, best_answers, target)
            self._engine = dataclasses.replace(self._engine, calibration=calibration)
        if picture is not None:
            from kosplinter.calibration.picture import draw_calibration

            draw_calibration(report, Path(picture))
        return report

    def save_pretrained(self, folder: str | Path) -> None:
        """Writes weights, tokenizer and config, with what the model notes of its use, as a folder that every command
        here and transformers read.
        """
        with self._lock:
            self._torch_model("save_pretrained").save(Path(folder), self._engine)

    def export_onnx(self, folder: str | Path, *, int8: bool = False) -> dict[str, float]:
        """Writes the model for from_onnx, with dynamic batch and length, and compares its scores with PyTorch's.

        int8: weights of matrix products in 8 bits (dynamic quantization): smaller and faster, and not quite the same.

        Returns:
          largest_difference of logits on trial inputs.

        Raises:
          InputError: the extra `onnx` is not installed; the scores differ by more than 1e-4 (without int8).
        """
        from kosplinter.export.exporting import export_engine

        with self._lock:
            return export_engine(self._torch_model("export_onnx"), self._engine, Path(folder), int8)

    def _torch_model(self, method: str) -> Any:
        if self._model is None:
            raise InputError(f"{method}: this model runs by ONNX, expected one from from_pretrained")
        return self._model
