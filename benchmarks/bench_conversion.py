"""Time and peak memory of converting a BERT checkpoint with Adam slots, without and with verification.

    python benchmarks/bench_conversion.py --size=base --folder=/tmp/bench

Makes a checkpoint of random weights with the slots of Adam (three times the weights, as pretraining writes it), then
runs the converter in processes of its own and reports wall time and the largest resident set.
"""

import argparse
import json
import multiprocessing
import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
if not __package__:  # run as a file: import from the repository root, not from this folder
    sys.path[0] = str(ROOT)

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

SIZES = {
    "base": {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072},
    "large": {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "intermediate_size": 4096},
}
VOCAB_SIZE = 35000
SPECIAL_TOKENS = ("[QUESTION]", "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def make_checkpoint(folder: Path, size: str) -> None:
    """Writes model.ckpt-1, bert_config.json and vocab.txt."""
    import numpy as np
    import tensorflow as tf

    from finetuning.conversion import names

    config = {"vocab_size": VOCAB_SIZE, "max_position_embeddings": 512, "qass_layer_norm_eps": 1e-5, **SIZES[size]}
    shapes = names.encoder_shapes(
        VOCAB_SIZE, config["hidden_size"], config["num_hidden_layers"], config["intermediate_size"], 512
    ) | names.head_shapes(config["hidden_size"])
    random = np.random.default_rng(0)
    tensors = {}
    for name, shape in shapes.items():
        values = random.normal(0, 0.02, shape) + (1 if name.endswith("gamma") else 0)
        tensors |= {name: tf.constant(values, tf.float32)}
        tensors |= {f"{name}/{slot}": tf.zeros(shape) for slot in ("adam_m", "adam_v")}
    folder.mkdir(parents=True, exist_ok=True)
    tf.raw_ops.SaveV2(
        prefix=str(folder / "model.ckpt-1"),
        tensor_names=list(tensors),
        shape_and_slices=[""] * len(tensors),
        tensors=list(tensors.values()),
    )
    (folder / "bert_config.json").write_text(json.dumps(config), encoding="utf-8")
    tokens = [*SPECIAL_TOKENS, ".", *(f"##{number}" for number in range(VOCAB_SIZE - len(SPECIAL_TOKENS) - 1))]
    (folder / "vocab.txt").write_text("\n".join(tokens) + "\n", encoding="utf-8")


def measure(script: str, flags: list[str]) -> tuple[float, float, float]:
    """Wall seconds, processor seconds, and GiB of the largest resident set, of one run."""
    start = time.perf_counter()
    process = subprocess.Popen([sys.executable, str(ROOT / "finetuning" / script), *flags])
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{script} failed with status {process.returncode}")
    return time.perf_counter() - start, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=SIZES, default="base")
    parser.add_argument("--folder", required=True, help="for the checkpoint and what is made of it")
    arguments = parser.parse_args()
    folder = Path(arguments.folder)
    # in a process of its own: the largest resident set of this one would count as its children's
    maker = multiprocessing.get_context("spawn").Process(target=make_checkpoint, args=(folder / "tf", arguments.size))
    maker.start()
    maker.join()
    weights = (folder / "tf" / "model.ckpt-1.data-00000-of-00001").stat().st_size / 3 / 2**30
    there = [f"--tf_checkpoint_path={folder / 'tf' / 'model.ckpt-1'}", f"--pytorch_dump_path={folder / 'pt'}"]
    back = [f"--pytorch_model_path={folder / 'pt'}", f"--tf_dump_path={folder / 'again'}"]
    # random weights give logits of 50 and more, where float32 rounds by more than 1e-4
    runs = (
        ("TensorFlow to PyTorch", "convert_tf_to_pytorch.py", [*there, "--no-verify"]),
        ("TensorFlow to PyTorch, verified", "convert_tf_to_pytorch.py", [*there, "--verify_tolerance=1e-3"]),
        ("PyTorch to TensorFlow", "convert_pytorch_to_tf.py", [*back, "--no-verify"]),
    )
    results = [(label, *measure(script, flags)) for label, script, flags in runs]
    print(f"\nbert-{arguments.size}: {weights:.2f} GiB of weights")
    for label, seconds, processor, memory in results:
        used = f"{seconds:.1f} s ({processor:.1f} s of processor time)"
        print(f"{label}: {used}, {memory:.2f} GiB, {memory / weights:.1f} times the weights")


if __name__ == "__main__":
    main()
