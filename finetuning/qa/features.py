"""Windows of question and context as wordpiece ids, with character offsets from a fast tokenizer. Needs no torch.

A context is tokenised once, however many questions and windows it has: a window is three numbers into it, so features
of a whole data set are small, and made faster than a cache of them could be read safely.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from tokenizers import Encoding, Tokenizer
from tokenizers.models import WordPiece
from tokenizers.normalizers import NFC, Replace
from tokenizers.normalizers import Sequence as NormalizerSequence

from finetuning.qa.questions import Fault, QAExample
from kosplinter_common.characters import replacements
from kosplinter_common.cli import InputError

if TYPE_CHECKING:
    from torch import Tensor

QUESTION_TOKEN = "[QUESTION]"
# Characters that continue the one before them: conjoining vowels and finals, combining marks, joiners, selectors.
CONTINUATION = re.compile("[\u1160-\u11ff\u0300-\u036f\u200d\ufe00-\ufe0f\U0001f3fb-\U0001f3ff]+")
NO_SPAN = -1
LABELS = ("start_positions", "end_positions")


@dataclass(frozen=True)
class InputTemplate:
    """What stands around question and context, and what the model is told about it.

    `types` are the token types of prefix, question, middle, context, suffix. A QUESTION template is Splinter's
    (`[CLS] question [QUESTION] . [SEP] context [SEP]`, zero token types, explicit positions).
    """

    prefix: tuple[int, ...]
    middle: tuple[int, ...]
    suffix: tuple[int, ...]
    types: tuple[int, int, int, int, int]
    hidden_ids: tuple[int, ...]
    cls_index: int
    pad_id: int
    uses_token_types: bool
    explicit_positions: bool

    @property
    def num_special(self) -> int:
        return len(self.prefix) + len(self.middle) + len(self.suffix)


def question_template(tokenizer: Any, hide_sep: bool) -> InputTemplate:
    """Splinter's template from a tokenizer whose vocabulary has [QUESTION].

    Raises:
      InputError: the vocabulary has no [QUESTION].
    """
    vocabulary = tokenizer.get_vocab()
    if QUESTION_TOKEN not in vocabulary:
        raise InputError(
            f"{tokenizer.name_or_path}: the vocabulary ({len(vocabulary)} tokens) has no {QUESTION_TOKEN}, which a "
            "QASS head needs; expected it there (or --qass_head=False)"
        )
    period = vocabulary.get(".", tokenizer.unk_token_id)
    sep = tokenizer.sep_token_id
    return InputTemplate(
        prefix=(tokenizer.cls_token_id,),
        middle=(vocabulary[QUESTION_TOKEN], period, sep),
        suffix=(sep,),
        types=(0, 0, 0, 0, 0),
        hidden_ids=(sep,) if hide_sep else (),
        cls_index=0,
        pad_id=tokenizer.pad_token_id,
        uses_token_types=True,
        explicit_positions=True,
    )


def pair_template(tokenizer: Any, num_token_types: int = 2) -> InputTemplate:
    """The tokenizer's own way to join two texts, read off an example.

    num_token_types: of the model, which may have fewer than its tokenizer tells apart: KLUE's RoBERTa has one, and a
    tokenizer of BERT.
    """
    encoded = tokenizer("1", "1")
    ids, sequences = encoded["input_ids"], encoded.sequence_ids(0)
    types = encoded.get("token_type_ids") or [0] * len(ids)
    question = [i for i, sequence in enumerate(sequences) if sequence == 0]
    context = [i for i, sequence in enumerate(sequences) if sequence == 1]
    borders = (slice(0, question[0]), slice(question[-1] + 1, context[0]), slice(context[-1] + 1, len(ids)))
    prefix, middle, suffix = (tuple(ids[border]) for border in borders)
    if tokenizer.get_vocab().get(QUESTION_TOKEN) in middle:
        middle = middle[-1:]  # a Splinter tokenizer under another head: only the separator stays
    of_specials = [types[border.start] if border.start < border.stop else 0 for border in borders]
    return InputTemplate(
        prefix,
        middle,
        suffix,
        types=(of_specials[0], types[question[0]], of_specials[1], types[context[0]], of_specials[2]),
        hidden_ids=(),
        cls_index=prefix.index(tokenizer.cls_token_id) if tokenizer.cls_token_id in prefix else 0,
        pad_id=tokenizer.pad_token_id,
        uses_token_types="token_type_ids" in encoded and num_token_types > 1,
        explicit_positions=False,
    )


@dataclass(frozen=True)
class TokenizedContext:
    """Wordpieces of one context: ids [n] and the characters [starts, ends) they cover."""

    ids: np.ndarray
    starts: np.ndarray
    ends: np.ndarray


class OffsetTokenizer:
    """A fast tokenizer that leaves special tokens written in a text alone, reads decomposed Hangul as composed, and
    characters that a WordPiece vocabulary lacks as in pretraining.
    """

    def __init__(self, tokenizer: Any) -> None:
        """Raises InputError if the tokenizer has no fast version."""
        if not getattr(tokenizer, "is_fast", False):
            raise InputError(f"{tokenizer.name_or_path}: found a slow tokenizer, expected a fast one (offsets needed)")
        backend = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
        backend.no_padding()
        backend.no_truncation()
        backend.encode_special_tokens = True
        self._read_as: dict[int, str] = {}
        if backend.normalizer is not None:
            backend.normalizer = NormalizerSequence([NFC(), *self._read_as_in_pretraining(backend), backend.normalizer])
        self._backend = backend

    def _read_as_in_pretraining(self, backend: Tokenizer) -> list[Replace]:
        """Notes what one character stands for; what several do is the library's, which keeps the offsets."""
        if not isinstance(backend.model, WordPiece):
            return []
        lacked = replacements(backend.get_vocab(), do_lower_case=backend.normalizer.normalize_str("A") == "a")
        self._read_as = str.maketrans({character: other for character, other in lacked.items() if len(other) == 1})
        return [Replace(character, other) for character, other in lacked.items() if len(other) > 1]

    def _encode(self, texts: Sequence[str]) -> list[Encoding]:
        return self._backend.encode_batch([text.translate(self._read_as) for text in texts], add_special_tokens=False)

    def questions(self, texts: Sequence[str]) -> list[np.ndarray]:
        encodings = self._encode(texts)
        return [np.array(encoding.ids, np.int32) for encoding in encodings]

    def contexts(self, texts: Sequence[str]) -> list[TokenizedContext]:
        encodings = self._encode(texts)
        return [_with_offsets(text, encoding) for text, encoding in zip(texts, encodings, strict=True)]


