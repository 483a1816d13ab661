"""TFRecords to batches: a deterministic stream that can be entered at any record, and a pass over each record once."""

from dataclasses import dataclass

import tensorflow as tf

from kosplinter_common.records.examples import FLOAT32, RecordSpec

# Shards that are read at once and shuffled together; a resumed run reads at most one such group to find its place.
SHARDS_PER_GROUP = 16
_RECORDS_PER_TURN = 16  # taken from one shard before the next one has its turn


@dataclass(frozen=True)
class RecordFiles:
    """Record files and how many records each holds, in a fixed order."""

    paths: tuple[str, ...]
    records: tuple[int, ...]
    compression: tuple[str, ...]  # "" or "GZIP"

    @property
    def num_records(self) -> int:
        return sum(self.records)

    @property
    def num_groups(self) -> int:
        return -(-len(self.paths) // SHARDS_PER_GROUP)


@dataclass(frozen=True)
class HostShare:
    """Which of the hosts reads: it gets every `hosts`-th record, from number `host` on."""

    hosts: int = 1
    host: int = 0


def training_batches(
    files: RecordFiles,
    spec: RecordSpec,
    batch_size: int,
    seed: int,
    records_seen: int = 0,
    shuffle_buffer_size: int = 20_000,
    share: HostShare = HostShare(),
    vocab_size: int | None = None,
) -> tf.data.Dataset:
    """Endless batches of fixed shapes, {feature: int32 or float32 [batch_size, length]}.

    The order of the records is a function of `seed` and the shards alone: each epoch takes the shards in a new random
    order, in groups of 16 whose records are interleaved and shuffled. `records_seen` records of that order are passed
    over, so a resumed run sees no record twice before all were seen once. Values out of range end the stream as `parse`
    says.
    """
    first_group, to_skip = _position(files, seed, records_seen)
    groups = tf.data.Dataset.range(first_group, tf.int64.max)
    records = groups.flat_map(lambda group: _group_records(files, seed, group, shuffle_buffer_size))
    records = records.skip(to_skip).shard(share.hosts, share.host)
    return _parsed(records, spec, batch_size, vocab_size)


def evaluation_batches(
    files: RecordFiles,
    spec: RecordSpec,
    batch_size: int,
    replicas: int = 1,
    share: HostShare = HostShare(),
) -> tf.data.Dataset:
    """Every record once, in file order; the last batches are filled up with records of weight 0 and mask 0, so that
    each of `replicas` gets as many batches of `batch_size` as the others.
    """
    padding = -files.num_records % (batch_size * replicas)
    records = tf.data.Dataset.from_tensor_slices((list(files.paths), list(files.compression))).flat_map(_read)
    if padding:
        records = records.concatenate(tf.data.Dataset.from_tensors(_empty_record(spec)).repeat(padding))
    return _parsed(records.shard(share.hosts, share.host), spec, batch_size, None)  # checked before, whole


def _parsed(records: tf.data.Dataset, spec: RecordSpec, batch_size: int, vocab_size: int | None) -> tf.data.Dataset:
    batches = records.batch(batch_size, drop_remainder=True)
    batches = batches.map(
        lambda batch: parse(batch, spec, vocab_size), num_parallel_calls=tf.data.AUTOTUNE, deterministic=True
    )
    return batches.prefetch(tf.data.AUTOTUNE)


def value_limits(spec: RecordSpec, vocab_size: int | None) -> dict[str, int]:
    """What the whole numbers of each feature must lie below; ids only where the vocabulary's size is given."""
    limits = {"input_mask": 2}
    positions = ("masked_span_positions", "masked_span_beginnings", "masked_span_endings", "masked_lm_positions")
    limits |= dict.fromkeys(positions, spec.max_seq_length)
    if vocab_size is not None:
        limits |= {"input_ids": vocab_size, "masked_lm_ids": vocab_size}
    return {name: limit for name, limit in limits.items() if name in spec.features()}


def parse(serialized: tf.Tensor, spec: RecordSpec, vocab_size: int | None = None) -> dict[str, tf.Tensor]:
    """Serialised examples [batch] as {feature: int32 or float32 [batch, length]}: no TPU takes int64.

    A missing feature, another length, and a value out of range (see `value_limits`; a weight is 0 or 1) end in an
    InvalidArgumentError; which record it was, `record_faults.find_fault` finds.
    """
    features = {
        name: tf.io.FixedLenFeature([length], tf.float32 if kind == FLOAT32 else tf.int64)
        for name, (kind, length) in spec.features().items()
    }
    parsed = tf.io.parse_example(serialized, features)
    in_range = [tf.reduce_all((parsed[n] >= 0) & (parsed[n] < m)) for n, m in value_limits(spec, vocab_size).items()]
    in_range += [tf.reduce_all(tf.equal(x, 0) | tf.equal(x, 1)) for x in parsed.values() if x.dtype == tf.float32]
    with tf.control_dependencies([tf.debugging.Assert(tf.reduce_all(in_range), ["value out of range"])]):
        return {n: tf.cast(x, tf.int32) if x.dtype == tf.int64 else tf.identity(x) for n, x in parsed.items()}


def _empty_record(spec: RecordSpec) -> bytes:
    features = {
        name: tf.train.Feature(float_list=tf.train.FloatList(value=[0.0] * length))
        if kind == FLOAT32
        else tf.train.Feature(int64_list=tf.train.Int64List(value=[0] * length))
        for name, (kind, length) in spec.features().items()
    }
    return tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString()


def _read(path: tf.Tensor, compression: tf.Tensor) -> tf.data.Dataset:
    return tf.data.TFRecordDataset(path, compression_type=compression, buffer_size=1 << 20)


def _epoch_order(num_files: int, seed: int, epoch: tf.Tensor) -> tf.Tensor:
    return tf.random.experimental.stateless_shuffle(tf.range(num_files), tf.stack([tf.constant(seed, tf.int64), epoch]))


def _group_records(files: RecordFiles, seed: int, group: tf.Tensor, shuffle_buffer_size: int) -> tf.data.Dataset:
    """Serialised records of one group of shards; groups are numbered through the epochs."""
    order = _epoch_order(len(files.paths), seed, group // files.num_groups)
    start = tf.cast(group % files.num_groups, tf.int32) * SHARDS_PER_GROUP
    chosen = order[start : start + SHARDS_PER_GROUP]
    shards = tf.data.Dataset.from_tensor_slices((tf.gather(files.paths, chosen), tf.gather(files.compression, chosen)))
    records = shards.interleave(
        _read,
        cycle_length=min(SHARDS_PER_GROUP, len(files.paths)),
        block_length=_RECORDS_PER_TURN,
        num_parallel_calls=tf.data.AUTOTUNE,
        deterministic=True,
    )
    return records.shuffle(shuffle_buffer_size, seed=seed + group, reshuffle_each_iteration=False)


def _position(files: RecordFiles, seed: int, records_seen: int) -> tuple[int, int]:
    """The group in which a run goes on that has seen so many records, and how many of the group it has seen."""
    epoch, seen = divmod(records_seen, files.num_records)
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        order = session.run(_epoch_order(len(files.paths), seed, tf.constant(epoch, tf.int64)))
    for group in range(files.num_groups):
        chosen = order[group * SHARDS_PER_GROUP : (group + 1) * SHARDS_PER_GROUP]
        size = sum(files.records[shard] for shard in chosen)
        if seen < size:
            return epoch * files.num_groups + group, seen
        seen -= size
    raise AssertionError("records_seen modulo num_records lies in some group")
