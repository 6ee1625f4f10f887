"""Avro and Protobuf by the Python libraries: an oracle for ours.

formats.py golden FILE   writes payloads of known values
formats.py again         reads lines of JSON {kind, schema, message, hex}; each payload is read and written again
"""
import json
import os
import sys
import tempfile
from decimal import Decimal
from io import BytesIO

import fastavro
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from grpc_tools import protoc


def message_class(text, name):
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "schema.proto")
        with open(path, "w") as file:
            file.write(text)
        out = os.path.join(folder, "set")
        google = os.path.join(os.path.dirname(protoc.__file__), "_proto")
        arguments = ["protoc", "-I", folder, "-I", google, "--include_imports", "--descriptor_set_out", out, path]
        if protoc.main(arguments) != 0:
            raise SystemExit("protoc refuses the schema:\n" + text)
        with open(out, "rb") as file:
            files = descriptor_pb2.FileDescriptorSet.FromString(file.read())
    pool = descriptor_pool.DescriptorPool()
    for file in files.file:
        pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(name))


AVRO = {
    "type": "record", "name": "shop.Order", "doc": "an order of somebody else", "fields": [
        {"name": "note", "type": ["string", "null"]},
        {"name": "id", "type": "int"},
        {"name": "skipped", "type": {"type": "map", "values": {"type": "array", "items": ["null", "double"]}}},
        {"name": "color", "type": {"type": "enum", "name": "Color", "symbols": ["RED", "GREEN", "BLUE"]}},
        {"name": "price", "type": {"type": "bytes", "logicalType": "decimal", "precision": 12, "scale": 2}},
        {"name": "ratio", "type": "float"},
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        {"name": "mac", "type": {"type": "fixed", "name": "Mac", "size": 6}},
        {"name": "part", "type": {"type": "record", "name": "Part", "fields": [
            {"name": "weight", "type": ["null", "double"], "default": None},
            {"name": "name", "type": "string"}]}},
        {"name": "parts", "type": {"type": "array", "items": "Part"}},
        {"name": "counts", "type": {"type": "map", "values": "long"}},
        {"name": "any", "type": ["null", "long", "string", "Part"]},
        {"name": "raw", "type": "bytes"},
    ],
}

ORDERS = [
    {"note": "caf\u00e9 \u2713", "id": -5, "skipped": {"a": [None, 1.5], "b": []}, "color": "BLUE",
     "price": Decimal("-1234.56"), "ratio": 0.5, "at": 1_700_000_000_123, "mac": bytes([0, 255, 1, 2, 3, 4]),
     "part": {"weight": 2.25, "name": "bolt"},
     "parts": [{"weight": None, "name": f"part {n}"} for n in range(70)],
     "counts": {"one": 1, "minus": -(2**62)}, "any": 7, "raw": bytes(range(256))},
    {"note": None, "id": 2**31 - 1, "skipped": {}, "color": "RED", "price": Decimal("0.00"), "ratio": -1.25,
     "at": -1, "mac": bytes(6), "part": {"weight": None, "name": ""}, "parts": [], "counts": {}, "any": None,
     "raw": b""},
]

PROTO = """syntax = "proto3";
package shop;
import "google/protobuf/timestamp.proto";
// An order of somebody else.
message Order {
  enum Color { RED = 0; GREEN = 1; BLUE = -7; }
  message Part { optional double weight = 1; string name = 2; Part inner = 3; }
  string note = 19;
  sint32 id = 1;
  map<string, double> skipped = 2;
  Color color = 3;
  google.protobuf.Timestamp at = 4;
  float ratio = 5;
  fixed64 mac = 6;
  Part part = 7;
  repeated Part parts = 8;
  map<string, int64> counts = 9;
  oneof any { int64 number = 10; string text = 11; Part one = 12; }
  bytes raw = 13;
  repeated sint64 packed = 14;
  repeated fixed32 single = 15 [packed = false];
  repeated Color colors = 16;
  optional bool flag = 17;
  repeated string words = 1000;
}
"""


def protobuf_orders():
    order = message_class(PROTO, "shop.Order")
    first = order(note="caf\u00e9 \u2713", id=-5, skipped={"a": 1.5}, color=-7, ratio=0.5, mac=2**64 - 1,
                  counts={"one": 1}, number=0, raw=bytes(range(256)), packed=[0, -1, 2**63 - 1, -(2**63)],
                  single=[1, 2**32 - 1], colors=[1, 0, -7], flag=False, words=["", "b"])
    first.at.seconds, first.at.nanos = 1_700_000_000, 123_000_000
    first.part.weight, first.part.name = 0.0, "bolt"
    first.part.inner.name = "nut"
    for number in range(70):
        first.parts.add(name=f"part {number}")
    second = order(text="either")
    return [first.SerializeToString(), second.SerializeToString(), order().SerializeToString()]


def golden(path):
    schema = fastavro.parse_schema(json.loads(json.dumps(AVRO)))
    payloads = []
    for order in ORDERS:
        out = BytesIO()
        fastavro.schemaless_writer(out, schema, order)
        payloads.append(out.getvalue().hex())
    whole = {"avro": {"schema": json.dumps(AVRO), "payloads": payloads},
             "protobuf": {"schema": PROTO, "payloads": [payload.hex() for payload in protobuf_orders()]}}
    with open(path, "w") as file:
        json.dump(whole, file, indent=1)
        file.write("\n")


def again():
    schemas = {}
    for line in sys.stdin:
        row = json.loads(line)
        payload, key = bytes.fromhex(row["hex"]), (row["kind"], row["schema"])
        if row["kind"] == "avro":
            if key not in schemas:
                schemas[key] = fastavro.parse_schema(json.loads(row["schema"]))
            read, out = BytesIO(payload), BytesIO()
            fastavro.schemaless_writer(out, schemas[key], fastavro.schemaless_reader(read, schemas[key], None))
            if read.read():
                raise SystemExit("bytes are left")
            written = out.getvalue()
        else:
            if key not in schemas:
                schemas[key] = message_class(row["schema"], row["message"])
            message = schemas[key].FromString(payload)
            message.DiscardUnknownFields()
            written = message.SerializeToString(deterministic=True)
        print(written.hex(), flush=True)


if sys.argv[1] == "golden":
    golden(sys.argv[2])
else:
    again()
