import { describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { defaultOptions, type RuncOptions } from "../../src/container/options.ts";
import {
  CreateOptions,
  RuncOptions as LinuxRuncOptions,
} from "../../src/gen/containerd/runtime/linux/runctypes/runc.ts";
import { Options } from "../../src/gen/containerd/types/runc/options/oci.ts";
import { Options as GenericOptions } from "../../src/gen/containerd/types/runtimeoptions/v1/api.ts";
import type { Any } from "../../src/gen/google/protobuf/any.ts";
import { decodeRuncOptions, isRuncOptions } from "../../src/service/options.ts";

const everything: RuncOptions = {
  noPivotRoot: true,
  noNewKeyring: true,
  shimCgroup: "/shims",
  ioUid: 1000,
  ioGid: 1001,
  binaryName: "/usr/bin/crun",
  root: "/run/mine",
  systemdCgroup: true,
  criuImagePath: "/image",
  criuWorkPath: "/work",
};

function generic(message: { readonly configBody?: string; readonly configPath?: string }): Any {
  const value = GenericOptions.encode({
    typeUrl: "",
    configPath: message.configPath ?? "",
    configBody: Buffer.from(message.configBody ?? ""),
  }).finish();
  return { typeUrl: "runtimeoptions.v1.Options", value };
}

const emptyCreateOptions = CreateOptions.decode(new Uint8Array(0));

describe("decodeRuncOptions()", () => {
  test.each<[string, Any | undefined]>([
    ["nothing", undefined],
    ["an empty Any", { typeUrl: "", value: new Uint8Array(0) }],
    ["empty options", { typeUrl: "containerd.runc.v1.Options", value: new Uint8Array(0) }],
    ["a generic message without a configuration", generic({})],
    ["an empty TOML document with a comment", generic({ configBody: "# nothing\n" })],
  ])("%s is the defaults", (_name, any) => {
    expect(decodeRuncOptions(any)).toEqual(defaultOptions);
  });

  test.each(["", "type.googleapis.com/", "types.containerd.io/"])(
    "every field of the stock message is taken, with '%s' before its type",
    (host) => {
      const message = { ...everything, taskApiAddress: "", taskApiVersion: 0 };
      const value = Options.encode(message).finish();
      expect(decodeRuncOptions({ typeUrl: `${host}containerd.runc.v1.Options`, value })).toEqual(
        everything,
      );
    },
  );

  test("containerd 1.7's Go client's CreateOptions give all that they have", () => {
    const value = CreateOptions.encode({
      ...emptyCreateOptions,
      noPivotRoot: true,
      noNewKeyring: true,
      shimCgroup: "/shims",
      ioUid: 1000,
      ioGid: 1001,
      criuImagePath: "/image",
      criuWorkPath: "/work",
    }).finish();
    expect(decodeRuncOptions({ typeUrl: "containerd.linux.runc.CreateOptions", value })).toEqual({
      ...everything,
      binaryName: "",
      root: "",
      systemdCgroup: false,
    });
  });

  test("the oldest RuncOptions give runtime, root and systemd cgroup", () => {
    const message = { runtime: "crun", runtimeRoot: "/r", criuPath: "", systemdCgroup: true };
    const value = LinuxRuncOptions.encode(message).finish();
    expect(decodeRuncOptions({ typeUrl: "containerd.linux.runc.RuncOptions", value })).toEqual({
      ...defaultOptions,
      binaryName: "crun",
      root: "/r",
      systemdCgroup: true,
    });
  });

  test.each([
    ["as one library of containerd's writes it", '"/usr/bin/crun"', "  "],
    ["as the other does", "'/usr/bin/crun'", ""],
  ])("TOML, %s", (_name, binary, indent) => {
    const lines = [
      `BinaryName = ${binary}`,
      "NoPivotRoot = true",
      "NoNewKeyring = true",
      'ShimCgroup = "/shims"',
      "IoUid = 1000",
      "IoGid = 1001",
      'Root = "/run/mine"',
      "SystemdCgroup = true",
      'CriuImagePath = "/image"',
      'CriuWorkPath = "/work"',
      'Unknown = "is left alone"',
    ];
    const configBody = lines.map((line) => `${indent}${line}\n`).join("");
    expect(decodeRuncOptions(generic({ configBody }))).toEqual(everything);
  });

  test.each(["systemdcgroup", "SYSTEMDCGROUP", "systemd_cgroup"])("the key %s counts", (key) => {
    expect(decodeRuncOptions(generic({ configBody: `${key} = true` })).systemdCgroup).toBe(true);
  });

  test("a path is read where there is no body, and a body wins", () => {
    const directory = mkdtempSync(join(tmpdir(), "wedge-"));
    const configPath = join(directory, "wedge.toml");
    writeFileSync(configPath, 'BinaryName = "from-file"');
    expect(decodeRuncOptions(generic({ configPath })).binaryName).toBe("from-file");
    const configBody = 'BinaryName = "from-body"';
    expect(decodeRuncOptions(generic({ configPath, configBody })).binaryName).toBe("from-body");
    rmSync(directory, { recursive: true });
    expect(() => decodeRuncOptions(generic({ configPath }))).toThrow(
      `Cannot read runtime options from ${configPath}: `,
    );
  });

  test("a path to what has no end is refused", () => {
    expect(() => decodeRuncOptions(generic({ configPath: "/dev/zero" }))).toThrow(
      "Cannot read runtime options from /dev/zero: it is not a regular file",
    );
  });

  test.each([
    ["BinaryName = 5", "Cannot use BinaryName of runtime options: 5 is not a string"],
    [
      'SystemdCgroup = "yes"',
      'Cannot use SystemdCgroup of runtime options: "yes" is not true or false',
    ],
    ["IoUid = -1", "Cannot use IoUid of runtime options: -1 is not a user or group id"],
    ["IoGid = 4294967296", "4294967296 is not a user or group id"],
    ["IoUid = 1.5", "1.5 is not a user or group id"],
    ["BinaryName = [", "Cannot parse runtime options as TOML: "],
  ])("%s is refused: %s", (configBody, text) => {
    expect(() => decodeRuncOptions(generic({ configBody }))).toThrow(text);
  });

  test("a message of a known type that cannot be decoded is refused by name", () => {
    const any = { typeUrl: "containerd.runc.v1.Options", value: Uint8Array.of(0x1a, 0x7f, 1) };
    expect(() => decodeRuncOptions(any)).toThrow(
      "Cannot decode runtime options of type containerd.runc.v1.Options: ",
    );
  });

  test("a message of an unknown type is refused by name", () => {
    const any = { typeUrl: "kata.Options", value: new Uint8Array(0) };
    expect(isRuncOptions(any)).toBe(false);
    expect(() => decodeRuncOptions(any)).toThrow(
      "Cannot use runtime options of type kata.Options: use one of containerd.runc.v1.Options, ",
    );
  });
});
