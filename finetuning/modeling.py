"""Question-aware span selection (QASS) on a BERT encoder, in PyTorch.

Source: Ram et al. 2021, "Few-Shot Question Answering by Pretraining Span Selection" (arXiv 2101.00438), section 4.
The encoder is transformers' BertModel, so every attention implementation it knows (SDPA by default) works here.

Every exported folder holds a copy of this file, for transformers to load with trust_remote_code=True: so it imports
nothing of this project, and is written for transformers 4.57 and 5.
"""

import shutil
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import AutoConfig, AutoModelForQuestionAnswering, BertConfig, BertModel, PreTrainedModel
from transformers.activations import ACT2FN
from transformers.modeling_outputs import QuestionAnsweringModelOutput

REMOTE_MODULE = "modeling_qass"  # this file in an exported folder
AUTO_MAP = {
    "AutoConfig": f"{REMOTE_MODULE}.QASSConfig",
    "AutoModelForQuestionAnswering": f"{REMOTE_MODULE}.ModelWithQASSHead",
}
# Added to the logits of positions that the attention mask hides, as the pretraining graph does.
HIDDEN_LOGIT = -10000.0
IGNORED_LABEL = -100


class QASSConfig(BertConfig):
    """BertConfig plus what the head needs: the id of [QUESTION] and the epsilon of the head's layer norms.

    `hidden_act` ("gelu" is the exact erf form, "gelu_pytorch_tanh" the tanh form) holds for encoder and head alike.
    """

    model_type = "qass"

    def __init__(
        self, question_token_id: int | None = None, qass_layer_norm_eps: float = 1e-5, **bert_values: Any
    ) -> None:
        super().__init__(**bert_values)
        self.question_token_id = question_token_id
        self.qass_layer_norm_eps = qass_layer_norm_eps


class SpanTransform(nn.Module):
    """Dense H → H, activation, layer norm."""

    def __init__(self, config: QASSConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.activation = ACT2FN[config.hidden_act]
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.qass_layer_norm_eps)

    def forward(self, hidden: Tensor) -> Tensor:
        return self.LayerNorm(self.activation(self.dense(hidden)))


class QuestionAwareSpanSelectionHead(nn.Module):
    """Scores every position as the start and as the end of each question's answer (section 4.1 of the paper)."""

    def __init__(self, config: QASSConfig) -> None:
        super().__init__()
        self.query_start_transform = SpanTransform(config)
        self.query_end_transform = SpanTransform(config)
        self.start_transform = SpanTransform(config)
        self.end_transform = SpanTransform(config)
        self.start_classifier = nn.Linear(config.hidden_size, config.hidden_size, bias=False)
        self.end_classifier = nn.Linear(config.hidden_size, config.hidden_size, bias=False)

    def forward(self, hidden: Tensor, question_positions: Tensor) -> tuple[Tensor, Tensor]:
        """hidden [batch, length, H], question_positions [batch, questions] → two logits [batch, questions, length]."""
        index = question_positions.unsqueeze(-1).expand(-1, -1, hidden.size(-1))
        questions = hidden.gather(1, index)
        start_queries = self.start_classifier(self.query_start_transform(questions))
        end_queries = self.end_classifier(self.query_end_transform(questions))
        start_logits = start_queries @ self.start_transform(hidden).transpose(1, 2)
        end_logits = end_queries @ self.end_transform(hidden).transpose(1, 2)
        return start_logits, end_logits


