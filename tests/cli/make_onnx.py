#!/usr/bin/env python3
"""make_onnx.py FILE NAME=[TYPE:]SIZExSIZE...: an ONNX file that copies each of its inputs to an
output out_NAME. A size is a number, the name of a symbolic one, or ? for one that has no name; * in
place of the sizes gives no shape at all. Floats of TYPE quantised go through 8-bit integers."""
import sys

TYPES = {"float32": 1, "quantised": 1, "uint8": 2, "int32": 6, "int64": 7, "bool": 9}


def varint(value: int) -> bytes:
    out = b""
    while value > 127:
        out += bytes([value & 127 | 128])
        value >>= 7
    return out + bytes([value])


def field(number: int, value: int | str | bytes) -> bytes:
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    data = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(data)) + data


def dimension(size: str) -> bytes:
    if size in ("?", "*"):
        return b""
    return field(1, int(size)) if size.isdigit() else field(2, size)


def value(name: str, kind: str, sizes: list[str]) -> bytes:
    shape = field(2, b"".join(field(1, dimension(size)) for size in sizes))
    tensor = field(1, TYPES[kind]) + (b"" if sizes == ["*"] else shape)
    return field(1, name) + field(2, field(1, tensor))


def nodes(name: str, kind: str) -> bytes:
    if kind != "quantised":
        return field(1, field(1, name) + field(2, "out_" + name) + field(4, "Identity"))
    parts = [name + "_number", name + "_scale", name + "_zero"]
    there = field(1, name) + b"".join(field(2, p) for p in parts) + field(4, "DynamicQuantizeLinear")
    back = b"".join(field(1, p) for p in parts) + field(2, "out_" + name) + field(4, "DequantizeLinear")
    return field(1, there) + field(1, back)


def copy(text: str) -> bytes:
    name, rest = text.split("=")
    kind, _, sizes = rest.rpartition(":")
    parts = sizes.split("x") if sizes else []
    return (nodes(name, kind) + field(11, value(name, kind or "float32", parts)) +
            field(12, value("out_" + name, kind or "float32", parts)))


def main() -> None:
    graph = b"".join(copy(text) for text in sys.argv[2:]) + field(2, "copies")
    with open(sys.argv[1], "wb") as file:
        file.write(field(1, 8) + field(8, field(2, 17)) + field(7, graph))


main()
