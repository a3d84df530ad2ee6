import { describe, expect, test } from "bun:test";
import { CheckpointOptions as LinuxCheckpointOptions } from "../../src/gen/containerd/runtime/linux/runctypes/runc.ts";
import { CheckpointOptions } from "../../src/gen/containerd/types/runc/options/oci.ts";
import { toCheckpointOptions, toProcessJson, toResourcesJson } from "../../src/service/convert.ts";

const CURRENT = "containerd.runc.v1.CheckpointOptions";
const OLD = "containerd.linux.runc.CheckpointOptions";
const none = CheckpointOptions.decode(new Uint8Array(0));
const asked = { ...none, exit: true, cgroupsMode: "soft" };

describe("toCheckpointOptions()", () => {
  test("reads both spellings, with or without a host before the type", () => {
    const current = CheckpointOptions.encode(asked).finish();
    const old = LinuxCheckpointOptions.encode(asked).finish();
    expect(toCheckpointOptions({ typeUrl: CURRENT, value: current })).toEqual(asked);
    expect(toCheckpointOptions({ typeUrl: `types.containerd.io/${OLD}`, value: old })).toEqual(
      asked,
    );
  });

  test("takes nothing for the defaults", () => {
    expect(toCheckpointOptions(undefined)).toEqual(none);
  });

  test.each([CURRENT, OLD])("refuses a %s that cannot be decoded", (typeUrl) => {
    const value = Uint8Array.of(0x1a, 0x7f, 1);
    expect(() => toCheckpointOptions({ typeUrl, value })).toThrow(
      expect.objectContaining({
        reason: "invalidArgument",
        message: expect.stringContaining(`Cannot decode checkpoint options of type ${typeUrl}: `),
      }),
    );
  });

  test("names the types that it takes when it refuses another", () => {
    const options = { typeUrl: "kata.CheckpointOptions", value: Uint8Array.of(0) };
    expect(() => toCheckpointOptions(options)).toThrow(
      `Cannot use checkpoint options of type kata.CheckpointOptions: use one of ${CURRENT}, ${OLD}`,
    );
  });
});

describe("JSON that cannot be parsed is refused with the parser's reason", () => {
  const any = { typeUrl: "", value: Buffer.from('{"args": [') };

  test("in Exec", () => {
    expect(() => toProcessJson(any, false)).toThrow(
      /^Cannot parse the process to exec as JSON: .+/,
    );
  });

  test("in Update", () => {
    expect(() => toResourcesJson(any)).toThrow(/^Cannot parse the resources to update as JSON: .+/);
  });
});
