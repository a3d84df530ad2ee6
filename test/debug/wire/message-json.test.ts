import { describe, expect, test } from "bun:test";
import { MessageJson } from "../../../src/debug/wire/message-json.ts";
import {
  CreateTaskRequest,
  ExecProcessRequest,
  StateResponse,
} from "../../../src/gen/containerd/task/v2/task.ts";
import { Options } from "../../../src/gen/containerd/types/runc/options/oci.ts";

const messages = new MessageJson();

function method(name: string) {
  const found = messages.method("containerd.task.v2.Task", name);
  if (found === undefined) throw new Error(`No method ${name}`);
  return found;
}

describe("MessageJson", () => {
  test.each([
    ["State", ["containerd.task.v2.Task", "containerd.task.v3.Task"]],
    ["Task/kill", ["containerd.task.v2.Task", "containerd.task.v3.Task"]],
    ["containerd.task.v3.Task/Wait", ["containerd.task.v3.Task"]],
    ["Inspect/Inspect", ["wedge.inspect.v1.Inspect"]],
    ["Nothing", []],
  ])("finds the methods that %s means", (word, services) => {
    expect(messages.findMethods(word).map(({ parent }) => parent.typeName)).toEqual(services);
  });

  test("an answer shows enums by name, and all fields when asked", () => {
    const response = {
      ...StateResponse.decode(new Uint8Array(0)),
      id: "c",
      pid: 7,
      status: 2 as const,
    };
    const bytes = StateResponse.encode(response).finish();
    const { output } = method("State");
    expect(messages.decode(output, bytes)).toEqual({ id: "c", pid: 7, status: "RUNNING" });
    expect(messages.decode(output, bytes, "all")).toMatchObject({ exitStatus: 0, stdin: "" });
  });

  test("a request with lists, and fields of any type, is what the wire code reads", () => {
    const bytes = messages.encode(method("Create").input, {
      id: "c",
      rootfs: [{ type: "bind", source: "/a", options: ["rbind"] }],
      options: { "@type": "containerd.runc.v1.Options", binaryName: "crun", systemdCgroup: true },
    });
    const request = CreateTaskRequest.decode(bytes);
    expect(request).toMatchObject({
      id: "c",
      rootfs: [{ type: "bind", source: "/a", target: "", options: ["rbind"] }],
    });
    expect(Options.decode(request.options?.value ?? new Uint8Array(0))).toMatchObject({
      binaryName: "crun",
      systemdCgroup: true,
    });
    expect(messages.decode(method("Create").input, bytes)).toMatchObject({
      options: { "@type": "containerd.runc.v1.Options", binaryName: "crun", systemdCgroup: true },
    });
  });

  test("what travels as JSON inside of an Any is JSON here too", () => {
    const type = "types.containerd.io/opencontainers/runtime-spec/1/Process";
    const json = { execId: "e", spec: { "@type": type, value: { args: ["true"], cwd: "/" } } };
    const bytes = messages.encode(method("Exec").input, json);
    const { spec } = ExecProcessRequest.decode(bytes);
    expect(Buffer.from(spec?.value ?? []).toString()).toBe('{"args":["true"],"cwd":"/"}');
    expect(messages.decode(method("Exec").input, bytes)).toEqual(json);
  });

  test("bytes of no known type are base64", () => {
    expect(messages.decodeAny("x.Unknown", Uint8Array.of(0xff, 1))).toEqual({
      "@type": "x.Unknown",
      value: "/wE=",
    });
  });

  test.each([
    [{ nothing: 1 }, "nothing"],
    [{ id: 5 }, "id"],
    [{ signal: "x" }, "signal"],
  ])("a request that does not fit, %j, is refused by the name of the field", (json, field) => {
    expect(() => messages.encode(method("Kill").input, json)).toThrow(field);
  });
});
