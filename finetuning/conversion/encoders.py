"""The encoder alone, in both frameworks: what an initial checkpoint is verified by, since its head may be new."""

from pathlib import Path

import numpy as np
import numpy.typing as npt

from finetuning.conversion.batches import Batch
from finetuning.conversion.dialects import Source
from finetuning.conversion.verification import assign_variables

Hidden = npt.NDArray[np.float32]

_LOADABLE = ("bert", "electra", "splinter", "qass")


def run_encoder(source: Source, batch: Batch) -> Hidden:
    """Hidden states of the pretraining graph, [rows, length, H]."""
    import tensorflow as tf

    from pretraining.model import modeling

    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        input_ids, input_mask = (tf.constant(values, tf.int32) for values in (batch.input_ids, batch.input_mask))
        encoded = modeling.encode(source.config, input_ids, input_mask, modeling.GraphOptions())
        assign_variables(source, session)
        return session.run(encoded.hidden)


def run_transformers(folder: Path, batch: Batch) -> Hidden | None:
    """Hidden states of the model that transformers itself makes of a folder; None where it cannot."""
    import torch
    from transformers import AutoConfig, AutoModel

    from finetuning.modeling import ModelWithQASSHead

    try:
        model_type = AutoConfig.from_pretrained(folder).model_type
    except (OSError, ValueError):
        return None
    if model_type not in _LOADABLE:
        return None
    model_class = ModelWithQASSHead if model_type == "qass" else AutoModel
    model = model_class.from_pretrained(folder, dtype=torch.float32).eval()
    encoder = model.bert if model_type == "qass" else model
    mask = torch.from_numpy(batch.input_mask)
    with torch.inference_mode():
        input_ids = torch.from_numpy(batch.input_ids)
        outputs = encoder(input_ids, attention_mask=mask, position_ids=mask.cumsum(1) - mask)
    return outputs.last_hidden_state.numpy()
