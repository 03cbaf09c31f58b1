"""Ways in which files go wrong, or are made to: pure functions of bytes and a generator."""

from __future__ import annotations

import base64
import io
import json
import marshal
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

Change = Callable[[bytes, np.random.Generator], bytes]
# Numbers that break arithmetic: none, signs, the greatest of 16, 24, 31 and 32 bits.
_EDGES = (0, 1, 0x7FFF, 0x8000, 0xFFFF, 0xFFFFFF, 0x7FFFF000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
_TAGS = (b"TAG" + b"\0" * 125, b"\r\n", b"APETAGEX" + b"\xff" * 24, b"ID3\4\0\0\x7f\x7f\x7f\x7f")
_VALUES = ("null", "-1", "0", "1e999", "NaN", "[]", "{}", '"../x"', "true", "[[[[", "12345678901")


def mutated(data: bytes, generator: np.random.Generator, *, text: bool = False) -> bytes:
    """Changes a file in one to three ways.

    Args:
      data: the file.
      generator: decides how.
      text: whether lines and values may be exchanged too, as people do who edit files.
    """
    changes = (*_CHANGES, *_TEXT_CHANGES) if text else _CHANGES
    for _ in range(int(generator.integers(1, 4))):
        change = changes[int(generator.integers(len(changes)))]
        data = change(data, generator) or b"\0"
    return data


def _place(data: bytes, generator: np.random.Generator) -> int:
    """A place in a file, every other time in its header."""
    end = len(data) if generator.random() < 0.5 else min(len(data), 128)
    return int(generator.integers(end))


def _flip(data: bytes, generator: np.random.Generator) -> bytes:
    changed = bytearray(data)
    for _ in range(int(generator.integers(1, 9))):
        changed[_place(data, generator)] ^= int(generator.integers(1, 256))
    return bytes(changed)


def _edge(data: bytes, generator: np.random.Generator) -> bytes:
    width, place = int(generator.choice([2, 3, 4, 8])), _place(data, generator)
    number = int(generator.choice(_EDGES)) & (1 << 8 * width) - 1
    order = "little" if generator.random() < 0.7 else "big"
    return data[:place] + number.to_bytes(width, order) + data[place + width :]  # type: ignore[arg-type]


def _cut(data: bytes, generator: np.random.Generator) -> bytes:
    return data[: int(generator.integers(1, len(data) + 1))]


def _drop(data: bytes, generator: np.random.Generator) -> bytes:
    place = _place(data, generator)
    return data[:place] + data[place + int(generator.integers(1, 400)) :]


def _insert(data: bytes, generator: np.random.Generator) -> bytes:
    place = _place(data, generator)
    return data[:place] + generator.bytes(int(generator.integers(1, 400))) + data[place:]


def _repeat(data: bytes, generator: np.random.Generator) -> bytes:
    first, second = sorted((_place(data, generator), _place(data, generator)))
    return data[:second] + data[first:]


def _tag(data: bytes, generator: np.random.Generator) -> bytes:
    tag = _TAGS[int(generator.integers(len(_TAGS)))]
    return data + tag if generator.random() < 0.6 else tag + data


def _value(data: bytes, generator: np.random.Generator) -> bytes:
    """Puts another value in the place of one."""
    pieces = data.split(b",")
    place = int(generator.integers(len(pieces)))
    key, colon, _ = pieces[place].partition(b":")
    pieces[place] = key + colon + str(generator.choice(_VALUES)).encode()
    return b",".join(pieces)


def _swap_lines(data: bytes, generator: np.random.Generator) -> bytes:
    lines = data.splitlines(keepends=True)
    one, other = generator.integers(len(lines), size=2)
    lines[one], lines[other] = lines[other], lines[one]
    return b"".join(lines)


def _delete_line(data: bytes, generator: np.random.Generator) -> bytes:
    lines = data.splitlines(keepends=True)
    del lines[int(generator.integers(len(lines)))]
    return b"".join(lines)


def _digit(data: bytes, generator: np.random.Generator) -> bytes:
    """Changes one digit: the file stays well-formed."""
    places = [place for place, letter in enumerate(data) if 48 <= letter <= 57]
    if not places:
        return data
    place = places[int(generator.integers(len(places)))]
    return data[:place] + str(generator.integers(10)).encode() + data[place + 1 :]


_CHANGES: tuple[Change, ...] = (_flip, _edge, _edge, _cut, _drop, _insert, _repeat, _tag)
_TEXT_CHANGES: tuple[Change, ...] = (_value, _value, _swap_lines, _delete_line, _digit, _digit)


class _Touch:
    """What a pickle makes of this when it is loaded: an empty file."""

    def __init__(self, path: str) -> None:
        self._path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path(self._path),)


def with_code(name: str, data: bytes, marker: Path, generator: np.random.Generator) -> bytes | None:
    """Puts code into a file, which makes the marker if it is executed; None if there is no room.

    An array of an .npz archive becomes a pickle; a layer of a Keras model in JSON a Lambda layer
    or a function of Python's own.
    """
    if name.endswith(".npz"):
        return _archive_with_code(data, marker, generator)
    if name.endswith(".json") and b"class_name" in data:
        return _model_with_code(data, marker, generator)
    return None


def _archive_with_code(data: bytes, marker: Path, generator: np.random.Generator) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as before, zipfile.ZipFile(file, "w") as after:
        chosen = int(generator.integers(len(before.namelist())))
        for place, name in enumerate(before.namelist()):
            content = before.read(name)
            if place == chosen:
                head = io.BytesIO()
                np.lib.format.write_array_header_1_0(
                    head, {"descr": "|O", "fortran_order": False, "shape": (1,)}
                )
                content = head.getvalue() + pickle.dumps(_Touch(str(marker)))
            after.writestr(name, content)
    return file.getvalue()


def _model_with_code(data: bytes, marker: Path, generator: np.random.Generator) -> bytes:
    code = _callables(marker)[int(generator.integers(3))]

    def changed(text: str) -> str:
        """Changes a layer of the model, which may stand as JSON in a text of JSON."""
        value = json.loads(text)
        layers = _dicts_with_class(value)
        if layers:
            layers[int(generator.integers(len(layers)))].update(code)
            return json.dumps(value)
        for holder, key in _texts_with_class(value):
            holder[key] = changed(holder[key])
        return json.dumps(value)

    return changed(data.decode()).encode()


def _texts_with_class(value: Any) -> list[tuple[dict[str, Any], str]]:
    found: list[tuple[dict[str, Any], str]] = []
    for key, inner in value.items() if isinstance(value, dict) else ():
        found += _texts_with_class(inner)
        if isinstance(inner, str) and "class_name" in inner:
            found.append((value, key))
    return found


def _callables(marker: Path) -> list[dict[str, Any]]:
    """What a careless reader of Keras's JSON would call."""
    source = f"lambda x: open({str(marker)!r}, 'w')"
    code = base64.b64encode(marshal.dumps(eval(source).__code__)).decode()
    function = {"class_name": "__lambda__", "config": {"code": code}}
    return [
        {"module": "keras.layers", "class_name": "Lambda", "config": {"function": function}},
        {"module": "os", "class_name": "mkdir", "config": {"path": str(marker)}},
        {"module": "builtins", "class_name": "function", "registered_name": "os.mkdir"}
        | {"config": str(marker)},
    ]


def _dicts_with_class(value: Any) -> list[dict[str, Any]]:
    found = []
    if isinstance(value, dict):
        found = [value] if "class_name" in value else []
        value = list(value.values())
    if isinstance(value, list):
        found += [each for part in value for each in _dicts_with_class(part)]
    return found
