# SPDX-License-Identifier: Apache-2.0
"""A small gRPC client on plain sockets. Scenarios look at the very bytes of an answer, and send what
no decent client would send; so nothing here hides behind a library. One call at a time, no threads.
"""

import select
import socket
import struct
import time
import urllib.parse

from process import Failure

CODES = ["OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND",
         "ALREADY_EXISTS", "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION",
         "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS",
         "UNAUTHENTICATED"]
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = \
    0, 1, 3, 4, 6, 7, 8, 9
END_STREAM, ACK, END_HEADERS, PADDED, PRIORITY = 1, 1, 4, 8, 0x20
WINDOW = 1 << 30
# What an answer may take from HPACK's static table; the table's other entries never matter here.
STATIC = {31: ("content-type", ""), 54: ("server", "")}
for _index, _status in enumerate(["200", "204", "206", "304", "400", "404", "500"]):
    STATIC[8 + _index] = (":status", _status)


class Lost(Exception):
    """The connection broke, or never was."""


class Result:
    """What a call came to. `code` is gRPC's name; LOST when the connection broke first."""

    def __init__(self, code, message="", body=b"", details=b""):
        self.code = code
        self.message = message
        self.body = body
        self.details = details

    def __repr__(self):
        return f"{self.code} {self.message!r} ({len(self.body)} bytes)"


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def literal(name, value):
    """A header field without indexing and without Huffman coding."""
    def text(data):
        data = data.encode() if isinstance(data, str) else data
        return integer(len(data), 7) + data
    return b"\0" + text(name) + text(value)


def integer(value, bits):
    limit = (1 << bits) - 1
    if value < limit:
        return bytes([value])
    out = bytearray([limit])
    value -= limit
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes(out) + bytes([value])


