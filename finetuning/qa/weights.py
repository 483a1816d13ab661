"""Loads a model's weights in float32 and accounts for every one: none of the model's may begin at random unnoticed."""

import re
import sys
from collections.abc import Iterable
from typing import Any

import torch
from safetensors import SafetensorError
from transformers.utils import logging

from kosplinter_common.cli import InputError

# What a checkpoint may hold that answering questions has no use for.
PASSED_OVER = (
    (re.compile(r"(^|\.)(position|token_type)_ids$"), "constant buffer"),
    (re.compile(r"(^|\.)pooler\."), "pooler"),
    (
        re.compile(r"^(cls\.predictions|generator_predictions|generator_lm_head|lm_head|lm_predictions)(\.|$)"),
        "MLM head",
    ),
    (re.compile(r"^(cls\.seq_relationship|discriminator_predictions|mask_predictions)\."), "pretraining head"),
    (re.compile(r"^(classifier|qa_outputs)\."), "head of another task"),
)
QASS_HEAD = re.compile(r"^(qass|splinter_qass|cls\.span_predictions)\.")
_LISTED = 3


def load_weights(model_class: Any, path: str, config: Any, drop_qass_head: bool) -> Any:
    """The model of a folder or hub name, in float32 whatever the file holds; says what it began anew or passed over.

    drop_qass_head: another head than the checkpoint's was asked for.

    Raises:
      InputError: the weights are not there, of another shape, not finite, or do not fit: one of the model's is missing
        (but for a head that the checkpoint lacks as a whole), or one of the checkpoint's has no place.
    """
    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()  # transformers' table of what it begins anew is said here, in a line, or refused
    try:
        model, info = model_class.from_pretrained(path, config=config, dtype=torch.float32, output_loading_info=True)
    except (OSError, RuntimeError, ValueError, SafetensorError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise InputError(f"{path}: cannot load the model: {reason}") from error
    finally:
        logging.set_verbosity(verbosity)
    missing, unexpected = sorted(info["missing_keys"]), sorted(info["unexpected_keys"])
    qass_heads = [name for name in unexpected if QASS_HEAD.match(name)]
    if qass_heads and not drop_qass_head:
        raise InputError(f"{path}: {_why_no_head(qass_heads)}")
    reasons = {name: _reason(name) for name in unexpected}
    unknown = [name for name in unexpected if reasons[name] is None and name not in qass_heads]
    head = {name for name in model.state_dict() if not name.startswith(model.base_model_prefix + ".")}
    lost = missing if set(missing) != head else []
    if lost or unknown:
        raise InputError(
            f"{path}: its weights do not fit {type(model).__name__}: {len(lost)} missing{_some(lost)}, "
            f"{len(unknown)} not known{_some(unknown)}"
        )
    broken = [name for name, values in model.named_parameters() if not values.isfinite().all()]
    if broken:
        raise InputError(f"{path}: found weights that are no numbers or infinite, expected numbers{_some(broken)}")
    if missing:
        print(f"{path}: the head is new and begins at random: {_prefixes(missing)}", file=sys.stderr)
    if unexpected:
        why = ", ".join(sorted({reason or "QASS head" for reason in reasons.values()}))
        print(f"{path}: passed over {len(unexpected)} weights ({why}): {_prefixes(unexpected)}", file=sys.stderr)
    return model


def _reason(name: str) -> str | None:
    return next((reason for pattern, reason in PASSED_OVER if pattern.search(name)), None)


def _why_no_head(heads: list[str]) -> str:
    if heads[0].startswith("qass."):
        return f"found a QASS head ({heads[0]}) under a config without one; say --qass_head=True, or False to drop it"
    return (
        f"found a pretrained QASS head under other names ({heads[0]}), expected this project's: convert it with "
        "finetuning/convert_tf_to_pytorch.py first (or say --qass_head=False to do without)"
    )


def _some(names: list[str]) -> str:
    more = ", …" if len(names) > _LISTED else ""
    return f" ({', '.join(names[:_LISTED])}{more})" if names else ""


def _prefixes(names: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(".".join(name.split(".")[:2]) for name in names))
