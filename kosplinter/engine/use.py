"""How a model is used."""

from dataclasses import dataclass


@dataclass(frozen=True)
class UseSettings:
    """How a model is used, by run_qa.py's names; sizes in wordpieces.

    null_score_diff_threshold: as run_qa.py's; None: the model has not learned that a question may have no answer.
    """

    max_seq_length: int = 384
    doc_stride: int = 128
    max_query_length: int = 64
    max_answer_length: int = 30
    null_score_diff_threshold: float | None = None
    hide_sep: bool = True
