"""TFRecord files: framed, read and checked without TensorFlow."""

import struct
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

import google_crc32c
import numpy.typing as npt

from kosplinter_common.cli import InputError
from kosplinter_common.records.examples import RecordSpec, decode_example

_CRC_MASK_DELTA = 0xA282EAD8  # TFRecord stores checksums rotated and shifted by this constant
_HEADER_BYTES, _FOOTER_BYTES = 12, 4


def _masked_crc(data: bytes) -> int:
    crc = google_crc32c.value(data)
    return (((crc >> 15) | (crc << 17)) + _CRC_MASK_DELTA) & 0xFFFFFFFF


def frame(payload: bytes) -> bytes:
    """One TFRecord: length, checksum of the length, payload, checksum of the payload."""
    length = struct.pack("<Q", len(payload))
    return b"".join((length, struct.pack("<I", _masked_crc(length)), payload, struct.pack("<I", _masked_crc(payload))))


def write_records(path: str | Path, payloads: Iterable[bytes]) -> None:
    """Writes serialised examples as one TFRecord file."""
    with open(path, "wb") as file:
        for payload in payloads:
            file.write(frame(payload))


def read_payloads(path: str | Path) -> Iterator[bytes]:
    """Serialised examples of one TFRecord file, both checksums of each verified.

    Raises:
      InputError: the file is cut off or a checksum differs.
    """
    with open(path, "rb") as file:
        for number in range(2**63):
            payload = _read_payload(file, f"{path}: record {number}")
            if payload is None:
                return
            yield payload


def _read_payload(file: BinaryIO, where: str) -> bytes | None:
    header = file.read(_HEADER_BYTES)
    if not header:
        return None
    if len(header) < _HEADER_BYTES:
        raise InputError(f"{where}: cut off after {len(header)} of {_HEADER_BYTES} header bytes")
    if struct.unpack("<I", header[8:])[0] != _masked_crc(header[:8]):
        raise InputError(f"{where}: the checksum of its length differs: not a TFRecord file, or damaged")
    (length,) = struct.unpack("<Q", header[:8])
    body = file.read(length + _FOOTER_BYTES)
    if len(body) < length + _FOOTER_BYTES:
        raise InputError(f"{where}: cut off: found {len(body)} bytes, expected {length + _FOOTER_BYTES}")
    payload = body[:length]
    if struct.unpack("<I", body[length:])[0] != _masked_crc(payload):
        raise InputError(f"{where}: the checksum of its data differs: damaged")
    return payload


def read_records(path: str | Path, spec: RecordSpec) -> Iterator[dict[str, npt.NDArray]]:
    """Records of one TFRecord file as {feature name: int64 or float32 [length]}.

    Raises:
      InputError: damaged file, or features other than `spec` says, with the feature, found and expected length.
    """
    for number, payload in enumerate(read_payloads(path)):
        try:
            record = decode_example(payload)
        except (IndexError, ValueError) as error:
            raise InputError(f"{path}: record {number}: not a tf.train.Example of packed lists: {error}") from error
        _check_features(record, spec, f"{path}: record {number}")
        yield record


def _check_features(record: dict[str, npt.NDArray], spec: RecordSpec, where: str) -> None:
    expected = spec.features()
    if record.keys() != expected.keys():
        raise InputError(f"{where}: found features {sorted(record)}, expected {sorted(expected)}")
    for name, (kind, length) in expected.items():
        if record[name].dtype != kind or len(record[name]) != length:
            found = f"{len(record[name])} values of {record[name].dtype}"
            raise InputError(f"{where}: {name}: found {found}, expected {length} of {kind}")
