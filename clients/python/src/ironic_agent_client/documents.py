"""Documents that are open by nature: google.protobuf.Struct from and to dictionaries."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from google.protobuf import json_format, struct_pb2

# Struct holds numbers as doubles.
MAX_SAFE_INTEGER = 2**53


def to_struct(document: Mapping[str, Any]) -> struct_pb2.Struct:
    """A document as the API takes it. An integer that a double cannot hold raises ValueError, which names its place."""
    _check(document, "")
    return json_format.ParseDict(dict(document), struct_pb2.Struct())


def to_dict(struct: struct_pb2.Struct) -> dict[str, Any]:
    """A document of the API. Integral numbers are integers, as they were before."""
    return {key: to_python(value) for key, value in struct.fields.items()}


def to_python(value: struct_pb2.Value) -> Any:
    """A value of the API: `CommandRecord.result`, or a part of a document."""
    kind = value.WhichOneof("kind")
    if kind == "struct_value":
        return to_dict(value.struct_value)
    if kind == "list_value":
        return [to_python(item) for item in value.list_value.values]
    if kind == "number_value":
        number = value.number_value
        return int(number) if number.is_integer() and abs(number) <= MAX_SAFE_INTEGER else number
    return getattr(value, kind) if kind in ("string_value", "bool_value") else None


def _check(value: Any, place: str) -> None:
    if isinstance(value, Mapping):
        for key, item in value.items():
            _check(item, f"{place}.{key}" if place else str(key))
    elif isinstance(value, (list, tuple)):
        for number, item in enumerate(value):
            _check(item, f"{place}[{number}]")
    elif isinstance(value, int) and not -MAX_SAFE_INTEGER <= value <= MAX_SAFE_INTEGER:
        raise ValueError(f"{place}: {value} is too large for a number of the API, which is a double: send it as a text")
