"""Dropout on all cores drops what it should, repeats by seed, and leaves everything else as torch computes it."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from transformers import AutoModelForQuestionAnswering

from finetuning.modeling import ModelWithQASSHead
from finetuning.qa import dropout
from finetuning.qa.dropout import Dropout, draw_on_all_cores, dropped_places
from tests.finetuning.tiny_qa import electra_folder, qass_folder


@pytest.mark.parametrize("probability", [0.1, 0.5, 0.003])
def test_places_are_dropped_with_the_probability_that_is_asked_for_and_independently(probability: float) -> None:
    torch.manual_seed(0)
    dropped = dropped_places(torch.Size([1000, 1003]), probability).double()
    deviation = (probability * (1 - probability) / dropped.numel()) ** 0.5
    assert abs(dropped.mean() - probability) < 5 * deviation + 1 / dropout.VALUES
    by_column = (dropped.mean(0) - probability).abs().max() / (deviation * 1003**0.5)
    assert by_column < 5.5  # 1,003 columns
    for shift in (1, 4, 1003):  # neighbours, across the numbers of one draw, and rows
        flat = dropped.flatten().numpy()
        assert abs(np.corrcoef(flat[:-shift], flat[shift:])[0, 1]) < 5 / 1000


def test_places_depend_on_torchs_seed_and_not_on_the_number_of_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dropout, "PART", 1000)

    def drawn(seed: int, threads: int) -> torch.Tensor:
        monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
        torch.manual_seed(seed)
        return dropped_places(torch.Size([7, 900]), 0.3)

    assert torch.equal(drawn(1, 1), drawn(1, 3)) and not torch.equal(drawn(1, 1), drawn(2, 1))
    torch.manual_seed(1)
    first, second = dropped_places(torch.Size([7, 900]), 0.3), dropped_places(torch.Size([7, 900]), 0.3)
    assert not torch.equal(first, second)
    assert not torch.equal(first.flatten()[:1000], first.flatten()[1000:2000])


def test_values_are_scaled_and_gradients_go_where_values_went() -> None:
    layer = Dropout(0.25)
    values = torch.ones(40, 50, requires_grad=True)
    result = layer(values)
    result.sum().backward()
    assert result.unique().tolist() == pytest.approx([0, 4 / 3])
    assert values.grad is not None and torch.equal(values.grad, result.detach())
    assert torch.equal(layer.eval()(values), values)
    assert torch.equal(Dropout(0.0)(values), values) and Dropout(1.0)(values).sum() == 0


def inputs() -> dict[str, torch.Tensor]:
    ids = torch.randint(6, 40, (3, 20), generator=torch.Generator().manual_seed(0))
    ids[:, 5] = 0  # [QUESTION]
    mask = torch.ones_like(ids)
    mask[1, 15:] = 0
    return {"input_ids": ids, "attention_mask": mask, "start_positions": ids[:, 1] % 5, "end_positions": ids[:, 2] % 5}


def test_a_model_without_dropout_learns_the_same(tmp_path: Path) -> None:
    folder = qass_folder(tmp_path, hidden_dropout_prob=0.0, attention_probs_dropout_prob=1e-9)
    gradients = []
    for replaced in (False, True):
        model = ModelWithQASSHead.from_pretrained(folder).train()
        if replaced:
            draw_on_all_cores(model)
        model(**inputs()).loss.backward()
        gradients.append(model.bert.encoder.layer[0].attention.self.query.weight.grad)
    torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("kind", [qass_folder, electra_folder])
def test_every_dropout_is_replaced_and_nothing_that_is_saved_changes(tmp_path: Path, kind: object) -> None:
    folder = kind(tmp_path / "model")  # type: ignore[operator]
    model = AutoModelForQuestionAnswering.from_pretrained(folder).train()
    draw_on_all_cores(model)
    assert not any(type(module) is nn.Dropout for module in model.modules())
    torch.manual_seed(0)
    drawn = torch.get_rng_state()
    losses = []
    for _ in range(2):
        torch.set_rng_state(drawn)
        losses.append(model(**inputs()).loss.item())
    assert losses[0] == losses[1] != model(**inputs()).loss.item()
    numbers: list[torch.Size] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dropout, "dropped_places", lambda shape, p: numbers.append(shape) or dropped_places(shape, p))
        model(**inputs())
    assert torch.Size([3, 2, 20, 20]) in numbers  # of attention
    model.save_pretrained(tmp_path / "saved")
    assert dropout.ATTENTION not in (tmp_path / "saved/config.json").read_text()
    saved = AutoModelForQuestionAnswering.from_pretrained(tmp_path / "saved").eval()
    torch.testing.assert_close(saved(**inputs()).loss, model.eval()(**inputs()).loss)
