import { describe, expect, test } from "bun:test";
import { type Invocation, parseInvocation } from "../../../src/command/invocation/invocation.ts";
import { decodeStartRequest } from "../../../src/command/start/start-request.ts";
import { BootstrapParams } from "../../../src/gen/containerd/runtime/bootstrap/v1/bootstrap.ts";
import { Options } from "../../../src/gen/containerd/types/runc/options/oci.ts";
import { Any } from "../../../src/gen/google/protobuf/any.ts";

const legacy = legacyInvocation();

/** In flags and variables, as containerd up to 2.2 says it. */
function legacyInvocation(): Invocation {
  const args = ["-namespace", "n", "-id", "a", "-address", "/c.sock", "start"];
  const parsed = parseInvocation("wedge", args, { TTRPC_ADDRESS: "/t.sock" });
  if (parsed.kind !== "invocation") throw new Error(parsed.text);
  return parsed.invocation;
}

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
