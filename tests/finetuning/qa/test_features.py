"""Answers come back from their features by character offsets, whatever the text is made of."""

import unicodedata

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.normalizers import NFC
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing
from transformers import BertTokenizer, PreTrainedTokenizerFast, SplinterTokenizer

from finetuning.qa.features import (
    FeatureSettings,
    InputTemplate,
    OffsetTokenizer,
    QAFeatures,
    build_features,
    pair_template,
    question_template,
)
from finetuning.qa.questions import QAExample
from kosplinter_common.cli import InputError
from tests.finetuning.tiny_qa import splinter_tokenizer, vocabulary

TOKENIZER = splinter_tokenizer()
OFFSETS = OffsetTokenizer(TOKENIZER)
TEMPLATE = question_template(TOKENIZER, hide_sep=True)


def features_of(
    context: str,
    answer: str,
    start: int | None = None,
    question: str = "누가?",
    sizes: FeatureSettings | None = None,
    template: InputTemplate = TEMPLATE,
) -> QAFeatures:
    start = context.index(answer) if start is None else start
    item = QAExample("q", question, context, ((start, answer),), (answer,), "글")
    return build_features([item], OFFSETS, template, sizes or FeatureSettings(), with_labels=True)


def labelled_texts(features: QAFeatures) -> list[str]:
    """The text that each window's labels point to, "" for [CLS]."""
    texts = []
    for i in range(len(features)):
        window, shift = features[i], int(features.context_offsets[i])
        start, end = window["start_positions"], window["end_positions"]
        if start < window["context_start"]:
            assert start == end == features.template.cls_index
            texts.append("")
            continue
        assert window["context_start"] <= start <= end < window["context_end"]
        span = features.answer_span(0, start + shift, end + shift)
        texts.append(features.examples[0].context[slice(*span)])
    return texts


@pytest.mark.parametrize(
    ("context", "answer"),
    [
        ("김민수는 서울에서 태어났다.", "서울"),  # a particle glued to the answer
        ("김민수는 서울에서 태어났다.", "김민수"),
        ("(서울)에서, 살며", "서울"),
        ("서\u200b울에서 살며", "서\u200b울"),  # zero-width space inside
        ("\u200b서울에서 살며", "\u200b서울"),
        ("서울에서 🎉 걷는다", "🎉"),
        ("서울에서 👨\u200d👩\u200d👧 걷는다", "👨\u200d👩\u200d👧"),
        ("  서울   부산  ", "서울   부산"),
    ],
)
def test_answers_come_back_exactly(context: str, answer: str) -> None:
    features = features_of(context, answer)
    (text,) = labelled_texts(features)
    assert text.strip("\u200b") == answer.strip("\u200b") and not features.faults


def test_decomposed_hangul_is_read_as_composed_and_cut_at_its_own_characters() -> None:
    composed, answer = "김민수는 서울에서 태어났다.", "서울"
    context, decomposed = unicodedata.normalize("NFD", composed), unicodedata.normalize("NFD", answer)
    features = features_of(context, decomposed)
    np.testing.assert_array_equal(features[0]["input_ids"], features_of(composed, answer)[0]["input_ids"])
    assert labelled_texts(features) == [decomposed] and not features.faults


def test_an_answer_that_ends_inside_a_wordpiece_grows_and_is_listed() -> None:
    features = features_of("💡서울에서 살며", "서울")  # the emoji makes the whole word one [UNK]
    assert labelled_texts(features) == ["💡서울에서"]
    assert features.fault_counts() == {"answer_inside_wordpiece": 1} and "💡서울에서" in features.faults[0].detail


