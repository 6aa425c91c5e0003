#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Compare proto/api_*.proto with the official API descriptors.

The official side is the npm package @temporalio/proto, whose
protos/json-module.js holds every descriptor as JSON. Give its place with
--official (tarball, unpacked package, or json-module.js), or a directory with
--fetch, into which the pinned tarball is downloaded once by `npm pack`.

  check_descriptors.py --fetch ~/.cache/strait
  check_descriptors.py --official temporalio-proto-1.24.0.tgz
  check_descriptors.py --official temporalio-proto-1.24.0.tgz --self-test

Checked: every declared message and enumeration exists; names, numbers, types,
labels and oneofs of its fields; names and numbers of enumeration values; that
an opaque field stands for a message and keeps its presence, and that the
comment behind it names the official type. Needs python3 and protoc (or
protoc-c); npm only to fetch. Exit status: 0 equal, 1 different, 2 could not
check.
"""

import argparse
import hashlib
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile

PACKAGE = "@temporalio/proto"
VERSION = "1.24.0"
TARBALL = f"temporalio-proto-{VERSION}.tgz"
SHA256 = "cafabe362cb57ba2fd4dca409f95a4ec63de2e6ef25122d761b6e736a87aa383"
MODULE = "package/protos/json-module.js"
EXPECTED_FILES = {MODULE, "package/package.json", "package/LICENSE"}

ROOT = pathlib.Path(__file__).resolve().parents[2]

# Our name -> official name, where the short name is not unique or not the same.
EXPLICIT = {
    "CallbackInfo": "temporal.api.workflow.v1.CallbackInfo",
    "Failure": "temporal.api.failure.v1.Failure",
    "OnConflictOptions": "temporal.api.workflow.v1.OnConflictOptions",
    "UpdateRequest": "temporal.api.update.v1.Request",
    "UpdateResponse": "temporal.api.update.v1.Response",
}
# Packages in which short names are looked up.
LOOKUP = re.compile(r"(temporal\.api\.(?!cloud\.|testservice\.)\w+\.v1|google\.protobuf|google\.rpc"
                    r"|grpc\.health\.v1)\.")

SCALARS = {1: "double", 2: "float", 3: "int64", 4: "uint64", 5: "int32", 6: "fixed64", 7: "fixed32",
           8: "bool", 9: "string", 12: "bytes", 13: "uint32", 15: "sfixed32", 16: "sfixed64",
           17: "sint32", 18: "sint64"}
MESSAGE, ENUM = 11, 14
REPEATED = 3


class CannotCheck(Exception):
    pass


# --- official side ---------------------------------------------------------

def fetch(cache):
    """Path of the pinned tarball in directory `cache`."""
    path = pathlib.Path(cache).expanduser() / TARBALL
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        npm = shutil.which("npm")
        if not npm:
            raise CannotCheck(f"npm is not installed; give {TARBALL} with --official")
        done = subprocess.run([npm, "pack", f"{PACKAGE}@{VERSION}", "--pack-destination", str(path.parent)],
                              stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False)
        if done.returncode != 0 or not path.exists():
            raise CannotCheck(f"npm pack {PACKAGE}@{VERSION} failed:\n{done.stderr.strip()}")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if digest != SHA256:
        raise CannotCheck(f"{path}: sha256 is {digest}, expected {SHA256}; remove it and try again")
    return path


def read_module(path):
    """Text of json-module.js from a tarball, a directory, or the file itself."""
    path = pathlib.Path(path).expanduser()
    if path.is_dir():
        for name in (MODULE, MODULE.split("/", 1)[1]):
            if (path / name).is_file():
                return (path / name).read_text(encoding="utf-8")
        raise CannotCheck(f"{path}: no {MODULE} in it")
    if not path.is_file():
        raise CannotCheck(f"{path}: no such file")
    if path.suffix == ".js":
        return path.read_text(encoding="utf-8")
    with tarfile.open(path) as tar:
        missing = EXPECTED_FILES - set(tar.getnames())
        if missing:
            raise CannotCheck(f"{path}: not the expected package, it lacks {', '.join(sorted(missing))}")
        return tar.extractfile(MODULE).read().decode("utf-8")


class Official:
    def __init__(self, text):
        start = text.find(".addJSON(")
        if start < 0:
            raise CannotCheck("json-module.js has an unknown form")
        tree, _ = json.JSONDecoder().raw_decode(text, start + len(".addJSON("))
        self.messages, self.enums = {}, {}
        self._walk(tree, ())
        self.short = {}
        for name in (*self.messages, *self.enums):
            if LOOKUP.match(name) and name.rpartition(".")[0] not in self.messages:
                self.short.setdefault(name.rpartition(".")[2], []).append(name)

    def _walk(self, nested, path):
        for key, value in nested.items():
            here = (*path, key)
            if "fields" in value:
                self.messages[".".join(here)] = value
            elif "values" in value:
                self.enums[".".join(here)] = value["values"]
            self._walk(value.get("nested", {}), here)

    def resolve(self, type_name, scope):
        """A scalar's name, or the full name of a message or enumeration."""
        if type_name in SCALARS.values():
            return type_name
        parts = scope.split(".")
        while True:
            name = ".".join((*parts, type_name))
            if name in self.messages or name in self.enums:
                return name
            if not parts:
                raise CannotCheck(f"official type {type_name} of {scope} not found")
            parts.pop()

    def fields(self, message):
        """{field name: (number, type, repeated, map key type, oneof)}"""
        raw = self.messages[message]
        oneof_of = {f: snake(o) for o, v in raw.get("oneofs", {}).items() for f in v["oneof"]}
        return {f.get("protoName", key): (f["id"], self.resolve(f["type"], message),
                                          f.get("rule") == "repeated", f.get("keyType"), oneof_of.get(key))
                for key, f in raw["fields"].items()}


