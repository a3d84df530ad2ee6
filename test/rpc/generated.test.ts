import { describe, expect, test } from "bun:test";
import {
  BootstrapParams,
  LogLevel,
} from "../../src/gen/containerd/runtime/bootstrap/v1/bootstrap.ts";
import { CreateTaskRequest, UpdateTaskRequest } from "../../src/gen/containerd/task/v2/task.ts";

describe("generated messages", () => {
  test("a negative log level takes ten bytes and comes back", () => {
    const params = BootstrapParams.decode(new Uint8Array(0));
    const bytes = BootstrapParams.encode({ ...params, logLevel: LogLevel.TRACE }).finish();
    expect(Buffer.from(bytes).toString("hex")).toBe("18f8ffffffffffffffff01");
    expect(BootstrapParams.decode(bytes).logLevel).toBe(LogLevel.TRACE);
  });

  test("a log level between the named ones is kept", () => {
    const { logLevel } = BootstrapParams.decode(Buffer.from("18faffffffffffffffff01", "hex"));
    expect(Number(logLevel)).toBe(-6);
  });

  test("an optional field that was not sent is undefined, and an empty one is not", () => {
    expect(BootstrapParams.decode(new Uint8Array(0)).socketDir).toBeUndefined();
    expect(BootstrapParams.decode(Buffer.from("4a00", "hex")).socketDir).toBe("");
  });

  test("a field of a version to come is passed over", () => {
    const bytes = Buffer.from("0a0161fa0f03616263", "hex");
    expect(CreateTaskRequest.decode(bytes).id).toBe("a");
  });

  test("a map takes any key", () => {
    const annotations = new Map([["__proto__", "x"]]);
    const bytes = UpdateTaskRequest.encode({ id: "", resources: undefined, annotations }).finish();
    expect(UpdateTaskRequest.decode(bytes).annotations.get("__proto__")).toBe("x");
  });
});