@pytest.mark.parametrize(
    ("context", "answer", "start", "reason"),
    [
        ("서울에서 살며", "부산", 0, "offset_mismatch"),
        ("서울에서 살며", "서울", 1, "offset_mismatch"),
        ("서울에서 살며", "며", -1, "offset_mismatch"),
        ("서울에서 살며", "살며", 99, "offset_mismatch"),
        ("서울에서 \u200b 살며", "\u200b", 5, "answer_without_wordpiece"),
        (" \u200b ", "\u200b", 1, "empty_context"),
    ],
)
def test_an_answer_that_cannot_be_found_is_left_out_and_listed(
    context: str, answer: str, start: int, reason: str
) -> None:
    features = features_of(context, answer, start)
    assert len(features) == 0 and features.fault_counts() == {reason: 1}


def test_the_second_answer_serves_where_the_first_is_wrong() -> None:
    item = QAExample("q", "누가?", "서울에서 살며", ((3, "서울"), (0, "서울")), ("서울",), "글")
    assert labelled_texts(build_features([item], OFFSETS, TEMPLATE, FeatureSettings(), True)) == ["서울"]


def test_an_answer_longer_than_every_window_is_listed() -> None:
    context = "서울부산대구인천광주대전"
    features = features_of(context, context, sizes=FeatureSettings(max_seq_length=14, doc_stride=2))
    assert len(features) == 0 and features.fault_counts() == {"answer_longer_than_window": 1}


def test_a_long_question_is_cut_and_listed() -> None:
    features = features_of("서울에서", "서울", question="누가 " * 10, sizes=FeatureSettings(max_query_length=4))
    assert features.fault_counts() == {"question_truncated": 1} and features[0]["context_start"] == 1 + 4 + 3


def test_no_room_for_a_context_is_an_error() -> None:
    with pytest.raises(InputError, match="max_seq_length 7"):
        features_of("서울에서", "서울", sizes=FeatureSettings(max_seq_length=7))


def test_the_question_template_is_the_one_of_the_splinter_tokenizer() -> None:
    ids = features_of("서울에서 살며", "서울", question="누가 [SEP]?")[0]["input_ids"].tolist()
    stock = TOKENIZER("누가 ?", "서울에서 살며")["input_ids"]
    pieces = TOKENIZER.convert_ids_to_tokens(ids)
    assert pieces[0] == "[CLS]" and pieces[-1] == "[SEP]"
    question = pieces[1 : pieces.index("[QUESTION]")]
    assert "[SEP]" not in question and question[:2] == ["누", "##가"]  # text never becomes a special token
    assert pieces[pieces.index("[QUESTION]") :] == TOKENIZER.convert_ids_to_tokens(stock)[4:]
    assert pieces.count("[QUESTION]") == 1


def test_pair_template_equals_the_tokenizers_own_encoding() -> None:
    tokenizer = BertTokenizer(vocab=vocabulary(with_question=False), do_lower_case=False, strip_accents=False)
    item = QAExample("q", "누가 걷는가?", "서울에서 살며", ((0, "서울"),), ("서울",), "글")
    window = build_features([item], OffsetTokenizer(tokenizer), pair_template(tokenizer), FeatureSettings(), True)[0]
    encoded = tokenizer(item.question, item.context)
    assert window["input_ids"].tolist() == encoded["input_ids"]
    assert window["token_type_ids"].tolist() == encoded["token_type_ids"]


def test_pair_template_of_two_separators_in_the_middle() -> None:
    pieces = {
        piece: i for i, piece in enumerate(["<s>", "<pad>", "</s>", "<unk>", "누가", "걷는가", "서울에서", "살며"])
    }
    backend = Tokenizer(WordLevel(pieces, unk_token="<unk>"))
    backend.pre_tokenizer = Whitespace()
    backend.post_processor = TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, cls_token="<s>", sep_token="</s>", pad_token="<pad>", unk_token="<unk>"
    )
    item = QAExample("q", "누가 걷는가", "서울에서 살며", ((0, "서울에서"),), ("서울에서",), "글")
    template = pair_template(tokenizer)
    window = build_features([item], OffsetTokenizer(tokenizer), template, FeatureSettings(), True)[0]
    assert window["input_ids"].tolist() == tokenizer(item.question, item.context)["input_ids"]
    assert window["start_positions"] == window["end_positions"] == 5