def snake(name):
    return re.sub("[A-Z]", lambda m: "_" + m[0].lower(), name)


def camel(name):
    return "".join(p[:1].upper() + p[1:] for p in name.split("_"))


def last(name):
    return name.rpartition(".")[2]


# --- our side: a reader for serialized file descriptors ---------------------

def wire(data):
    """{field number: [values]} of one encoded message."""
    out, at = {}, 0

    def varint():
        nonlocal at
        value, shift = 0, 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    while at < len(data):
        tag = varint()
        if tag & 7 == 0:
            value = varint()
        elif tag & 7 == 2:
            size = varint()
            value = data[at:at + size]
            at += size
        else:
            size = {1: 8, 5: 4}[tag & 7]
            value = data[at:at + size]
            at += size
        out.setdefault(tag >> 3, []).append(value)
    return out


def text_of(fields, number):
    return fields[number][0].decode("utf-8") if number in fields else ""


class Ours:
    """Messages and enumerations declared in a directory's proto/api_*.proto."""

    def __init__(self, root):
        self.messages, self.enums, self.problems = {}, {}, []
        files = sorted(p.relative_to(root).as_posix() for p in pathlib.Path(root, "proto").glob("api_*.proto"))
        if not files:
            raise CannotCheck(f"{root}/proto holds no api_*.proto")
        compiler = shutil.which("protoc") or shutil.which("protoc-c")
        if not compiler:
            raise CannotCheck("neither protoc nor protoc-c is installed")
        with tempfile.TemporaryDirectory() as tmp:
            out = os.path.join(tmp, "set")
            done = subprocess.run([compiler, "--include_source_info", f"--descriptor_set_out={out}", *files],
                                  cwd=root, stderr=subprocess.PIPE, text=True, check=False)
            if done.returncode != 0:
                raise CannotCheck(f"{compiler}: {done.stderr.strip()}")
            data = pathlib.Path(out).read_bytes()
        for item in wire(data).get(1, []):
            self._file(wire(item))

    def _file(self, file):
        name = text_of(file, 1)
        if text_of(file, 12) != "proto3":
            self.problems.append(f"{name}: not proto3, so repeated numbers are not packed by default")
        if text_of(file, 2) != "api":
            self.problems.append(f"{name}: package is not api")
        comments = {}
        for info in file.get(9, []):
            for location in map(wire, wire(info).get(1, [])):
                if 4 in location and 1 in location:
                    comments[tuple(location[1][0])] = text_of(location, 4).strip()
        for i, message in enumerate(file.get(4, [])):
            self._message(wire(message), (), (4, i), comments)
        for enum in file.get(5, []):
            self._enum(wire(enum), ())

    def _message(self, message, scope, path, comments):
        here = (*scope, text_of(message, 1))
        oneofs = [text_of(wire(o), 1) for o in message.get(8, [])]
        fields = []
        for i, field in enumerate(map(wire, message.get(2, []))):
            kind = field[5][0]
            type_name = SCALARS.get(kind) or text_of(field, 6).removeprefix(".api.")
            fields.append((text_of(field, 1), field[3][0], type_name, field[4][0] == REPEATED,
                           oneofs[field[9][0]] if 9 in field else None, comments.get((*path, 2, i), "")))
        self.messages[".".join(here)] = fields
        for i, nested in enumerate(message.get(3, [])):
            self._message(wire(nested), here, (*path, 3, i), comments)
        for enum in message.get(4, []):
            self._enum(wire(enum), here)

    def _enum(self, enum, scope):
        values = {}
        for value in map(wire, enum.get(2, [])):
            number = value[2][0] if 2 in value else 0
            values[text_of(value, 1)] = number - (1 << 64) if number >> 63 else number
        self.enums[".".join((*scope, text_of(enum, 1)))] = values


