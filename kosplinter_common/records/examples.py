"""The record schema, and tf.train.Examples of it encoded and decoded without TensorFlow."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kosplinter_common.compilation import numba

INT64, FLOAT32 = "int64", "float32"

# Protocol-buffer keys (field number << 3 | wire type 2) on the way from Example down to the packed values.
_KEY_FIRST, _KEY_SECOND, _KEY_THIRD = 0x0A, 0x12, 0x1A
_MAX_VARINT_BYTES = 10


@dataclass(frozen=True)
class RecordSpec:
    """Which features a record has, and how long they are; 0 stands for "no such features"."""

    max_seq_length: int
    max_questions_per_seq: int
    max_predictions_per_seq: int

    def features(self) -> dict[str, tuple[str, int]]:
        """Feature name -> (value type, number of values), in the order in which records hold them."""
        features = {"input_ids": (INT64, self.max_seq_length), "input_mask": (INT64, self.max_seq_length)}
        if self.max_questions_per_seq:
            for name in ("masked_span_positions", "masked_span_beginnings", "masked_span_endings"):
                features[name] = (INT64, self.max_questions_per_seq)
            features["masked_span_weights"] = (FLOAT32, self.max_questions_per_seq)
        if self.max_predictions_per_seq:
            for name in ("masked_lm_positions", "masked_lm_ids"):
                features[name] = (INT64, self.max_predictions_per_seq)
            features["masked_lm_weights"] = (FLOAT32, self.max_predictions_per_seq)
        return features


class ExampleEncoder:
    """The arrays that `encode_row` needs to write records of one spec.

    A record is handed over as one row of int64: the values of all features, one after the other. Weights are 0 or 1
    there and become float32 on the way.
    """

    def __init__(self, spec: RecordSpec):
        features = spec.features()
        names = [name.encode() for name in features]
        self.names = np.frombuffer(b"".join(names), np.uint8)
        self.name_ends = np.cumsum([len(name) for name in names], dtype=np.int64)
        self.lengths = np.array([length for _, length in features.values()], np.int64)
        self.is_float = np.array([kind == FLOAT32 for kind, _ in features.values()])
        self.row_length = int(self.lengths.sum())
        self.max_bytes = self.row_length * _MAX_VARINT_BYTES + 64 * len(features) + len(self.names)

    def encode(self, values: dict[str, npt.ArrayLike]) -> bytes:
        """One serialised tf.train.Example from {feature name: values}."""
        row = np.concatenate([np.asarray(values[name]).astype(np.int64) for name in self._feature_names()])
        out = np.empty(self.max_bytes, np.uint8)
        end = encode_row(out, 0, row, self.names, self.name_ends, self.lengths, self.is_float)
        return out[:end].tobytes()

    def _feature_names(self) -> list[str]:
        starts = np.concatenate([[0], self.name_ends[:-1]])
        text = self.names.tobytes()
        return [text[start:end].decode() for start, end in zip(starts, self.name_ends, strict=True)]


@numba.njit(cache=True, inline="always")
def _varint_size(value: int) -> int:
    size = 1
    rest = np.uint64(value) >> np.uint64(7)
    while rest:
        size += 1
        rest >>= np.uint64(7)
    return size


@numba.njit(cache=True, inline="always")
def _put_varint(out: npt.NDArray[np.uint8], position: int, value: int) -> int:
    rest = np.uint64(value)
    while rest >= np.uint64(128):
        out[position] = np.uint8(rest & np.uint64(127)) | np.uint8(128)
        rest >>= np.uint64(7)
        position += 1
    out[position] = np.uint8(rest)
    return position + 1


@numba.njit(cache=True, inline="always")
def _open_message(out: npt.NDArray[np.uint8], position: int, key: int, length: int) -> int:
    out[position] = key
    return _put_varint(out, position + 1, length)


@numba.njit(cache=True, inline="always")
def _framed_size(length: int) -> int:
    """Size of a message field of `length` bytes together with its one-byte key and its length."""
    return 1 + _varint_size(length) + length


@numba.njit(cache=True)
def encode_row(
    out: npt.NDArray[np.uint8],
    position: int,
    row: npt.NDArray[np.int64],
    names: npt.NDArray[np.uint8],
    name_ends: npt.NDArray[np.int64],
    lengths: npt.NDArray[np.int64],
    is_float: npt.NDArray[np.bool_],
) -> int:
    """Writes one tf.train.Example at out[position:]; returns the position behind it.

    The nesting is Example{1: Features{1: entry{1: name, 2: Feature{2|3: List{1: packed values}}}}}.
    """
    packed = np.empty(len(lengths), np.int64)
    total = 0
    start = 0
    name_start = 0
    for feature in range(len(lengths)):
        size = 4 * lengths[feature]
        if not is_float[feature]:
            size = 0
            for i in range(start, start + lengths[feature]):
                size += _varint_size(row[i])
        packed[feature] = size
        entry = _framed_size(name_ends[feature] - name_start) + _framed_size(_framed_size(_framed_size(size)))
        total += _framed_size(entry)
        start += lengths[feature]
        name_start = name_ends[feature]

    position = _open_message(out, position, _KEY_FIRST, total)
    start = 0
    name_start = 0
    for feature in range(len(lengths)):
        name_length = name_ends[feature] - name_start
        size = packed[feature]
        entry = _framed_size(name_length) + _framed_size(_framed_size(_framed_size(size)))
        position = _open_message(out, position, _KEY_FIRST, entry)
        position = _open_message(out, position, _KEY_FIRST, name_length)
        for i in range(name_start, name_ends[feature]):
            out[position] = names[i]
            position += 1
        position = _open_message(out, position, _KEY_SECOND, _framed_size(_framed_size(size)))
        kind = _KEY_SECOND if is_float[feature] else _KEY_THIRD
        position = _open_message(out, position, kind, _framed_size(size))
        position = _open_message(out, position, _KEY_FIRST, size)
        for i in range(start, start + lengths[feature]):
            if is_float[feature]:
                # 1.0 is 0x3F800000, little-endian; any other weight is 0.0
                one = row[i] != 0
                out[position] = 0
                out[position + 1] = 0
                out[position + 2] = 0x80 if one else 0
                out[position + 3] = 0x3F if one else 0
                position += 4
            else:
                position = _put_varint(out, position, row[i])
        start += lengths[feature]
        name_start = name_ends[feature]
    return position


def decode_example(payload: bytes) -> dict[str, npt.NDArray]:
    """A serialised tf.train.Example of packed int64 and float lists as {feature name: values}.

    Raises:
      ValueError, IndexError: `payload` is something else.
    """
    (features,) = _fields(payload)[1]
    record = {}
    for entry in _fields(features).get(1, []):
        fields = _fields(entry)
        (kind, (values,)), *rest = _fields(fields[2][0]).items()
        if rest or kind not in (2, 3):
            raise ValueError(f"feature of kind {kind}")
        packed = np.frombuffer(_fields(values)[1][0], np.uint8)
        name = fields[1][0].decode()
        record[name] = packed.view("<f4").astype(np.float32) if kind == 2 else _decode_varints(packed)
    return record


def _fields(message: bytes) -> dict[int, list[bytes]]:
    """Length-delimited fields of a message by field number: all that an Example of packed lists is made of."""
    fields: dict[int, list[bytes]] = {}
    position = 0
    while position < len(message):
        key, position = message[position], position + 1
        if key & 7 != 2 or key & 128:
            raise ValueError(f"wire type {key & 7} at byte {position - 1}")
        length, shift = 0, 0
        while True:
            byte, position = message[position], position + 1
            length |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                break
        if position + length > len(message):
            raise ValueError(f"field of {length} bytes, {len(message) - position} left")
        fields.setdefault(key >> 3, []).append(message[position : position + length])
        position += length
    return fields


@numba.njit(cache=True)
def _decode_varints(packed: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
    values = np.empty(len(packed), np.int64)
    count = 0
    value = np.uint64(0)
    shift = np.uint64(0)
    for byte in packed:
        value |= np.uint64(byte & 127) << shift
        shift += np.uint64(7)
        if byte < 128:
            values[count] = np.int64(value)
            count += 1
            value = np.uint64(0)
            shift = np.uint64(0)
    return values[:count].copy()