def _with_offsets(text: str, encoding: Encoding) -> TokenizedContext:
    """A composed character carries the offsets of its first code point only: its token is stretched over the rest."""
    offsets = np.array(encoding.offsets, np.int32).reshape(-1, 2)
    starts, ends = offsets[:, 0].copy(), offsets[:, 1].copy()
    run_ends = {match.start(): match.end() for match in CONTINUATION.finditer(text)}
    if run_ends:
        for i, end in enumerate(ends.tolist()):
            ends[i] = run_ends.get(end, end)
    return TokenizedContext(np.array(encoding.ids, np.int32), starts, ends)


@dataclass(frozen=True)
class FeatureSettings:
    """Sizes in wordpieces. `doc_stride` is how far a window moves on (as in the original), not how much two share."""

    max_seq_length: int = 384
    doc_stride: int = 128
    max_query_length: int = 64

    def __post_init__(self) -> None:
        if self.doc_stride < 1 or self.max_query_length < 1:
            raise InputError(f"doc_stride {self.doc_stride} and max_query_length {self.max_query_length} must be ≥ 1")


@dataclass
class QAFeatures:
    """All windows of a data set.

    windows: int32 [n, 5]: example, first and behind-last wordpiece in its context, labelled start and end positions in
    the model's input (NO_SPAN where the labels do not count).
    """

    template: InputTemplate
    examples: list[QAExample]
    questions: list[np.ndarray]
    contexts: list[TokenizedContext]
    context_of_example: np.ndarray
    windows: np.ndarray
    faults: list[Fault] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.windows)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """One window: unpadded int32 arrays input_ids and token_type_ids, and numbers that locate its context part."""
        example, first, last, start, end = (int(value) for value in self.windows[index])
        template, question = self.template, self.questions[example]
        context = self.contexts[self.context_of_example[example]].ids[first:last]
        parts = (template.prefix, question, template.middle, context, template.suffix)
        context_start = len(template.prefix) + len(question) + len(template.middle)
        return {
            "input_ids": np.concatenate([np.asarray(part, np.int32) for part in parts]),
            "token_type_ids": np.repeat(np.array(template.types, np.int32), [len(part) for part in parts]),
            "context_start": context_start,
            "context_end": context_start + last - first,
            "start_positions": start,
            "end_positions": end,
        }

    @property
    def lengths(self) -> np.ndarray:
        """Unpadded length of each window, int32 [n]."""
        question_lengths = np.array([len(question) for question in self.questions], np.int32)
        examples, first, last = self.windows[:, 0], self.windows[:, 1], self.windows[:, 2]
        return self.template.num_special + question_lengths[examples] + last - first

    @property
    def context_offsets(self) -> np.ndarray:
        """For each window, what to add to a position in the model's input to get a wordpiece of the context, [n]."""
        return self.windows[:, 2] + len(self.template.suffix) - self.lengths

    def answer_span(self, example: int, first_piece: int, last_piece: int) -> tuple[int, int]:
        """Characters [start, end) of the inclusive wordpieces, without white space at either end."""
        context = self.contexts[self.context_of_example[example]]
        start, end = int(context.starts[first_piece]), int(context.ends[last_piece])
        text = self.examples[example].context[start:end]
        return start + len(text) - len(text.lstrip()), end - len(text) + len(text.rstrip())

    def fault_counts(self) -> dict[str, int]:
        return dict(Counter(fault.reason for fault in self.faults))


