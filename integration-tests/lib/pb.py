# SPDX-License-Identifier: Apache-2.0
"""Protocol buffers by hand: enough to write requests and to take answers apart without a schema."""


class Malformed(Exception):
    pass


def varint(value):
    value &= (1 << 64) - 1
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def message(*fields):
    """Encodes (number, value) pairs: int and bool as varint, text and bytes as such; None and
    missing values are left out, a list is a repeated field."""
    out = bytearray()
    for number, value in fields:
        for item in value if isinstance(value, list) else [value]:
            if item is None:
                continue
            if isinstance(item, int):
                out += varint(number << 3) + varint(item)
            else:
                data = item.encode() if isinstance(item, str) else item
                out += varint(number << 3 | 2) + varint(len(data)) + data
    return bytes(out)


def read_varint(data, at):
    value = shift = 0
    while True:
        if at >= len(data) or shift > 63:
            raise Malformed("varint")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, at


def fields(data):
    """{number: [values]} of an encoded message; values are ints or bytes."""
    out = {}
    at = 0
    while at < len(data):
        key, at = read_varint(data, at)
        kind = key & 7
        if kind == 0:
            value, at = read_varint(data, at)
        else:
            size = {1: 8, 5: 4}.get(kind)
            if kind == 2:
                size, at = read_varint(data, at)
            if size is None or at + size > len(data):
                raise Malformed(f"field {key >> 3}, wire type {kind}")
            value = data[at:at + size]
            at += size
        out.setdefault(key >> 3, []).append(value)
    return out


class Message:
    """A view of an encoded message: text(1), number(2), data(3), each(4), one(5)."""

    def __init__(self, encoded):
        self.encoded = encoded
        self.fields = fields(encoded)

    def data(self, number):
        return self.fields.get(number, [b""])[-1]

    def text(self, number):
        return self.data(number).decode(errors="replace")

    def number(self, number):
        """A signed 64-bit integer."""
        value = self.fields.get(number, [0])[-1]
        return value - (1 << 64) if value >> 63 else value

    def one(self, number):
        return Message(self.data(number))

    def each(self, number):
        return [Message(item) for item in self.fields.get(number, [])]
