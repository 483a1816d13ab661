"""Windows go through the model without padding, in any order and in parts, and come back to their documents."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from finetuning.qa import reading
from finetuning.qa.decoding import DecodingSettings
from finetuning.qa.evaluation import WindowReader
from finetuning.qa.features import FeatureSettings, OffsetTokenizer, QAFeatures, build_features, question_template
from finetuning.qa.questions import QAExample
from finetuning.qa.reading import batches_by_length
from tests.finetuning.tiny_qa import splinter_tokenizer

TOKENIZER = splinter_tokenizer()
TEXT = "김민수는 서울에서 태어났다. 지금도 부산에 살며 날마다 강가를 걷는다."
SETTINGS = DecodingSettings(max_answer_length=5, n_best=4, with_null=True)


def features_of(documents: int) -> QAFeatures:
    words = TEXT.split()
    contexts = [" ".join(words[i % 3 : 3 + i % 7]) for i in range(documents)]
    examples = [QAExample(str(i), "누가?", text or "\u200b", (), ("가",), "글") for i, text in enumerate(contexts)]
    sizes = FeatureSettings(max_seq_length=18, doc_stride=4)
    return build_features(examples, OffsetTokenizer(TOKENIZER), question_template(TOKENIZER, True), sizes, False)


class Scores:
    """A model whose logits go by ids and places only; notes the shape of each batch, and padding."""

    def __init__(self) -> None:
        self.shapes: list[torch.Size] = []
        self.padding = 0
        self.dtypes: set[torch.dtype] = set()

    def __call__(self, input_ids: torch.Tensor, **_: Any) -> Any:
        self.shapes.append(input_ids.shape)
        self.padding += int((input_ids == TOKENIZER.pad_token_id).sum())
        self.dtypes.add((torch.ones(2, 2) @ torch.ones(2, 2)).dtype)
        places = torch.arange(input_ids.shape[1])
        return SimpleNamespace(
            start_logits=(input_ids * 7 + places * 3) % 11 / 2, end_logits=(input_ids * 5 + places) % 13 / 3
        )


def read(features: QAFeatures, model: Any, dtype: torch.dtype = torch.float32, **more: Any) -> Any:
    return WindowReader(model, torch.device("cpu"), dtype, batch_size=8).read(features, SETTINGS, **more)


@given(st.lists(st.integers(1, 9), min_size=1, max_size=60), st.integers(1, 8))
def test_batches_hold_every_window_once_and_one_length_unless_padded(lengths: list[int], batch_size: int) -> None:
    for pad in (False, True):
        batches = batches_by_length(np.array(lengths), batch_size, pad)
        assert sorted(np.concatenate(batches)) == list(range(len(lengths)))
        assert all(0 < len(batch) <= batch_size for batch in batches)
        assert pad or all(len({lengths[i] for i in batch}) == 1 for batch in batches)
    assert len(batches) == -(-len(lengths) // batch_size)


def test_a_cpu_computes_no_padding_and_its_answers_are_those_of_window_after_window() -> None:
    features, model, alone = features_of(40), Scores(), Scores()
    decoded = read(features, model)
    assert model.padding == 0 and sum(shape.numel() for shape in model.shapes) == features.lengths.sum()
    assert len(model.shapes) < len(features) / 3
    one_by_one = WindowReader(alone, torch.device("cpu"), torch.float32, batch_size=1).read(features, SETTINGS)
    assert decoded == one_by_one and len(decoded) == len({int(owner) for owner in features.windows[:, 0]})


@pytest.mark.parametrize("processes", [1, 2, 3])
def test_chunks_and_processes_share_the_documents(monkeypatch: pytest.MonkeyPatch, processes: int) -> None:
    features = features_of(40)
    whole = read(features, Scores())
    monkeypatch.setattr(reading, "CHUNK_WINDOWS", 7)
    shares = [read(features, Scores(), process=rank, processes=processes) for rank in range(processes)]
    assert all(shares) and sum(map(len, shares)) == len(whole)
    assert {name: found for share in shares for name, found in share.items()} == whole


def test_matrix_products_are_in_the_type_that_is_asked_for() -> None:
    for dtype in (torch.float32, torch.bfloat16):
        model = Scores()
        read(features_of(3), model, dtype)
        assert model.dtypes == {dtype}