# --- comparison ------------------------------------------------------------

class Check:
    def __init__(self, official, ours):
        self.official, self.ours = official, ours
        self.problems = list(ours.problems)
        self.undeclared = []
        self.counts = {"messages": 0, "fields": 0, "opaque": 0, "enums": 0, "values": 0}
        self.entries = set()

    def official_name(self, name):
        """Official name of our message or enumeration; None when there is none."""
        top, _, rest = name.partition(".")
        if top in EXPLICIT:
            full = EXPLICIT[top]
        else:
            found = self.official.short.get(top, [])
            if len(found) != 1:
                return None
            full = found[0]
        full = f"{full}.{rest}" if rest else full
        return full if full in self.official.messages or full in self.official.enums else None

    def why_not(self, name):
        found = self.official.short.get(name.partition(".")[0], [])
        if len(found) > 1:
            return f"ambiguous, add it to EXPLICIT: {', '.join(found)}"
        return "no such official name"

    def run(self):
        for name in self.ours.messages:
            full = self.official_name(name)
            if full in self.official.messages:
                self.message(name, full)
        for name in self.ours.messages:
            if self.official_name(name) not in self.official.messages and name not in self.entries:
                self.problems.append(f"{name}: {self.why_not(name)}")
        for name, values in self.ours.enums.items():
            full = self.official_name(name)
            if full in self.official.enums:
                self.enum(name, values, self.official.enums[full])
            else:
                self.problems.append(f"{name}: {self.why_not(name)}")
        return self.problems

    def message(self, name, full):
        self.counts["messages"] += 1
        theirs = self.official.fields(full)
        for field in self.ours.messages[name]:
            self.counts["fields"] += 1
            where = f"{name}.{field[0]}"
            if field[0] not in theirs:
                self.problems.append(f"{where}: {full} has no such field")
                continue
            for problem in self.field(name, field, theirs[field[0]]):
                self.problems.append(f"{where}: {problem}")
        declared = {f[0] for f in self.ours.messages[name]}
        self.undeclared += [f"{name}.{f}" for f in theirs if f not in declared]

    def field(self, message, ours, theirs):
        name, number, kind, repeated, oneof, comment = ours
        their_number, their_type, their_repeated, map_key, their_oneof = theirs
        if number != their_number:
            yield f"number {number}, official {their_number}"
        if oneof != their_oneof:
            yield f"oneof {oneof}, official {their_oneof}"
        if map_key:
            yield from self.map_field(message, name, kind, repeated, map_key, their_type, comment)
        elif kind == "bytes" and their_type in self.official.messages:
            self.counts["opaque"] += 1
            if repeated == bool(their_oneof):
                yield "an opaque field is `bytes` in a oneof and `repeated bytes` elsewhere"
            yield from self.comment(comment, last(their_type) + ("*" if their_repeated else ""), their_type)
        else:
            if repeated != their_repeated:
                yield f"{'repeated' if repeated else 'singular'}, officially not"
            yield from self.same_type(kind, their_type)

    def same_type(self, kind, their_type):
        if kind in SCALARS.values() or their_type in SCALARS.values():
            if kind != their_type:
                yield f"type {kind}, official {their_type}"
        elif self.official_name(kind) != their_type:
            yield f"type {kind}, official {their_type}"

    def map_field(self, message, name, kind, repeated, key, value, comment):
        if not repeated:
            yield "officially a map, so it must be repeated"
        if kind == "bytes":
            self.counts["opaque"] += 1
            yield from self.comment(comment, f"map<{key}, {last(value)}>", value)
            return
        entry = f"{message}.{camel(name)}Entry"
        if kind != entry:
            yield f"officially a map, so the type must be {entry} or bytes"
            return
        self.entries.add(entry)
        expect = {("key", 1): key, ("value", 2): value}
        fields = {(f[0], f[1]): f for f in self.ours.messages[entry]}
        if set(fields) != set(expect):
            yield f"{entry} must have exactly key = 1 and value = 2"
            return
        for which, their_type in expect.items():
            _, _, our_type, our_repeated, _, note = fields[which]
            if our_repeated:
                yield f"{entry}.{which[0]} is repeated"
            if our_type == "bytes" and their_type in self.official.messages:
                self.counts["opaque"] += 1
                yield from self.comment(note, last(their_type), their_type)
            else:
                yield from (f"{entry}.{which[0]}: {p}" for p in self.same_type(our_type, their_type))

    def comment(self, comment, expect, their_type):
        renamed = {v: k for k, v in EXPLICIT.items()}.get(their_type)
        also = expect.replace(last(their_type), renamed) if renamed else expect
        if comment not in (expect, also):
            yield f"opaque, so the comment behind it must be `// {expect}`, it is `{comment}`"

    def enum(self, name, values, theirs):
        self.counts["enums"] += 1
        for value, number in values.items():
            self.counts["values"] += 1
            if value not in theirs:
                self.problems.append(f"{name}.{value}: no such official value")
            elif number != theirs[value]:
                self.problems.append(f"{name}.{value}: number {number}, official {theirs[value]}")
        self.undeclared += [f"{name}.{v}" for v in theirs if v not in values]