class ModelWithQASSHead(PreTrainedModel):
    """A BERT encoder whose [QUESTION] tokens point to the start and the end of their answers."""

    config_class = QASSConfig
    base_model_prefix = "bert"
    supports_gradient_checkpointing = True
    _supports_sdpa = True
    _supports_flash_attn = True
    _supports_flex_attn = True
    _supports_attention_backend = True

    def __init__(self, config: QASSConfig) -> None:
        super().__init__(config)
        self.bert = BertModel(config, add_pooling_layer=False)
        self.qass = QuestionAwareSpanSelectionHead(config)
        self.post_init()

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        masked_positions: Tensor | None = None,
        start_positions: Tensor | None = None,
        end_positions: Tensor | None = None,
        **kwargs: Any,
    ) -> QuestionAnsweringModelOutput:
        """Start and end logits, and the loss where answers are given.

        Args:
          input_ids: [batch, length].
          attention_mask: [batch, length], 1 where a token may be seen and may be part of an answer. Nothing else is
            hidden: features that hide [SEP] say so here.
          token_type_ids: [batch, length]; zeros if None. Pretraining has no token types.
          position_ids: [batch, length]; if None, the exclusive cumulative sum of `attention_mask`, as in pretraining:
            a hidden token takes no position.
          masked_positions: [batch, questions], where the [QUESTION] tokens stand; 0 pads the row, since [CLS] is never
            a question. If None, the first [QUESTION] of each row is the one question (position 0 if a row has none).
          start_positions, end_positions: inclusive answers, [batch, questions] with `masked_positions`, else [batch].
            Negative positions, and those at or behind the length, do not count.

        Returns:
          loss, the mean over all questions that count of (CE_start + CE_end) / 2, zero if none counts;
          start_logits and end_logits, [batch, questions, length] with `masked_positions`, else [batch, length].

        Raises:
          ValueError: no `masked_positions` are given and the config names no question_token_id.
        """
        if position_ids is None and attention_mask is not None:
            position_ids = attention_mask.cumsum(1) - attention_mask
        question_positions = self._first_questions(input_ids) if masked_positions is None else masked_positions
        encoded = self.bert(
            input_ids,
            attention_mask=attention_mask,
            token_type_ids=token_type_ids,
            position_ids=position_ids,
            **kwargs,
        )
        start_logits, end_logits = self.qass(encoded.last_hidden_state, question_positions)
        if attention_mask is not None:
            hidden = (1 - attention_mask[:, None, :].to(start_logits.dtype)) * HIDDEN_LOGIT
            start_logits, end_logits = start_logits + hidden, end_logits + hidden

        loss = None
        if start_positions is not None and end_positions is not None:
            counted = torch.ones_like(question_positions, dtype=torch.bool)
            if masked_positions is not None:
                counted = masked_positions > 0
            start_loss = _span_loss(start_logits, start_positions.view_as(question_positions), counted)
            end_loss = _span_loss(end_logits, end_positions.view_as(question_positions), counted)
            loss = (start_loss + end_loss) / 2
        if masked_positions is None:
            start_logits, end_logits = start_logits.squeeze(1), end_logits.squeeze(1)
        return QuestionAnsweringModelOutput(
            loss=loss,
            start_logits=start_logits,
            end_logits=end_logits,
            hidden_states=encoded.hidden_states,
            attentions=encoded.attentions,
        )

    def _first_questions(self, input_ids: Tensor) -> Tensor:
        if self.config.question_token_id is None:
            raise ValueError("the config has no question_token_id: found None, expected the id of [QUESTION]")
        return (input_ids == self.config.question_token_id).int().argmax(-1, keepdim=True)


def _span_loss(logits: Tensor, positions: Tensor, counted: Tensor) -> Tensor:
    """Mean cross entropy of logits [batch, questions, length] at positions [batch, questions] that count; scalar."""
    inside = (positions >= 0) & (positions < logits.size(-1))
    labels = torch.where(counted & inside, positions, IGNORED_LABEL)
    total = functional.cross_entropy(logits.float().flatten(0, 1), labels.flatten(), reduction="sum")
    return total / (labels != IGNORED_LABEL).sum().clamp(min=1)


def write_modeling_file(folder: str | Path) -> None:
    """Puts this file where the AUTO_MAP of the folder's config.json says that it is."""
    shutil.copyfile(__file__, Path(folder) / f"{REMOTE_MODULE}.py")


AutoConfig.register(QASSConfig.model_type, QASSConfig)
AutoModelForQuestionAnswering.register(QASSConfig, ModelWithQASSHead)