def build_features(
    examples: Sequence[QAExample],
    tokenizer: OffsetTokenizer,
    template: InputTemplate,
    settings: FeatureSettings,
    with_labels: bool,
) -> QAFeatures:
    """Tokenises and cuts into windows; with labels, a question whose answer cannot be placed is left out and listed.

    Labels: the answer's wordpieces where a window holds them all, else [CLS]. Faults that leave a question in:
    answer_inside_wordpiece (labels grown to whole wordpieces), question_truncated.

    Raises:
      InputError: max_seq_length leaves no room for a context.
    """
    unique = {context: i for i, context in enumerate(dict.fromkeys(example.context for example in examples))}
    contexts = tokenizer.contexts(list(unique))
    questions = tokenizer.questions([example.question for example in examples])
    context_of_example = np.array([unique[example.context] for example in examples], np.int64)
    features = QAFeatures(template, list(examples), questions, contexts, context_of_example, np.empty((0, 5), np.int32))
    windows: list[tuple[int, int, int, int, int]] = []
    for i, example in enumerate(examples):
        if len(questions[i]) > settings.max_query_length:
            detail = f"found {len(questions[i])} wordpieces, kept {settings.max_query_length}"
            features.faults.append(Fault(example.id, "question_truncated", detail))
            questions[i] = questions[i][: settings.max_query_length]
        context = contexts[context_of_example[i]]
        if len(context.ids) == 0:
            features.faults.append(Fault(example.id, "empty_context"))
            continue
        span = None
        if with_labels and example.answerable:
            span, fault = _label_pieces(example, context)
            if fault:
                features.faults.append(fault)
            if span is None:
                continue
        windows.extend(_windows_of(i, len(questions[i]), len(context.ids), span, template, settings, features))
    features.windows = np.array(windows, np.int32).reshape(-1, 5)
    return features


