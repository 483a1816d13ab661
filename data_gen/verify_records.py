"""Checks a folder of records against its dataset.json: files, checksums, features, and the counts.

python data_gen/verify_records.py records
"""

import sys
from collections import Counter
from pathlib import Path

if not __package__:  # run as a file: import from the repository root, not from this folder
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from kosplinter_common.cli import InputError, exit_with_one_line

# isort: split

from absl import app
from tqdm import tqdm

from kosplinter_common.files import file_sha256
from kosplinter_common.records.dataset_info import DatasetInfo, ShardInfo
from kosplinter_common.records.tfrecords import read_records

SHARD_PATTERN = "*.tfrecord"


def verify_folder(folder: Path) -> DatasetInfo:
    """Reads every record of a folder; returns what dataset.json says, if all of it is true.

    Raises:
      InputError: the first thing that differs, with its file, what was found, and what dataset.json expects.
    """
    info = DatasetInfo.load(folder)
    _check("record files", sorted(path.name for path in folder.glob(SHARD_PATTERN)), [s.name for s in info.shards])
    counts: Counter[str] = Counter()
    for shard in tqdm(info.shards, desc="verifying", unit="shard"):
        counts.update(_verify_shard(folder, shard, info))
    for name, found in counts.items():
        _check(f"{folder}: {name}", found, info.counts[name])
    if "text_tokens_used" in info.counts:
        added = info.counts["text_tokens_used"] + info.counts["text_tokens_never_used"]
        _check(f"{folder}: text_tokens", added, info.counts["text_tokens"])
    return info


def _verify_shard(folder: Path, shard: ShardInfo, info: DatasetInfo) -> Counter[str]:
    path = folder / shard.name
    _check(f"{path}: bytes", path.stat().st_size, shard.bytes)
    _check(f"{path}: sha256", file_sha256(path), shard.sha256)
    counts = Counter({"records": 0, "questions": 0, "predictions": 0})
    for record in read_records(path, info.record_spec):
        largest = int(record["input_ids"].max())
        if largest >= info.vocab.size:
            raise InputError(
                f"{path}: record {counts['records']}: found token id {largest}, expected below {info.vocab.size}"
            )
        counts["records"] += 1
        for name, weights in (("questions", "masked_span_weights"), ("predictions", "masked_lm_weights")):
            if weights in record:
                counts[name] += int(record[weights].sum())
    _check(f"{path}: records", counts["records"], shard.records)
    return counts


def _check(what: str, found: object, expected: object) -> None:
    if found != expected:
        raise InputError(f"{what}: found {found}, expected {expected}")


def main(argv: list[str]) -> None:
    if len(argv) != 2:
        sys.exit("error: expected one argument, the folder of records")

    def verify() -> None:
        info = verify_folder(Path(argv[1]))
        print(f"{argv[1]}: {info.counts['records']:,} records in {len(info.shards)} shards are as dataset.json says")

    exit_with_one_line(verify)


if __name__ == "__main__":
    app.run(main)
