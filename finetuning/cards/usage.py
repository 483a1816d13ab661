"""The code of a model card that loads its folder with transformers alone and answers as run_qa.py does."""

from dataclasses import dataclass

_CODE = '''import torch
from transformers import AutoModelForQuestionAnswering, AutoTokenizer

folder = "{folder}"
tokenizer = AutoTokenizer.from_pretrained(folder{remote})
model = AutoModelForQuestionAnswering.from_pretrained(folder{remote}).eval()


def answer(question, context, max_seq_length={max_seq_length}, doc_stride={doc_stride}, \
max_answer_length={max_answer_length}, max_query_length={max_query_length}):
    """The best span of the context, which is read in windows that move on by doc_stride; a long question is cut."""
    pieces = tokenizer(question, add_special_tokens=False, return_offsets_mapping=True).offset_mapping
    question = question[:max(end for _, end in pieces[:max_query_length])]
    room = max_seq_length - len(tokenizer.tokenize(question)) - tokenizer.num_special_tokens_to_add(pair=True)
    windows = tokenizer(question, context, truncation="only_second", max_length=max_seq_length,
                        stride=max(room - doc_stride, 0), return_overflowing_tokens=True, return_offsets_mapping=True)
    best_score, best, nothing = -torch.inf, "", torch.inf
    for i, offsets in enumerate(windows.offset_mapping):
{inputs}
        with torch.no_grad():
            outputs = model(**inputs)
        start, end = outputs.start_logits[0].double(), outputs.end_logits[0].double()
        nothing = min(nothing, start[0] + end[0])
        in_context = torch.tensor([sequence == 1 for sequence in windows.sequence_ids(i)])
        allowed = (in_context[:, None] & in_context).triu().tril(max_answer_length - 1)
        scores = (start[:, None] + end).masked_fill(~allowed, -torch.inf)
        first, last = divmod(int(scores.argmax()), len(offsets))
        if scores[first, last] > best_score:
            best_score, best = scores[first, last], context[offsets[first][0]:offsets[last][1]].strip()
    return {result}


print(answer("누가 훈민정음을 만들었는가?", "훈민정음은 세종이 만든 글자이다. 1446년에 반포되었다."))'''
# [CLS] question [QUESTION] . [SEP] context [SEP]: positions as they stand, [SEP] hidden as in pretraining
_QASS_INPUTS = """        ids = torch.tensor([windows.input_ids[i]])
        inputs = {{"input_ids": ids, "attention_mask": {mask},
                  "position_ids": torch.arange(ids.shape[1])[None]}}"""
_PAIR_INPUTS = """        inputs = {{name: torch.tensor([windows[name][i]]) for name in {names}}}"""


@dataclass(frozen=True)
class Usage:
    """How a folder is to be used.

    remote: its modeling file has to be run. qass: it answers from [QUESTION]. token_types: the model has them.
    null_threshold: answer nothing where "no answer" is better by more than this; None: answer always.
    """

    remote: bool
    qass: bool = True
    hide_sep: bool = True
    token_types: bool = True
    max_seq_length: int = 384
    doc_stride: int = 128
    max_answer_length: int = 30
    max_query_length: int = 64
    null_threshold: float | None = None


def usage_code(folder: str, usage: Usage) -> str:
    mask = "(ids != tokenizer.sep_token_id).long()" if usage.hide_sep else "torch.ones_like(ids)"
    names = ("input_ids", "attention_mask", *(("token_type_ids",) if usage.token_types else ()))
    inputs = _QASS_INPUTS.format(mask=mask) if usage.qass else _PAIR_INPUTS.format(names=names)
    silent = f'"" if nothing - best_score > {usage.null_threshold} else best'
    return _CODE.format(
        folder=folder,
        remote=", trust_remote_code=True" if usage.remote else "",
        inputs=inputs,
        result="best" if usage.null_threshold is None else silent,
        max_seq_length=usage.max_seq_length,
        doc_stride=usage.doc_stride,
        max_answer_length=usage.max_answer_length,
        max_query_length=usage.max_query_length,
    )