def _label_pieces(example: QAExample, context: TokenizedContext) -> tuple[tuple[int, int] | None, Fault | None]:
    """Inclusive wordpieces of the first answer that can be placed, and what is wrong with it, if anything."""
    reasons: list[Fault] = []
    for start, text in example.spans:
        end = start + len(text)
        found = example.context[max(start, 0) : end]
        if start < 0 or found != text:
            reasons.append(Fault(example.id, "offset_mismatch", f"at {start} found {found!r}, expected {text!r}"))
            continue
        touched = np.flatnonzero((context.ends > start) & (context.starts < end) & (context.ends > context.starts))
        if not text.strip() or not len(touched):
            reasons.append(Fault(example.id, "answer_without_wordpiece", repr(text)))
            continue
        first, last = int(touched[0]), int(touched[-1])
        covered = example.context[context.starts[first] : context.ends[last]]
        if _visible(covered) == _visible(text):
            return (first, last), None
        return (first, last), Fault(example.id, "answer_inside_wordpiece", f"{text!r} becomes {covered!r}")
    return None, reasons[0] if reasons else Fault(example.id, "answer_without_offset", repr(example.golds))


def _visible(text: str) -> str:
    """Without white space and zero-width characters, which no wordpiece need cover."""
    return "".join(character for character in text if character.isprintable() and not character.isspace())


def _windows_of(
    example: int,
    question_length: int,
    context_length: int,
    span: tuple[int, int] | None,
    template: InputTemplate,
    settings: FeatureSettings,
    features: QAFeatures,
) -> list[tuple[int, int, int, int, int]]:
    room = settings.max_seq_length - template.num_special - question_length
    if room < 1:
        raise InputError(
            f"max_seq_length {settings.max_seq_length} leaves no room for a context behind a question of "
            f"{question_length} wordpieces; expected more, or a smaller max_query_length"
        )
    offset = len(template.prefix) + question_length + len(template.middle)
    windows, held = [], span is None
    first = 0
    while True:
        last = min(first + room, context_length)
        start = end = template.cls_index
        if span is not None and first <= span[0] and span[1] < last:
            start, end, held = span[0] - first + offset, span[1] - first + offset, True
        windows.append((example, first, last, start, end))
        if last == context_length:
            break
        first += min(settings.doc_stride, room)
    if not held:
        detail = f"{span[1] - span[0] + 1} wordpieces, windows of {room}" if span else ""
        features.faults.append(Fault(features.examples[example].id, "answer_longer_than_window", detail))
        return []
    return windows


class WindowCollator:
    """Pads windows to the longest of the batch and gives the model's inputs [batch, length]: tensors, or arrays."""

    def __init__(self, template: InputTemplate, with_labels: bool) -> None:
        self._template = template
        self._with_labels = with_labels

    def __call__(self, windows: list[dict[str, Any]]) -> "dict[str, Tensor]":
        from torch import from_numpy  # a model is there, so torch is; the rest of this file needs none

        return {name: from_numpy(array) for name, array in self.arrays(windows).items()}

    def arrays(self, windows: list[dict[str, Any]]) -> dict[str, np.ndarray]:
        template, length = self._template, max(len(window["input_ids"]) for window in windows)
        input_ids = np.full((len(windows), length), template.pad_id, np.int64)
        attention_mask = np.zeros_like(input_ids)
        token_type_ids = np.zeros_like(input_ids)
        for row, window in enumerate(windows):
            size = len(window["input_ids"])
            input_ids[row, :size] = window["input_ids"]
            token_type_ids[row, :size] = window["token_type_ids"]
            attention_mask[row, :size] = 1
        attention_mask[np.isin(input_ids, template.hidden_ids)] = 0
        batch: dict[str, np.ndarray] = {"input_ids": input_ids, "attention_mask": attention_mask}
        if template.uses_token_types:
            batch["token_type_ids"] = token_type_ids
        if template.explicit_positions:
            batch["position_ids"] = np.broadcast_to(np.arange(length), input_ids.shape).copy()
        if self._with_labels:
            batch |= {name: np.array([window[name] for window in windows], np.int64) for name in LABELS}
        else:
            positions = np.arange(length)
            starts = np.array([window["context_start"] for window in windows])[:, None]
            ends = np.array([window["context_end"] for window in windows])[:, None]
            batch["context_mask"] = (positions >= starts) & (positions < ends)
        return batch
