/** What `start` reads: options in all their forms, and the parameters of newer managers. */

import { strict as assert } from "node:assert";
import { type Invocation, parseInvocation } from "../../../src/command/invocation/invocation.ts";
import { decodeStartRequest } from "../../../src/command/start/start-request.ts";
import { BootstrapParams } from "../../../src/gen/containerd/runtime/bootstrap/v1/bootstrap.ts";
import { CreateOptions } from "../../../src/gen/containerd/runtime/linux/runctypes/runc.ts";
import { Options } from "../../../src/gen/containerd/types/runc/options/oci.ts";
import { Options as GenericOptions } from "../../../src/gen/containerd/types/runtimeoptions/v1/api.ts";
import { Any } from "../../../src/gen/google/protobuf/any.ts";
import { decodeRuncOptions } from "../../../src/service/options.ts";
import { type FuzzTarget, unlessRefused } from "../target.ts";

const NONE = new Uint8Array(0);

function any(typeUrl: string, value: Uint8Array): Uint8Array {
  return Any.encode({ typeUrl, value }).finish();
}

const runcOptions = Options.encode({
  ...Options.decode(NONE),
  binaryName: "crun",
  root: "/run/x",
  ioUid: 1000,
  systemdCgroup: true,
}).finish();
const toml = 'BinaryName = "runc"\nSystemdCgroup = true\nIoUid = 5\nRoot = "/r"\n';
const generic = GenericOptions.encode({
  typeUrl: "x",
  configPath: "",
  configBody: Buffer.from(toml),
}).finish();
const optionSeeds = [
  any("containerd.runc.v1.Options", runcOptions),
  any("runtimeoptions.v1.Options", generic),
  any(
    "types.containerd.io/containerd.linux.runc.CreateOptions",
    CreateOptions.encode({ ...CreateOptions.decode(NONE), shimCgroup: "/x" }).finish(),
  ),
];
const parameters = BootstrapParams.encode({
  ...BootstrapParams.decode(NONE),
  instanceId: "c",
  namespace: "ns",
  logLevel: -4,
  containerdVersion: "2.3.0",
  containerdGrpcAddress: "/c.sock",
  extensions: [{ value: Any.decode(optionSeeds[0] ?? NONE) }],
}).finish();

const words = [
  ...["containerd.runc.v1.Options", "runtimeoptions.v1.Options", "\x0a", "\x12", "\x1a"],
  ...[
    "BinaryName",
    " = ",
    '"',
    "\n",
    "[",
    "]",
    "true",
    "1e999",
    "'''",
    "[[a]]",
    "ns",
    "/",
    "\0",
    "\x12\x09/dev/zero",
  ],
];

function invocation(): Invocation {
  const parsed = parseInvocation("shim", ["-namespace", "ns", "-id", "c", "start"], {});
  if (parsed.kind === "usage") throw new Error(parsed.text);
  return parsed.invocation;
}

export const optionsTarget: FuzzTarget = {
  name: "options",
  seeds: optionSeeds,
  words,
  run(input) {
    let decoded: Any;
    try {
      decoded = Any.decode(input);
    } catch {
      return; // Whoever receives the message refuses it before it comes this far.
    }
    const options = unlessRefused(() => decodeRuncOptions(decoded));
    if (options !== undefined) assert.ok(options.ioUid >= 0 && options.ioUid <= 0xffff_ffff);
  },
};

export const startTarget: FuzzTarget = {
  name: "start",
  seeds: [...optionSeeds, parameters, NONE],
  words,
  run(input) {
    const request = unlessRefused(() => decodeStartRequest(input, invocation()));
    if (request === undefined) return;
    assert.equal(request.id, "c");
    assert.equal(request.namespace, "ns");
    assert.match(request.socketDirectory, /^(\/.*)?$/s);
  },
};