class HeaderBlock:
    """Decodes one header block. We announce a dynamic table of size 0, so there is none."""

    def __init__(self, data):
        self.data = data
        self.at = 0

    def integer(self, bits):
        limit = (1 << bits) - 1
        value = self.data[self.at] & limit
        self.at += 1
        if value < limit:
            return value
        shift = 0
        while True:
            byte = self.data[self.at]
            self.at += 1
            value += (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    def text(self):
        huffman = self.data[self.at] & 0x80
        size = self.integer(7)
        data = self.data[self.at:self.at + size]
        self.at += size
        return f"(huffman, {size} bytes)" if huffman else data.decode("latin-1")

    def decode(self):
        out = {}
        while self.at < len(self.data):
            first = self.data[self.at]
            if first & 0x80:
                name, value = STATIC.get(self.integer(7), ("?", ""))
            elif first & 0xE0 == 0x20:
                self.integer(5)
                continue
            else:
                index = self.integer(6 if first & 0x40 else 4)
                name = STATIC.get(index, ("?", ""))[0] if index else self.text()
                value = self.text()
            out[name] = value
        return out


class Wire:
    """A connection. It connects at the first call, and again after it broke."""

    def __init__(self, address, timeout=20):
        host, port = address.rsplit(":", 1)
        self.address = (host, int(port))
        self.timeout = timeout
        self.socket = None

    def close(self):
        if self.socket:
            self.socket.close()
        self.socket = None

    def connect(self):
        try:
            self.socket = socket.create_connection(self.address, timeout=5)
        except OSError as error:
            raise Lost(str(error)) from None
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = bytearray()
        self.stream = -1
        self.send_window = self.initial_window = 65535
        self.frame_max = 16384
        # No dynamic table; wide windows; binary metadata as it is.
        settings = struct.pack(">HIHIHI", 1, 0, 4, WINDOW, 0xFE03, 1)
        self.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(SETTINGS, 0, 0, settings)
                  + frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", WINDOW)))

    def is_stale(self):
        """True when the server has closed the connection since the last call, or is about to."""
        try:
            while select.select([self.socket], [], [], 0)[0]:
                data = self.socket.recv(1 << 16)
                if not data:
                    break
                self.buffer += data
            else:
                return False
        except OSError:
            pass
        self.close()
        return True

    def send(self, data):
        try:
            self.socket.sendall(data)
        except OSError as error:
            raise Lost(str(error)) from None

    def receive(self, end):
        """One frame: kind, flags, stream, payload."""
        while True:
            if len(self.buffer) >= 9:
                size = int.from_bytes(self.buffer[:3], "big")
                if len(self.buffer) >= 9 + size:
                    kind, flags, stream = struct.unpack(">BBI", self.buffer[3:9])
                    payload = bytes(self.buffer[9:9 + size])
                    del self.buffer[:9 + size]
                    return kind, flags, stream & 0x7FFFFFFF, payload
            left = end - time.monotonic()
            if left <= 0:
                raise TimeoutError
            self.socket.settimeout(left)
            try:
                data = self.socket.recv(1 << 16)
            except (TimeoutError, socket.timeout):
                raise TimeoutError from None
            except OSError as error:
                raise Lost(str(error)) from None
            if not data:
                raise Lost("the server closed the connection")
            self.buffer += data

    def call(self, path, body=b"", timeout=None, headers=(), framed=None):
        """One unary call. `framed` replaces the length-prefixed message by other bytes. Never
        raises for what the server does: see Result."""
        end = time.monotonic() + (timeout or self.timeout)
        try:
            if not self.socket or self.is_stale():
                self.connect()
            return self.exchange(path, body, end, headers, framed)
        except Lost as error:
            self.close()
            return Result("LOST", str(error))
        except TimeoutError:
            self.close()
            return Result("SILENCE", f"no answer to {path} after {timeout or self.timeout:g} s")

    def exchange(self, path, body, end, headers, framed):
        self.stream += 2
        call = Call(self.stream, self.initial_window)
        extra = dict(headers)
        block = literal(":method", "POST") + literal(":scheme", "http") + literal(":path", path)
        block += literal(":authority", f"{self.address[0]}:{self.address[1]}")
        block += literal("te", "trailers") + literal("content-type", "application/grpc")
        if "grpc-timeout" not in extra:
            extra["grpc-timeout"] = f"{max(1, int((end - time.monotonic()) * 1000))}m"
        for name, value in extra.items():
            block += literal(name, value)
        self.send(frame(HEADERS, END_HEADERS, call.stream, block))
        data = framed if framed is not None else b"\0" + struct.pack(">I", len(body)) + body
        while data and not call.done:
            room = min(self.send_window, call.window, self.frame_max, len(data))
            if room <= 0:
                self.handle(call, end)
                continue
            chunk, data = data[:room], data[room:]
            self.send_window -= room
            call.window -= room
            self.send(frame(DATA, 0 if data else END_STREAM, call.stream, chunk))
        if framed == b"":
            self.send(frame(DATA, END_STREAM, call.stream))
        while not call.done:
            self.handle(call, end)
        return call.result()

    def handle(self, call, end):
        kind, flags, stream, payload = self.receive(end)
        if kind == SETTINGS and not flags & ACK:
            for at in range(0, len(payload), 6):
                key, value = struct.unpack(">HI", payload[at:at + 6])
                if key == 4:
                    call.window += value - self.initial_window
                    self.initial_window = value
                elif key == 5:
                    self.frame_max = value
            self.send(frame(SETTINGS, ACK, 0))
        elif kind == PING and not flags & ACK:
            self.send(frame(PING, ACK, 0, payload))
        elif kind == WINDOW_UPDATE:
            room = struct.unpack(">I", payload)[0]
            if stream == 0:
                self.send_window += room
            elif stream == call.stream:
                call.window += room
        elif kind == GOAWAY:
            last, code = struct.unpack(">II", payload[:8])
            if last < call.stream:
                raise Lost(f"GOAWAY {code} {payload[8:]!r}")
        elif kind == DATA and payload:
            room = struct.pack(">I", len(payload))
            self.send(frame(WINDOW_UPDATE, 0, 0, room))
            if stream == call.stream and not flags & END_STREAM:
                self.send(frame(WINDOW_UPDATE, 0, stream, room))
        if stream == call.stream:
            call.take(kind, flags, payload)


class Call:
    def __init__(self, stream, window):
        self.stream = stream
        self.window = window
        self.data = bytearray()
        self.block = bytearray()
        self.headers = {}
        self.reset = None
        self.done = False

    def take(self, kind, flags, payload):
        if kind == HEADERS:
            pad = payload[0] if flags & PADDED else 0
            begin = (1 if flags & PADDED else 0) + (5 if flags & PRIORITY else 0)
            payload = payload[begin:len(payload) - pad]
        if kind in (HEADERS, CONTINUATION):
            self.block += payload
            if flags & END_HEADERS:
                self.headers.update(HeaderBlock(bytes(self.block)).decode())
                self.block.clear()
        elif kind == DATA:
            self.data += payload
        elif kind == RST_STREAM:
            self.reset = struct.unpack(">I", payload)[0]
            self.done = True
        if kind in (HEADERS, DATA) and flags & END_STREAM:
            self.done = True

    def result(self):
        if "grpc-status" not in self.headers:
            return Result("RESET", f"stream reset {self.reset}, HTTP {self.headers.get(':status')}")
        code = CODES[int(self.headers["grpc-status"])]
        message = urllib.parse.unquote(self.headers.get("grpc-message", ""))
        details = self.headers.get("grpc-status-details-bin", "").encode("latin-1")
        return Result(code, message, bytes(self.data[5:]), details)


def ok(result, what=""):
    """The body of an answer that must be good."""
    if result.code != "OK":
        raise Failure(f"{what}: {result.code} {result.message}")
    return result.body
