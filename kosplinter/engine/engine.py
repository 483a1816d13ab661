"""What stands behind a QuestionAnswerer: texts to windows, windows to scores, scores to ranked answers. No torch."""

import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from finetuning.qa.decoding import Decoded, DecodingSettings, rank_documents
from finetuning.qa.features import FeatureSettings, InputTemplate, OffsetTokenizer, QAFeatures, build_features
from finetuning.qa.questions import QAExample
from finetuning.qa.reading import DocumentReader, decode_chunk
from kosplinter.calibration.calibration import Calibration
from kosplinter.engine.answer import Answer, sentence_around
from kosplinter.engine.inputs import Request
from kosplinter.engine.use import UseSettings

EXAMPLES_AT_ONCE = 1024  # questions × documents whose windows are batched together


@dataclass(frozen=True)
class Engine:
    """A model with all that its use needs."""

    tokenizer: OffsetTokenizer
    template: InputTemplate
    reader: DocumentReader
    use: UseSettings = field(default_factory=UseSettings)
    calibration: Calibration = field(default_factory=Calibration)

    def features(self, examples: Sequence[QAExample]) -> QAFeatures:
        sizes = FeatureSettings(self.use.max_seq_length, self.use.doc_stride, self.use.max_query_length)
        return build_features(examples, self.tokenizer, self.template, sizes, with_labels=False)

    def decode(self, examples: Sequence[QAExample], n_best: int, with_null: bool, progress: bool) -> dict[str, Decoded]:
        """The answers of each example that has a window, as run_qa.py finds them."""
        decoding = self.decoding(n_best, with_null, temperature=1.0)
        return self.reader.read(self.features(examples), decoding, progress=progress)

    def decoding(self, n_best: int, with_null: bool, temperature: float) -> DecodingSettings:
        return DecodingSettings(self.use.max_answer_length, n_best, with_null, temperature)

    def best_answers(
        self, examples: Sequence[QAExample], temperatures: np.ndarray, with_null: bool, progress: bool
    ) -> dict[str, tuple[str, np.ndarray]]:
        """The best answer of each example that has one, and its probability at each temperature."""
        features = self.features(examples)
        found: dict[str, tuple[str, np.ndarray]] = {}
        for first, last, logits in self.reader.chunks(features, progress=progress):
            by_temperature = [
                decode_chunk(features, first, last, logits, self.decoding(1, with_null, float(temperature)))
                for temperature in temperatures
            ]
            for name, decoded in by_temperature[0].items():
                if decoded.answers:
                    probabilities = [of_all[name].answers[0].probability for of_all in by_temperature]
                    found[name] = decoded.answers[0].text, np.array(probabilities)
        return found

    def rank(self, requests: Sequence[Request], top_k: int, min_probability: float) -> list[list[Answer]]:
        """For each request its best answers over all its documents; none where the best one may not be given."""
        threshold = self.use.null_score_diff_threshold
        decoding = self.decoding(top_k, threshold is not None, self.calibration.temperature)
        found: list[list[Decoded]] = [[] for _ in requests]
        numbers: list[list[int]] = [[] for _ in requests]  # of the documents that have a window
        for part in _parts(requests):
            features = self.features([example for _, _, example in part])
            for fault in features.faults:
                if fault.reason == "question_truncated":
                    print(f"question cut ({fault.detail}; see max_query_length)", file=sys.stderr)
            decoded = self.reader.read(features, decoding)
            for number, document, example in part:
                if example.id in decoded:
                    found[number].append(decoded[example.id])
                    numbers[number].append(document)
        rankings = []
        for request, of_documents, own in zip(requests, found, numbers, strict=True):
            ranked, null_difference = rank_documents(of_documents, decoding)
            silent = threshold is not None and null_difference > threshold
            rankings.append([] if silent else _answers(request, ranked, own, min_probability))
        return rankings


def _answers(request: Request, ranked: Iterable, numbers: Sequence[int], min_probability: float) -> list[Answer]:
    answers = []
    for index, found in ranked:
        if found.probability >= min_probability:
            text, document = request.documents[numbers[index]], numbers[index]
            sentence = sentence_around(text, found.start, found.end)
            answers.append(
                Answer(found.text, found.start, found.end, found.score, found.probability, sentence, document)
            )
    return answers


def _parts(requests: Sequence[Request]) -> Iterable[list[tuple[int, int, QAExample]]]:
    """(request, document, example) of every pair, in parts of bounded size."""
    part = []
    for number, request in enumerate(requests):
        for document, text in enumerate(request.documents):
            name = f"{number}/{document}"
            example = QAExample(name, request.question, text, spans=(), golds=(), article="", labelled=False)
            part.append((number, document, example))
            if len(part) == EXAMPLES_AT_ONCE:
                yield part
                part = []
    if part:
        yield part
