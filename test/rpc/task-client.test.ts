import { describe, expect, test } from "bun:test";
import { ShimError } from "../../src/base/error.ts";
import {
  ConnectResponse,
  TaskDefinition as TaskV2,
} from "../../src/gen/containerd/task/v2/task.ts";
import { TaskDefinition as TaskV3 } from "../../src/gen/containerd/task/v3/task.ts";
import { type MountedService, mountService } from "../../src/rpc/service.ts";
import { askTask, findTask } from "../../src/rpc/task-client.ts";
import { connectBun, listenBun } from "../../src/rpc/ttrpc/bun.ts";
import { TtrpcServer } from "../../src/rpc/ttrpc/server.ts";
import { ScratchFolder } from "./ttrpc/scratch-folder.ts";

const TIMEOUT_MS = 5000;

/** Connect alone of a Task service, answering with a pid that tells the version. */
function connectService(definition: typeof TaskV2 | typeof TaskV3, pid: number): MountedService {
  const { fullName, name, methods } = definition;
  const { connect } = methods;
  return mountService(
    { fullName, name, methods: { connect } },
    {
      connect: ({ id }) => {
        if (id === "lost") throw new ShimError("notFound", "container not created");
        if (id === "closed") throw new ShimError("unavailable", "the server is closing");
        return { ...ConnectResponse.decode(new Uint8Array(0)), shimPid: pid };
      },
    },
  );
}

async function serve(...services: readonly MountedService[]) {
  const folder = new ScratchFolder();
  const server = new TtrpcServer({ services });
  listenBun(server, { unix: folder.socket() });
  const client = await connectBun({ unix: folder.socket() });
  const close = async () => {
    client.close();
    await server.shutdown(0);
    folder[Symbol.dispose]();
  };
  return { client, [Symbol.asyncDispose]: close };
}

const both = [connectService(TaskV2, 2), connectService(TaskV3, 3)];

describe("askTask()", () => {
  test("asks in the newest version that is served", async () => {
    await using shim = await serve(...both);
    expect((await askTask(shim.client, (task) => task.connect({ id: "" }))).shimPid).toBe(3);
  });

  test("asks an older shim in its own words", async () => {
    await using shim = await serve(connectService(TaskV2, 2));
    expect((await askTask(shim.client, (task) => task.connect({ id: "" }))).shimPid).toBe(2);
  });

  test("does not ask again what was refused", async () => {
    await using shim = await serve(...both);
    const asked: number[] = [];
    const answer = askTask(shim.client, async (task, version) => {
      asked.push(version);
      return await task.connect({ id: "lost" });
    });
    await expect(answer).rejects.toMatchObject({ reason: "notFound" });
    expect(asked).toEqual([3]);
  });
});

describe("findTask()", () => {
  test.each([
    [3, "", both],
    [2, "", [connectService(TaskV2, 2)]],
    // The shim has lost its container, but serves.
    [3, "lost", both],
    [2, "lost", [connectService(TaskV2, 2)]],
    // Something else altogether: what is called next will tell.
    [2, "", []],
  ] as const)("finds version %d, of %j", async (version, id, services) => {
    await using shim = await serve(...services);
    const found = await findTask(shim.client, { id, timeoutMs: TIMEOUT_MS });
    expect(found.version).toBe(version);
  });

  test("rejects when the shim does not answer", async () => {
    await using shim = await serve(...both);
    const found = findTask(shim.client, { id: "closed", timeoutMs: TIMEOUT_MS });
    await expect(found).rejects.toMatchObject({ reason: "unavailable" });
  });
});
