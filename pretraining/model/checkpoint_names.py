"""Names in TensorFlow checkpoints of BERT's kin that are not a model's own: Keras's layer norms, optimizers' state."""

import re
from collections.abc import Mapping, Sequence

# tf.keras layers number themselves through the whole graph; the scope alone says which layer norm it is.
KERAS_LAYER_NORM = re.compile(r"/layer_normalization(_\d+)?/")
_POWER = re.compile(r"_power(_\d+)?$")  # beta1_power, beta2_power_1: Adam's decays, multiplied up
_OWN_SLOT = re.compile(r"/adam_[mv]$")  # of Google BERT and of this project; known without its variable
_STEP = "global_step"


def optimizer_state(name: str, shapes: Mapping[str, Sequence[int]]) -> str | None:
    """Why a variable is an optimizer's: "optimizer slot", "optimizer's scalar", "step counter"; None where it is not.

    Forks of BERT name slots as they like (X/adam_m, X/BERTAdam, X/Adam_1, X/lamb_m, …): whatever lies under a variable
    and has its shape is one.

    Args:
      shapes: of all variables of the checkpoint, by name.
    """
    if name == _STEP:
        return "step counter"
    shape = list(shapes[name])
    if not shape and _POWER.search(name):
        return "optimizer's scalar"
    parts = name.split("/")
    owners = ("/".join(parts[:end]) for end in range(len(parts) - 1, 0, -1))
    is_slot = _OWN_SLOT.search(name) or any(owner in shapes and list(shapes[owner]) == shape for owner in owners)
    return "optimizer slot" if is_slot else None
