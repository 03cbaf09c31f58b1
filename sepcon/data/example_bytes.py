"""`tf.train.Example` and TFRecord as bytes, without TensorFlow.

An importer runs in as many processes as there are cores: each would start for seconds and take
hundreds of megabytes only to write records. TensorFlow itself does not promise the order of the
features either; here it is that of the mapping, so the same clip is the same bytes everywhere.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import BinaryIO

import google_crc32c

# Fields of length-delimited kind: field number << 3 | 2.
_FIELD_1, _FIELD_2, _FIELD_3 = 0x0A, 0x12, 0x1A


def serialize_example(features: Mapping[str, bytes | Sequence[int]]) -> bytes:
    """Serializes a `tf.train.Example`.

    Args:
      features: name -> bytes, for a bytes_list of one, or integers from 0 on, for an int64_list.

    Returns:
      Its bytes, with the features in the order of the mapping.
    """
    pieces: list[bytes] = []
    for name, value in features.items():
        key = _field(_FIELD_1, [name.encode()])
        pieces += _field(_FIELD_1, [*key, *_field(_FIELD_2, _feature(value))])
    return b"".join(_field(_FIELD_1, pieces))


def _feature(value: bytes | Sequence[int]) -> list[bytes]:
    if isinstance(value, bytes):
        return _field(_FIELD_1, _field(_FIELD_1, [value]))
    packed = [b"".join(map(_varint, value))]
    return _field(_FIELD_3, _field(_FIELD_1, packed) if value else [])


def _field(tag: int, pieces: list[bytes]) -> list[bytes]:
    """Puts tag and length before what is in a field: pieces, so that audio is copied only once."""
    return [bytes([tag]) + _varint(sum(map(len, pieces))), *pieces]


def _varint(value: int) -> bytes:
    digits = bytearray()
    while value > 0x7F:
        digits.append(value & 0x7F | 0x80)
        value >>= 7
    digits.append(value)
    return bytes(digits)


def write_record(file: BinaryIO, data: bytes) -> None:
    """Appends a record to a TFRecord file: its length, its data, and a checksum of each.

    Args:
      file: open for writing in binary mode.
      data: of the record.
    """
    length = struct.pack("<Q", len(data))
    file.write(length + checksum(length))
    file.write(data)
    file.write(checksum(data))


def checksum(data: bytes) -> bytes:
    """CRC-32C, rotated and shifted as the TFRecord format has it: what follows the data there."""
    crc = google_crc32c.value(data)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)
