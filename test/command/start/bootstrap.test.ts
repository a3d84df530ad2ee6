import { describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { daemonEnvironment } from "../../../src/command/invocation/daemon-settings.ts";
import { type Invocation, parseInvocation } from "../../../src/command/invocation/invocation.ts";
import {
  chooseDialect,
  type Dialect,
  decodeStartRequest,
  encodeAnswer,
  type Protocol,
  parseProtocol,
} from "../../../src/command/start/bootstrap.ts";
import { isContainerd2 } from "../../../src/command/start/containerd-build.ts";
import { BootstrapParams } from "../../../src/gen/containerd/runtime/bootstrap/v1/bootstrap.ts";
import { Options } from "../../../src/gen/containerd/types/runc/options/oci.ts";
import { Any } from "../../../src/gen/google/protobuf/any.ts";

function invocation(args: readonly string[], variables = {}): Invocation {
  const parsed = parseInvocation("wedge", args, variables);
  if (parsed.kind !== "invocation") throw new Error(parsed.text);
  return parsed.invocation;
}

const legacy = invocation(["-namespace", "n", "-id", "a", "-address", "/c.sock", "start"], {
  TTRPC_ADDRESS: "/t.sock",
});

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
    const { environment } = invocation([], variables);
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

describe("decodeStartRequest()", () => {
  const value = Options.encode({
    ...Options.decode(new Uint8Array(0)),
    shimCgroup: "/shims",
    binaryName: "crun",
  }).finish();
  const any = { typeUrl: "containerd.runc.v1.Options", value };
  const params: BootstrapParams = {
    instanceId: "a",
    namespace: "n",
    logLevel: 0,
    containerdVersion: "2.3.0",
    containerdTtrpcAddress: "/new-t.sock",
    containerdGrpcAddress: "/new-c.sock",
    containerdBinary: "/bin/c",
    extensions: [],
    socketDir: undefined,
  };
  const decode = (changes: Partial<BootstrapParams>) =>
    decodeStartRequest(BootstrapParams.encode({ ...params, ...changes }).finish(), legacy);

  test("nothing on stdin leaves flags, variables and defaults", () => {
    expect(decodeStartRequest(new Uint8Array(0), legacy)).toMatchObject({
      id: "a",
      namespace: "n",
      isDebug: false,
      grpcAddress: "/c.sock",
      ttrpcAddress: "/t.sock",
      socketDirectory: "",
      isBootstrap: false,
      options: { shimCgroup: "", binaryName: "" },
    });
  });

  test("an Any is the options, though it can be decoded as parameters too", () => {
    const request = decodeStartRequest(Any.encode(any).finish(), legacy);
    expect(request).toMatchObject({ isBootstrap: false, options: { shimCgroup: "/shims" } });
  });

  test("an Any may have a type with a host", () => {
    const hosted = Any.encode({ ...any, typeUrl: `types.containerd.io/${any.typeUrl}` }).finish();
    expect(decodeStartRequest(hosted, legacy).options.binaryName).toBe("crun");
  });

  test("parameters win over flags and variables", () => {
    expect(decode({ socketDir: "/d" })).toMatchObject({
      grpcAddress: "/new-c.sock",
      ttrpcAddress: "/new-t.sock",
      socketDirectory: "/d",
      isBootstrap: true,
    });
  });

  test("parameters are read to the byte, fields of a time to come left out", () => {
    const field = (tag: string, text: string) => `${tag}${String.fromCharCode(text.length)}${text}`;
    const options =
      field("\x0a", "runtimeoptions.v1.Options") + field("\x12", "\x1a\x0dRoot = '/run'");
    const bytes = [
      field("\x0a", "a"),
      field("\x12", "n"),
      // -8, which is trace: a negative number takes ten bytes.
      `\x18\xf8${"\xff".repeat(8)}\x01`,
      field("\x22", "2.3.0"),
      field("\x2a", "/t"),
      field("\x32", "/g"),
      field("\x3a", "/containerd"),
      field("\x42", field("\x0a", options)),
      field("\x4a", "/sockets"),
      field("\x7a", "not known yet"),
    ].join("");
    expect(decodeStartRequest(Buffer.from(bytes, "latin1"), legacy)).toMatchObject({
      id: "a",
      namespace: "n",
      isDebug: true,
      ttrpcAddress: "/t",
      grpcAddress: "/g",
      socketDirectory: "/sockets",
      isBootstrap: true,
      options: { root: "/run" },
    });
  });

  test("a socket directory must be absolute", () => {
    expect(() => decode({ socketDir: "s" })).toThrow(
      'Cannot use the socket directory "s": it is not an absolute path',
    );
  });

  test("options are found among the extensions, others are passed over", () => {
    const foreign = { typeUrl: "example.Other", value: Uint8Array.of(1, 2, 3) };
    const extensions = [{ value: undefined }, { value: foreign }, { value: any }];
    expect(decode({ extensions }).options).toMatchObject({
      shimCgroup: "/shims",
      binaryName: "crun",
    });
  });

  test.each([
    [-8, true],
    [-4, true],
    [0, false],
    [4, false],
  ] as const)("level %d is debug: %p", (logLevel, isDebug) => {
    expect(decode({ logLevel }).isDebug).toBe(isDebug);
  });

  test.each([
    [
      { instanceId: "b" },
      "they are for task b of namespace n, the flags for task a of namespace n",
    ],
    [{ namespace: "m" }, "they are for task a of namespace m, the flags for task a of namespace n"],
  ])("parameters with %j are refused", (changes, text) => {
    expect(() => decode(changes)).toThrow(text);
  });
});

/** An ELF file with one section of note, as Go's linker lays it out. */
function elfWith(section: string, content: string): Buffer {
  const names = Buffer.from(`\0.shstrtab\0${section}\0`);
  const body = Buffer.from(content);
  const tableAt = 64 + names.length + body.length;
  const header = Buffer.alloc(64);
  header.write("\x7fELF\x02\x01\x01", "latin1");
  header.writeBigUInt64LE(BigInt(tableAt), 40);
  header.writeUInt16LE(64, 58);
  header.writeUInt16LE(3, 60);
  header.writeUInt16LE(1, 62);
  const table = Buffer.alloc(3 * 64);
  const entry = (index: number, name: number, offset: number, size: number) => {
    table.writeUInt32LE(name, index * 64);
    table.writeBigUInt64LE(BigInt(offset), index * 64 + 24);
    table.writeBigUInt64LE(BigInt(size), index * 64 + 32);
  };
  entry(1, 1, 64, names.length);
  entry(2, 11, 64 + names.length, body.length);
  return Buffer.concat([header, names, body, table]);
}

describe("isContainerd2()", () => {
  const v2 =
    "\xff Go buildinf:go1.24\0path\tgithub.com/containerd/containerd/v2/cmd/containerd\nmod\t";
  const cut = elfWith(".go.buildinfo", v2);
  test.each<[string, Buffer, boolean]>([
    ["containerd 2", elfWith(".go.buildinfo", v2), true],
    ["containerd 1", elfWith(".go.buildinfo", v2.replace("/v2", "")), false],
    [
      "a program with containerd 2 inside",
      elfWith(".go.buildinfo", "path\tk3s\ndep\tgithub.com/containerd/containerd/v2\tv2.0.0\n"),
      false,
    ],
    ["no Go program", elfWith(".comment", v2), false],
    ["a script", Buffer.from("#!/bin/sh\nexec containerd\n"), false],
    ["an empty file", Buffer.alloc(0), false],
    ["a file cut short", cut.subarray(0, cut.length - 100), false],
  ])("%s: %#", (_name, bytes, wanted) => {
    const directory = mkdtempSync(join(tmpdir(), "wedge-"));
    const path = join(directory, "exe");
    writeFileSync(path, bytes);
    expect(isContainerd2(path)).toBe(wanted);
    rmSync(directory, { recursive: true });
  });

  test("a process that is gone is not", () => {
    expect(isContainerd2("/proc/0/exe")).toBe(false);
  });
});

describe("daemonEnvironment()", () => {
  test.each([
    ["LD_LIBRARY_PATH", "/opt/lib:", ["LD_LIBRARY_PATH=/opt/lib"]],
    ["LD_LIBRARY_PATH", ":", []],
    ["LD_LIBRARY_PATH", "/a:.:/b", ["LD_LIBRARY_PATH=/a:/b"]],
    ["BUN_OPTIONS", "--inspect", []],
    ["BUN_BE_BUN", "1", []],
    ["NODE_OPTIONS", "--x", []],
    ["NOTIFY_SOCKET", "/n", []],
    ["LISTEN_FDS", "1", []],
    ["WATCHDOG_USEC", "1", []],
    ["PATH", "/bin", ["PATH=/bin"]],
    ["TTRPC_ADDRESS", "/t", ["TTRPC_ADDRESS=/t"]],
    ["EMPTY", "", ["EMPTY="]],
    ["UNSET", undefined, []],
  ])("%s=%s becomes %j", (name, value, wanted) => {
    expect(daemonEnvironment({ [name]: value })).toEqual(wanted);
  });
});
