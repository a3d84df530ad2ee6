/** Our client against containerd's own ttrpc server: the Go implementation is the oracle. */

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { TaskExit } from "../../src/gen/containerd/events/task.ts";
import { EventsDefinition } from "../../src/gen/containerd/services/events/ttrpc/v1/events.ts";
import { connectBun } from "../../src/rpc/ttrpc/bun.ts";
import type { TtrpcClient } from "../../src/rpc/ttrpc/client.ts";
import { createStub } from "../../src/rpc/ttrpc/stub.ts";

const START_LIMIT_MS = 60_000;
const NAMESPACE = "ttrpc-interop";
const FORWARD = { service: EventsDefinition.fullName, method: "Forward" };
const NO_BYTES = new Uint8Array(0);

/** A containerd of its own, with no plugin that needs more than a socket. */
class PrivateContainerd implements AsyncDisposable {
  readonly folder = mkdtempSync(join(tmpdir(), "wedge-interop-"));
  readonly address = join(this.folder, "s");
  readonly #process: Bun.Subprocess;

  constructor() {
    const config = join(this.folder, "config.toml");
    const log = Bun.file(join(this.folder, "log"));
    writeFileSync(
      config,
      `version = 2
root = "${this.folder}/root"
state = "${this.folder}/state"
disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.internal.v1.opt"]
[grpc]
address = "${this.address}"
`,
    );
    this.#process = Bun.spawn(["containerd", "--config", config], {
      stdio: ["ignore", log, log],
    });
  }

  async ready(): Promise<void> {
    const endMs = Date.now() + START_LIMIT_MS;
    const log = Bun.file(join(this.folder, "log"));
    while (!(await log.text().catch(() => "")).includes("successfully booted")) {
      if (Date.now() > endMs) throw new Error(`containerd did not start: ${await log.text()}`);
      await Bun.sleep(20);
    }
    if (!existsSync(`${this.address}.ttrpc`)) throw new Error("containerd has no ttrpc socket");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#process.kill();
    await this.#process.exited;
    rmSync(this.folder, { recursive: true, force: true });
  }
}

function exitEvent(id: string) {
  const exit = {
    containerId: id,
    id,
    pid: 4711,
    exitStatus: 7,
    exitedAt: { seconds: 1_700_000_000n, nanos: 5 },
  };
  return {
    envelope: {
      timestamp: { seconds: 1_700_000_000n, nanos: 0 },
      namespace: NAMESPACE,
      topic: "/tasks/exit",
      event: { typeUrl: "containerd.events.TaskExit", value: TaskExit.encode(exit).finish() },
    },
  };
}

describe("containerd's ttrpc events service", () => {
  let daemon: PrivateContainerd;
  let client: TtrpcClient;

  beforeAll(async () => {
    daemon = new PrivateContainerd();
    await daemon.ready();
    client = await connectBun({ unix: `${daemon.address}.ttrpc` });
  }, START_LIMIT_MS + 10_000);

  afterAll(async () => {
    client?.close();
    await daemon?.[Symbol.asyncDispose]();
  });

  test("takes an event, and its own client sees it", async () => {
    const events = Bun.spawn(["ctr", "--address", daemon.address, "events"], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    try {
      const stub = createStub(client, EventsDefinition);
      const metadata = new Map([["containerd-namespace-ttrpc", [NAMESPACE]]]);
      const lines = events.stdout.pipeThrough(new TextDecoderStream()).getReader();
      const seen = lines.read();
      // The subscription begins at a moment that ctr does not tell: forward until one arrives.
      let isSeen = false;
      void seen.then(() => {
        isSeen = true;
      });
      while (!isSeen) {
        expect(await stub.forward(exitEvent("one"), { metadata, timeoutMs: 10_000 })).toEqual({});
        await Bun.sleep(20);
      }
      const { value = "" } = await seen;
      expect(value).toContain(`${NAMESPACE} /tasks/exit`);
      expect(value).toContain('"container_id":"one"');
      expect(value).toContain('"exit_status":7');
    } finally {
      events.kill();
      await events.exited;
    }
  }, 60_000);

  test("a hundred calls at a time are all answered", async () => {
    const stub = createStub(client, EventsDefinition);
    const calls = Array.from({ length: 100 }, (_, index) => stub.forward(exitEvent(`c${index}`)));
    expect((await Promise.all(calls)).length).toBe(100);
  });

  test.each([
    { service: "no.Such", method: "Forward" },
    { service: EventsDefinition.fullName, method: "Backward" },
  ])("answers unimplemented to $service/$method, and the connection lives", async (target) => {
    await expect(client.call(target, NO_BYTES)).rejects.toEqual(
      expect.objectContaining({ reason: "unimplemented" }),
    );
    await createStub(client, EventsDefinition).forward(exitEvent("after"));
  });

  test("answers a payload that does not decode as our server does: internal", async () => {
    await expect(client.call(FORWARD, Uint8Array.of(0x0a, 0xff))).rejects.toEqual(
      expect.objectContaining({ reason: "internal" }),
    );
  });

  test("takes a request of nearly the longest length", async () => {
    const stub = createStub(client, EventsDefinition);
    const event = exitEvent("large");
    event.envelope.event.value = TaskExit.encode({
      containerId: "x".repeat(4_000_000),
      id: "",
      pid: 1,
      exitStatus: 0,
      exitedAt: undefined,
    }).finish();
    await expect(stub.forward(event)).resolves.toEqual({});
  });
});