# --- self test: every kind of mistake has to be found ------------------------

MUTATIONS = [
    ("field number", "api_history.proto", "int64 event_id = 1;", "int64 event_id = 999;"),
    ("field name", "api_history.proto", "int64 event_id = 1;", "int64 event_ident = 1;"),
    ("scalar type", "api_history.proto", "int64 event_id = 1;", "int32 event_id = 1;"),
    ("label", "api_history.proto", "int64 event_id = 1;", "repeated int64 event_id = 1;"),
    ("message type", "api_history.proto", "Timestamp event_time = 2;", "Duration event_time = 2;"),
    ("enum type", "api_history.proto", "EventType event_type", "CommandType event_type"),
    ("oneof", "api_update.proto", "oneof sequencing_id", "oneof sequence"),
    ("presence", "api_command.proto", "repeated bytes failure = 1;", "bytes failure = 1;"),
    ("opaque comment", "api_command.proto", "result = 1;  // Payloads", "result = 1;  // Payload"),
    ("bytes for a string", "api_command.proto", "string timer_id = 1;", "bytes timer_id = 1;"),
    ("map value", "api_common.proto", "bytes value = 2;  // Payload", "string value = 2;"),
    ("map entry", "api_common.proto", "FieldsEntry", "FieldEntry"),
    ("message name", "api_command.proto", "StartTimerCommandAttributes", "BeginTimerCommandAttributes"),
    ("enum number", "api_enums.proto", "EVENT_TYPE_TIMER_STARTED = ", "EVENT_TYPE_TIMER_STARTED = 9"),
    ("enum value", "api_enums.proto", "EVENT_TYPE_TIMER_STARTED", "EVENT_TYPE_TIMER_BEGUN"),
    ("syntax", "api_command.proto", 'syntax = "proto3"', 'syntax = "proto2"'),
]


def self_test(official, root):
    missed = 0
    for what, file, old, new in MUTATIONS:
        with tempfile.TemporaryDirectory() as tmp:
            shutil.copytree(pathlib.Path(root, "proto"), pathlib.Path(tmp, "proto"))
            path = pathlib.Path(tmp, "proto", file)
            text = path.read_text(encoding="utf-8")
            if old not in text:
                print(f"self-test: {file} no longer contains `{old}`")
                missed += 1
                continue
            text = text.replace(old, new)
            if what == "syntax":
                text = re.sub(r"(?m)^( *)(?=(?:bool|double|int32|int64|string|[A-Z]\w*) \w+ = )", r"\1optional ", text)
                text = re.sub(r"oneof attributes \{.*?\}", lambda m: m[0].replace("optional ", ""), text, flags=re.S)
            path.write_text(text, encoding="utf-8")
            problems = Check(official, Ours(tmp)).run()
            print(f"self-test: {what}: {problems[0] if problems else 'NOT FOUND'}")
            missed += not problems
    return missed


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--official", metavar="PATH", help=f"{TARBALL}, the unpacked package, or json-module.js")
    source.add_argument("--fetch", metavar="DIR", help=f"keep {TARBALL} in DIR; download it when it is not there")
    parser.add_argument("--root", default=ROOT, metavar="DIR",
                        help="directory that holds proto/ (default: this repository)")
    parser.add_argument("--undeclared", action="store_true",
                        help="list official fields and values that are not declared")
    parser.add_argument("--self-test", action="store_true",
                        help="also break copies of our files and expect to notice")
    args = parser.parse_args()
    try:
        official = Official(read_module(fetch(args.fetch) if args.fetch else args.official))
        check = Check(official, Ours(args.root))
        problems = check.run()
        for problem in problems:
            print(problem)
        print("checked " + ", ".join(f"{n} {what}" for what, n in check.counts.items())
              + f"; official but not declared: {len(check.undeclared)}; mismatches: {len(problems)}")
        if args.undeclared:
            print("\n".join(f"not declared: {u}" for u in check.undeclared))
        missed = self_test(official, args.root) if args.self_test else 0
    except CannotCheck as error:
        print(f"check_descriptors: {error}", file=sys.stderr)
        return 2
    return 1 if problems or missed else 0


if __name__ == "__main__":
    sys.exit(main())
