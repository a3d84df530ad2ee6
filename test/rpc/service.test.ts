import { describe, expect, test } from "bun:test";
import { EventsDefinition } from "../../src/gen/containerd/services/events/ttrpc/v1/events.ts";
import { TaskDefinition as TaskV2 } from "../../src/gen/containerd/task/v2/task.ts";
import { TaskDefinition as TaskV3 } from "../../src/gen/containerd/task/v3/task.ts";
import {
  decodeMessage,
  findMethod,
  type Implementation,
  mountLazily,
  mountService,
  serviceTable,
} from "../../src/rpc/service.ts";

const events: Implementation<typeof EventsDefinition> = { forward: () => ({}) };

describe("mountService()", () => {
  test("names methods as the wire does", () => {
    const { fullName, methods } = mountService(EventsDefinition, events);
    expect(fullName).toBe("containerd.services.events.ttrpc.v1.Events");
    expect([...methods.keys()]).toEqual(["Forward"]);
  });

  test("refuses an object without a handler", () => {
    const incomplete = {};
    // @ts-expect-error the compiler refuses it first
    expect(() => mountService(EventsDefinition, incomplete)).toThrow("no handler named forward");
  });

  test("keeps the object as this", async () => {
    class Sink {
      readonly topics: string[] = [];
      forward(request: { envelope: { topic: string } | undefined }) {
        this.topics.push(request.envelope?.topic ?? "");
        return {};
      }
    }
    const sink = new Sink();
    const method = mountService(EventsDefinition, sink).methods.get("Forward");
    const signal = new AbortController().signal;
    const call = {
      service: "",
      method: "",
      signal,
      deadlineMs: undefined,
      metadata: new Map(),
      peer: {},
    };
    method?.invoke({ envelope: { topic: "/tasks/exit" } }, call);
    expect(sink.topics).toEqual(["/tasks/exit"]);
  });

  test("both versions of the Task API have the same methods over the same messages", () => {
    expect(Object.keys(TaskV3.methods)).toEqual(Object.keys(TaskV2.methods));
    expect(TaskV2.fullName).toBe("containerd.task.v2.Task");
    expect(TaskV3.fullName).toBe("containerd.task.v3.Task");
    expect(TaskV3.methods.state.requestType).toBe(TaskV2.methods.state.requestType);
  });
});

describe("serviceTable()", () => {
  const mounted = mountService(EventsDefinition, events);

  test("refuses a service that is there already", () => {
    expect(() => serviceTable([mounted, mounted])).toThrow("mounted already");
  });

  test.each([
    { service: "no.Such", method: "Forward" },
    { service: EventsDefinition.fullName, method: "Backward" },
  ])("finding $service/$method is unimplemented", ({ service, method }) => {
    expect(() => findMethod(serviceTable([mounted]), service, method)).toThrow(
      expect.objectContaining({ reason: "unimplemented" }),
    );
  });
});

describe("decodeMessage()", () => {
  test("bytes that are no such message are internal", () => {
    const { requestType } = EventsDefinition.methods.forward;
    expect(() => decodeMessage(requestType, Uint8Array.of(0x0a, 0xff))).toThrow(
      expect.objectContaining({ reason: "internal" }),
    );
  });
});

describe("mountLazily()", () => {
  const { fullName } = EventsDefinition;
  const signal = new AbortController().signal;
  const call = {
    ...{ service: fullName, method: "Forward", signal, deadlineMs: undefined },
    ...{ metadata: new Map(), peer: {} },
  };

  test("loads with the first call, once, and answers as the service itself does", async () => {
    let loads = 0;
    const lazy = mountLazily(fullName, { Forward: "unary" }, async () => {
      loads++;
      return mountService(EventsDefinition, events);
    });
    const method = findMethod(serviceTable([lazy]), fullName, "Forward");
    expect(loads).toBe(0);
    const request = method.decodeRequest(new Uint8Array(0));
    const answers = [method.invoke(request, call), method.invoke(request, call)];
    for (const answer of answers) {
      expect(method.encodeResponse(await answer)).toEqual(new Uint8Array(0));
    }
    expect(loads).toBe(1);
  });

  test("refuses what the service does not have, and requests that are none", async () => {
    const lazy = mountLazily(fullName, { Forward: "unary", Backward: "unary" }, async () =>
      mountService(EventsDefinition, events),
    );
    const invoke = (name: string, bytes: Uint8Array) => {
      const method = findMethod(serviceTable([lazy]), fullName, name);
      return Promise.resolve(method.invoke(method.decodeRequest(bytes), call));
    };
    await expect(invoke("Backward", new Uint8Array(0))).rejects.toThrow("Cannot find method");
    await expect(invoke("Forward", new Uint8Array([255]))).rejects.toThrow("malformed bytes");
  });
});
