"""A small Korean-looking corpus, a vocabulary for it, and runs over it."""

import random
from pathlib import Path

from data_gen.passages.generation import GenerationConfig
from data_gen.passages.masking import MaskingConfig
from data_gen.passages.tokenization import SPECIAL_TOKENS
from data_gen.runs.pipeline import PipelineConfig, run
from kosplinter_common.records.examples import decode_example
from kosplinter_common.records.tfrecords import read_payloads

NOUNS = ["서울", "한강", "도서관", "김치", "세종", "바다", "학교", "기차", "Apollo", "1988"]
ENDINGS = ["은", "에서", "을", "의", "로", ""]
VERBS = ["간다", "있다", "본다", "먹었다", "만들었다"]


def write_vocabulary(path: Path) -> Path:
    characters = sorted(set("".join(NOUNS + ENDINGS + VERBS)))
    tokens = [*SPECIAL_TOKENS, ".", *NOUNS[:6], *characters, *("##" + character for character in characters)]
    path.write_text("\n".join(dict.fromkeys(tokens)) + "\n", encoding="utf-8")
    return path


def sentence(rng: random.Random) -> str:
    words = [rng.choice(NOUNS) + rng.choice(ENDINGS) for _ in range(rng.randint(2, 8))]
    return " ".join([*words, rng.choice(VERBS)]) + "."


def documents(count: int, seed: int = 1) -> list[list[str]]:
    rng = random.Random(seed)
    return [[sentence(rng) for _ in range(rng.choice([1, 3, 9, 14]))] for _ in range(count)]


def write_corpus(path: Path, count: int, seed: int = 1) -> Path:
    path.write_text("\n\n".join("\n".join(document) for document in documents(count, seed)) + "\n", encoding="utf-8")
    return path


def config_for(folder: Path, output: str = "out", **options) -> PipelineConfig:
    """A run over folder/*.txt in small units; options of GenerationConfig and MaskingConfig may stand among them."""
    masking = {name: options.pop(name) for name in MaskingConfig.__dataclass_fields__ if name in options}
    generation = {name: options.pop(name) for name in GenerationConfig.__dataclass_fields__ if name in options}
    defaults = {
        "input_files": tuple(sorted(map(str, folder.glob("*.txt")))),
        "vocab_file": folder / "vocab",
        "num_shards": 3,
        "unit_bytes": 2000,
    }
    return PipelineConfig(
        output_dir=folder / output,
        generation=GenerationConfig(
            MaskingConfig(**({"max_seq_length": 64, "max_questions_per_seq": 6} | masking)),
            **({"dupe_factor": 3} | generation),
        ),
        **(defaults | options),
    )


def run_over(folder: Path, output: str = "out", **options) -> dict[str, bytes]:
    """The files that a run leaves, by name; dataset.json and the journal tell of the run itself and are left out."""
    config = config_for(folder, output, **options)
    run(config)
    return files_of(config.output_dir)


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.suffix in (".tfrecord", ".txt")}


def unmasked(payload: bytes) -> list[int]:
    """The ids of a record, from [CLS] to [SEP], with what was masked put back."""
    record = decode_example(payload)
    ids = record["input_ids"].tolist()
    names = ("positions", "beginnings", "endings", "weights")
    for position, begin, end, weight in zip(*(record[f"masked_span_{name}"] for name in names), strict=True):
        if weight:
            ids[position : position + end - begin + 1] = record["input_ids"][begin : end + 1].tolist()
    if "masked_lm_ids" in record:
        predictions = (record[f"masked_lm_{name}"] for name in ("positions", "ids", "weights"))
        for position, token, weight in zip(*predictions, strict=True):
            if weight:
                ids[position] = int(token)
    return ids[: max(place for place, token in enumerate(ids) if token) + 1]  # [PAD] is 0


def payloads_of(folder: Path) -> list[bytes]:
    return [payload for path in sorted(folder.glob("*.tfrecord")) for payload in read_payloads(path)]