def test_a_splinter_tokenizer_under_another_head_writes_no_question_token() -> None:
    template = pair_template(TOKENIZER)
    assert template.middle == (TOKENIZER.sep_token_id,) and not template.explicit_positions


def test_a_vocabulary_without_question_is_an_error() -> None:
    tokenizer = BertTokenizer(vocab=vocabulary(with_question=False), do_lower_case=False)
    with pytest.raises(InputError, match=r"no \[QUESTION\]"):
        question_template(tokenizer, hide_sep=True)


CHARACTERS = "서울부산가나각에 .,()\u200b\u0301🎉ab\n" + unicodedata.normalize("NFD", "각울")
TEXT = st.text(alphabet=st.sampled_from(CHARACTERS), max_size=20)


@settings(deadline=None, max_examples=80)
@given(before=TEXT, answer=TEXT, after=TEXT, room=st.integers(1, 12), stride=st.integers(1, 12))
@example(before="", answer="ᄀ", after="", room=1, stride=1)
def test_windows_cover_the_context_and_labels_cover_the_answer(
    before: str, answer: str, after: str, room: int, stride: int
) -> None:
    context = before + answer + after
    sizes = FeatureSettings(max_seq_length=TEMPLATE.num_special + 2 + room, doc_stride=stride)
    features = features_of(context, answer, len(before), question="누가", sizes=sizes)
    if len(features) == 0:
        assert features.faults
        return
    assert (features.lengths == [len(features[i]["input_ids"]) for i in range(len(features))]).all()
    assert features.lengths.max() <= sizes.max_seq_length
    seen = np.zeros(len(features.contexts[0].ids), bool)
    for _, first, last, _, _ in features.windows.tolist():
        seen[first:last] = True
    assert seen.all()
    texts = [text for text in labelled_texts(features) if text]
    assert texts
    if not features.faults:
        visible = "".join(c for c in answer if c.isprintable() and not c.isspace())
        assert all("".join(c for c in t if c.isprintable() and not c.isspace()) == visible for t in texts)


ENGLISH = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[QUESTION]", *".,\"'-AB", "he", "said", "##B", "end"]


@pytest.mark.parametrize("answer", ["“he said…”", "he", "said…", "…", "”", "– ＡＢ", "ＡＢ", "end", "…end"])
def test_characters_read_as_others_keep_their_place(answer: str) -> None:
    """The answer in the file's own characters comes back, though its wordpieces are those of other characters."""
    context = "“he said…” – ＡＢ ‘end’ …end"
    tokenizer = SplinterTokenizer({token: i for i, token in enumerate(ENGLISH)}, do_lower_case=False)
    item = QAExample("q", "“he”?", context, ((context.index(answer), answer),), (answer,), "글")
    template = question_template(tokenizer, hide_sep=True)
    features = build_features([item], OffsetTokenizer(tokenizer), template, FeatureSettings(), with_labels=True)
    read = [ENGLISH[number] for number in features.contexts[0].ids]
    assert read == [*['"', "he", "said", ".", ".", ".", '"', "-", "A", "##B"], "'", "end", "'", ".", ".", ".", "end"]
    assert [ENGLISH[number] for number in features.questions[0]] == ['"', "he", '"', "[UNK]"]
    assert labelled_texts(features) == [answer] and not features.faults


def test_other_models_of_tokens_read_characters_as_they_are() -> None:
    backend = Tokenizer(WordLevel({"[UNK]": 0, '"': 1}, unk_token="[UNK]"))
    backend.normalizer, backend.pre_tokenizer = NFC(), Whitespace()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="[UNK]")
    assert OffsetTokenizer(tokenizer).questions(['“ "'])[0].tolist() == [0, 1]
