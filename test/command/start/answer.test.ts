import { describe, expect, test } from "bun:test";
import { parseEnvironment } from "../../../src/command/invocation/environment.ts";
import {
  chooseDialect,
  type Dialect,
  encodeAnswer,
  type Protocol,
  parseProtocol,
} from "../../../src/command/start/answer.ts";

describe("chooseDialect()", () => {
  const old = { TTRPC_ADDRESS: "/t" };
  const since17 = { ...old, GRPC_ADDRESS: "/g", NAMESPACE: "n", MAX_SHIM_VERSION: "2" };
  test.each<[string, boolean, Readonly<Record<string, string>>, boolean, Dialect]>([
    ["1.6", false, old, false, "plain"],
    [
      "1.6 in a pod that has a variable NAMESPACE",
      false,
      { ...old, NAMESPACE: "n" },
      false,
      "plain",
    ],
    ["1.7", false, since17, false, "json2"],
    ["2.0 to 2.2, known by its executable", false, since17, true, "json3"],
    ["one that says 3", false, { ...since17, MAX_SHIM_VERSION: "3" }, false, "json3"],
    ["one that says 1", false, { ...since17, MAX_SHIM_VERSION: "1" }, false, "plain"],
    ["variables of somebody else's", false, { ...since17, NAMESPACE: "other" }, true, "plain"],
    ["2.3", true, since17, true, "protobuf"],
    ["2.3 without variables", true, {}, false, "protobuf"],
  ])("%s", (_name, isBootstrap, variables, isContainerd2Parent, dialect) => {
    const environment = parseEnvironment(variables);
    const manager = { isBootstrap, namespace: "n", environment };
    expect(chooseDialect({ ...manager, isContainerd2: () => isContainerd2Parent })).toBe(dialect);
  });
});

describe("encodeAnswer()", () => {
  test.each<[Dialect, Protocol, string]>([
    ["plain", "ttrpc", "unix:///s"],
    ["json2", "ttrpc", '{"version":2,"address":"unix:///s","protocol":"ttrpc"}'],
    ["json3", "ttrpc", '{"version":3,"address":"unix:///s","protocol":"ttrpc"}'],
    ["protobuf", "ttrpc", "\x08\x03\x12\x09unix:///s\x1a\x05ttrpc"],
    ["json2", "grpc", '{"version":2,"address":"/s","protocol":"grpc"}'],
  ])("%s for %s, to the byte", (dialect, protocol, bytes) => {
    expect(Buffer.from(encodeAnswer(dialect, "/s", protocol)).toString("latin1")).toBe(bytes);
  });

  test.each<[Dialect, string]>([
    ["plain", "older than 1.7"],
    ["json3", "containerd 2"],
    ["protobuf", "containerd 2"],
  ])("a manager that speaks %s is not offered gRPC", (dialect, reason) => {
    expect(() => encodeAnswer(dialect, "/s", "grpc")).toThrow(reason);
  });
});

test("parseProtocol() takes ttrpc, grpc and nothing", () => {
  expect(["", "ttrpc", "grpc"].map(parseProtocol)).toEqual(["ttrpc", "ttrpc", "grpc"]);
  expect(() => parseProtocol("http")).toThrow("WEDGE_PROTOCOL=http");
});
