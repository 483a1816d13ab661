"""ModelWithQASSHead against the definition, spelled out, and against transformers' Splinter."""

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional
from transformers import AutoModelForQuestionAnswering, SplinterConfig, SplinterForQuestionAnswering

from finetuning.modeling import HIDDEN_LOGIT, ModelWithQASSHead, QASSConfig, SpanTransform

SIZES = {
    "vocab_size": 50,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": 30,
}
QUESTION, PAD = 7, 3


def make_model(**values: object) -> ModelWithQASSHead:
    torch.manual_seed(0)
    config = QASSConfig(**SIZES | {"question_token_id": QUESTION, "pad_token_id": PAD} | values)
    model = ModelWithQASSHead(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    return model


@pytest.fixture(scope="module")
def model() -> ModelWithQASSHead:
    return make_model()


def make_inputs(length: int = 12) -> dict[str, torch.Tensor]:
    """Two rows with questions at 2 and 6, tokens hidden behind the first, and padding in the second row."""
    generator = torch.Generator().manual_seed(1)
    input_ids = torch.randint(8, 50, (2, length), generator=generator)
    attention_mask = torch.ones_like(input_ids)
    input_ids[:, [2, 6]] = QUESTION
    input_ids[:, 3], attention_mask[:, 3] = PAD, 0
    input_ids[1, -2:], attention_mask[1, -2:] = PAD, 0
    return {"input_ids": input_ids, "attention_mask": attention_mask}


def naive_transform(module: SpanTransform, row: torch.Tensor, tanh: bool, epsilon: float) -> torch.Tensor:
    hidden = functional.gelu(module.dense.weight @ row + module.dense.bias, approximate="tanh" if tanh else "none")
    normed = (hidden - hidden.mean()) / torch.sqrt(hidden.var(unbiased=False) + epsilon)
    return normed * module.LayerNorm.weight + module.LayerNorm.bias


@pytest.mark.parametrize(("activation", "epsilon"), [("gelu", 1e-5), ("gelu_pytorch_tanh", 1e-3)])
@torch.no_grad()
def test_logits_are_the_bilinear_form_of_the_paper(activation: str, epsilon: float) -> None:
    model = make_model(hidden_act=activation, qass_layer_norm_eps=epsilon)
    inputs = make_inputs()
    mask = inputs["attention_mask"]
    questions = torch.tensor([[2, 6, 0], [6, 0, 0]])
    outputs = model(**inputs, masked_positions=questions)
    position_ids = mask.cumsum(1) - mask
    hidden = model.bert(**inputs, position_ids=position_ids).last_hidden_state
    for side, logits in (("start", outputs.start_logits), ("end", outputs.end_logits)):
        query, key = getattr(model.qass, f"query_{side}_transform"), getattr(model.qass, f"{side}_transform")
        classifier = getattr(model.qass, f"{side}_classifier").weight
        for row, number, at in ((0, 0, 2), (0, 1, 6), (1, 0, 6)):
            asked = naive_transform(query, hidden[row, at], activation != "gelu", epsilon)
            for position in range(mask.size(1)):
                answer = naive_transform(key, hidden[row, position], activation != "gelu", epsilon)
                expected = (classifier @ asked) @ answer + (1 - mask[row, position]) * HIDDEN_LOGIT
                torch.testing.assert_close(logits[row, number, position], expected, atol=2e-4, rtol=1e-5)


@torch.no_grad()
def test_without_positions_the_first_question_of_each_row_is_asked(model: ModelWithQASSHead) -> None:
    inputs = make_inputs()
    inputs["input_ids"][1, 2] = 9  # the second row's first question stands at 6
    found = model(**inputs)
    expected = model(**inputs, masked_positions=torch.tensor([[2], [6]]))
    assert found.start_logits.shape == inputs["input_ids"].shape
    torch.testing.assert_close(found.start_logits, expected.start_logits[:, 0])
    torch.testing.assert_close(found.end_logits, expected.end_logits[:, 0])


@settings(max_examples=25, deadline=None)
@given(
    questions=st.lists(st.sampled_from([0, 2, 6]), min_size=6, max_size=6),
    starts=st.lists(st.integers(-1, 14), min_size=6, max_size=6),
    ends=st.lists(st.integers(-1, 14), min_size=6, max_size=6),
)
def test_loss_is_the_mean_over_questions_that_count(questions: list[int], starts: list[int], ends: list[int]) -> None:
    """A question at 0 is padding; an answer outside the sequence does not count on its side."""
    model = make_model()
    inputs = make_inputs()
    shape = (2, 3)
    positions, start, end = (torch.tensor(values).view(shape) for values in (questions, starts, ends))
    with torch.no_grad():
        outputs = model(**inputs, masked_positions=positions, start_positions=start, end_positions=end)
    loss = 0.0
    for logits, labels in ((outputs.start_logits, start), (outputs.end_logits, end)):
        counted = [
            functional.cross_entropy(logits[row, number], labels[row, number]).item()
            for row in range(2)
            for number in range(3)
            if positions[row, number] > 0 and 0 <= labels[row, number] < 12
        ]
        loss += sum(counted) / max(1, len(counted)) / 2
    assert outputs.loss.item() == pytest.approx(loss, rel=1e-4, abs=1e-4)


@torch.no_grad()
def test_hidden_tokens_take_no_position_and_change_nothing(model: ModelWithQASSHead) -> None:
    """Taking hidden tokens out of the middle leaves every other logit as it is."""
    inputs = make_inputs()
    keep = [position for position in range(12) if position != 3]
    questions = torch.tensor([[2, 6], [2, 6]])
    whole = model(**inputs, masked_positions=questions)
    shorter = {name: values[:, keep] for name, values in inputs.items()}
    without = model(**shorter, masked_positions=torch.tensor([[2, 5], [2, 5]]))
    visible = shorter["attention_mask"][:, None].expand(-1, 2, -1).bool()
    torch.testing.assert_close(whole.start_logits[..., keep][visible], without.start_logits[visible], atol=1e-4, rtol=0)
    assert (whole.start_logits[..., 3] < HIDDEN_LOGIT / 2).all()


@torch.no_grad()
def test_attention_implementations_agree(model: ModelWithQASSHead, tmp_path: Path) -> None:
    model.save_pretrained(tmp_path)
    inputs = make_inputs()
    outputs = {}
    for implementation in ("sdpa", "eager"):
        loaded = AutoModelForQuestionAnswering.from_pretrained(tmp_path, attn_implementation=implementation).eval()
        assert type(loaded) is ModelWithQASSHead and loaded.config.question_token_id == QUESTION
        outputs[implementation] = loaded(**inputs).start_logits
    torch.testing.assert_close(outputs["sdpa"], outputs["eager"], atol=1e-4, rtol=0)
    torch.testing.assert_close(outputs["sdpa"], model(**inputs).start_logits, atol=1e-4, rtol=0)


@torch.no_grad()
def test_equals_stock_splinter_with_erf_gelu(model: ModelWithQASSHead) -> None:
    stock = SplinterForQuestionAnswering(SplinterConfig(**SIZES, question_token_id=QUESTION, pad_token_id=PAD)).eval()
    state = {
        name.replace("bert.", "splinter.").replace("qass.", "splinter_qass."): values
        for name, values in model.state_dict().items()
    }
    stock.load_state_dict(state)
    inputs = make_inputs()
    mask = inputs["attention_mask"]
    expected = stock(**inputs, position_ids=mask.cumsum(1) - mask)
    actual = model(**inputs)
    visible = mask.bool()
    torch.testing.assert_close(actual.start_logits[visible], expected.start_logits[visible], atol=1e-4, rtol=0)
    torch.testing.assert_close(actual.end_logits[visible], expected.end_logits[visible], atol=1e-4, rtol=0)


def test_gradients_reach_every_parameter() -> None:
    model = make_model().train()
    inputs = make_inputs()
    questions, answers = torch.tensor([[2, 6], [6, 0]]), torch.tensor([[8, 9], [7, 0]])
    model(**inputs, masked_positions=questions, start_positions=answers, end_positions=answers).loss.backward()
    assert not [name for name, parameter in model.named_parameters() if parameter.grad is None]


def test_a_config_without_question_id_cannot_find_questions() -> None:
    model = make_model(question_token_id=None)
    with pytest.raises(ValueError, match="question_token_id"):
        model(**make_inputs())
    model(**make_inputs(), masked_positions=torch.tensor([[2], [2]]))
