"""Dropout whose random numbers are drawn on all cores: torch draws those of a CPU on one, one after another."""

import math
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

ATTENTION = "sdpa_dropout_on_all_cores"
PART = 2**20  # numbers that one thread draws in a row: fixed, so that they do not depend on how many threads there are
VALUES = 2**16  # of 16 random bits: probabilities are met to 1/65,536


def dropped_places(shape: torch.Size, probability: float) -> Tensor:
    """A bool tensor, True with `probability`. Goes by the state of torch's own generator, as torch's dropout does."""
    seed, total = int(torch.randint(2**62, ())), math.prod(shape)
    bits = np.empty(-(-total // 4) * 4, np.uint16)

    def draw(first: int) -> None:
        part = bits[first : first + PART]
        generator = np.random.Generator(np.random.SFC64([seed, first]))
        part[:] = generator.integers(0, 2**64, len(part) // 4, np.uint64).view(np.uint16)

    firsts = range(0, len(bits), PART)
    if len(firsts) > 1:
        with ThreadPoolExecutor(min(len(firsts), torch.get_num_threads())) as threads:
            list(threads.map(draw, firsts))
    else:
        list(map(draw, firsts))
    numbers = torch.from_numpy(bits.view(np.int16)[:total]).view(shape)  # torch compares signed ones only
    return numbers < round(probability * VALUES) - VALUES // 2


class _Dropped(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, probability: float) -> Tensor:
        dropped = dropped_places(values.shape, probability)
        ctx.save_for_backward(dropped)
        ctx.scale = 1 / (1 - probability)
        return values.masked_fill(dropped, 0.0).mul_(ctx.scale)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        (dropped,) = ctx.saved_tensors
        return gradient.masked_fill(dropped, 0.0).mul_(ctx.scale), None


def dropout(values: Tensor, probability: float) -> Tensor:
    """As torch's in training: zeros with `probability`, the rest scaled so that means stay."""
    return _Dropped.apply(values, probability) if 0 < probability < 1 else nn.functional.dropout(values, probability)


class Dropout(nn.Dropout):
    def forward(self, values: Tensor) -> Tensor:
        return dropout(values, self.p) if self.training else values


def attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Scaled dot-product attention of [batch, heads, length, size] → [batch, length, heads, size]; torch's own where
    nothing is dropped. With dropout torch's writes all weights down too, so nothing is lost.
    """
    if not dropout or kwargs.get("position_bias") is not None:
        return sdpa_attention_forward(module, query, key, value, attention_mask, dropout, scaling, **kwargs)
    scores = (query * (query.size(-1) ** -0.5 if scaling is None else scaling)) @ key.transpose(2, 3)
    if attention_mask is not None:
        scores = scores.masked_fill(~attention_mask, torch.finfo(scores.dtype).min)
    weights = _Dropped.apply(scores.softmax(-1), dropout)
    return (weights.to(value.dtype) @ value).transpose(1, 2).contiguous(), None


AttentionInterface.register(ATTENTION, attention)
AttentionMaskInterface.register(ATTENTION, sdpa_mask)


def draw_on_all_cores(model: PreTrainedModel) -> None:
    """Replaces the dropout of a model that learns on a CPU; weights and configuration stay."""
    for module in list(model.modules()):
        for name, child in module.named_children():
            if type(child) is nn.Dropout:
                setattr(module, name, Dropout(child.p))
    if model.config._attn_implementation == "sdpa":
        model.set_attn_implementation(ATTENTION)
