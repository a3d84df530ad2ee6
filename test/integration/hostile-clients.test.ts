/**
 * Clients that a shim must outlive, against the compiled daemon: thousands, slow ones, greedy ones, and
 * those of other users. One client behaves all the while, and must notice nothing.
 */

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { chmodSync, copyFileSync, readdirSync, readFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import type { Socket } from "bun";
import { StateRequest, TaskDefinition } from "../../src/gen/containerd/task/v2/task.ts";
import { Request } from "../../src/gen/ttrpc/request.ts";
import { connectBun } from "../../src/rpc/ttrpc/bun.ts";
import { encodeFrame } from "../../src/rpc/ttrpc/frame.ts";
import { createStub } from "../../src/rpc/ttrpc/stub.ts";
import { until } from "../command/shim-process.ts";
import { RawPeer } from "../rpc/ttrpc/raw-peer.ts";
import { ShimPlace } from "./shim-place.ts";

const RUNNING = 2;
/** Of a hundredth of a second each; an accept that is tried again and again takes them all. */
const TICKS_PER_SECOND = 100;
const MEGABYTE = 1024 * 1024;
const BODY_BYTES_MAX = 4 * MEGABYTE;
const OK = 0;
const RESOURCE_EXHAUSTED = 8;

type Shim = Awaited<ReturnType<ShimPlace["create"]>>;

let place: ShimPlace;
let shim: Shim;

/** Plain connections that the test opens and ends. */
class Crowd implements Disposable {
  closedCount = 0;
  readonly #sockets: Socket[] = [];

  async join(count: number): Promise<void> {
    const close = () => {
      this.closedCount += 1;
    };
    for (let index = 0; index < count; index++) {
      const socket = { data: () => {}, error: () => {}, close };
      try {
        this.#sockets.push(await Bun.connect({ unix: shim.address, socket }));
      } catch {
        close(); // So soon that connecting itself fails.
      }
    }
  }

  /** The same bytes from everybody who is still there. */
  say(bytes: Uint8Array): void {
    for (const socket of this.#sockets) socket.write(bytes);
  }

  [Symbol.dispose](): void {
    for (const socket of this.#sockets) socket.terminate();
  }
}

function descriptors(): number {
  return readdirSync(`/proc/${shim.shimPid}/fd`).length;
}

/** Processor time of the shim, seconds. */
function processorSeconds(): number {
  const [, rest = ""] = readFileSync(`/proc/${shim.shimPid}/stat`, "utf8").split(") ");
  const fields = rest.split(" ");
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
}

/** Memory that is the shim's alone, bytes. */
function privateBytes(): number {
  const rollup = readFileSync(`/proc/${shim.shimPid}/smaps_rollup`, "utf8");
  const kilobytes = [...rollup.matchAll(/^Private_\w+: +(\d+)/gm)].map((match) => Number(match[1]));
  return kilobytes.reduce((sum, each) => sum + each, 0) * 1024;
}

/** Gives the shim another limit of descriptors; returns the one that it had. */
function limitDescriptors(limit: string): string {
  const pid = String(shim.shimPid);
  const [, before = ""] =
    /^Max open files +(\d+)/m.exec(readFileSync(`/proc/${pid}/limits`, "utf8")) ?? [];
  const { exitCode } = Bun.spawnSync(["prlimit", "--pid", pid, `--nofile=${limit}:`]);
  expect(exitCode).toBe(0);
  return before;
}

async function expectServed(): Promise<void> {
  expect((await shim.task.state({ id: shim.id, execId: "" })).status).toBe(RUNNING);
}

async function expectNewcomersServed(): Promise<void> {
  using client = await connectBun({ unix: shim.address });
  const { status } = await createStub(client, TaskDefinition).state({ id: shim.id, execId: "" });
  expect(status).toBe(RUNNING);
}

function stateFrame(streamId: number, id: string): Uint8Array {
  const request = Request.encode({
    service: "containerd.task.v2.Task",
    method: "State",
    payload: StateRequest.encode({ id, execId: "" }).finish(),
    timeoutNano: 0n,
    metadata: [],
  });
  return encodeFrame(streamId, 1, 1, request.finish());
}

describe.each([
  ["that stays awake", "0"],
  ["that falls asleep", "1"],
])("a shim %s and meets", (_kind, sleepAfterSeconds) => {
  beforeAll(async () => {
    place = new ShimPlace({ WEDGE_SLEEP_AFTER_SECONDS: sleepAfterSeconds });
    shim = await place.create("sleep 100000");
    await shim.created;
    await shim.task.start({ id: shim.id, execId: "" });
  });
  afterAll(async () => {
    shim.client.close();
    await place[Symbol.asyncDispose]();
  });

  describe("a crowd", () => {
    test("of 10,000 finds a shim that serves as many as it can, and all others once those go", async () => {
      const before = descriptors();
      {
        using crowd = new Crowd();
        await crowd.join(10_000);
        await expectServed();
        await until(() => crowd.closedCount > 0);
      }
      await until(() => descriptors() <= before);
      await expectNewcomersServed();
    });

    test("leaves descriptors to containers, and is refused without haste", async () => {
      const before = descriptors();
      const limit = 128;
      const usual = limitDescriptors(String(limit));
      {
        using crowd = new Crowd();
        await crowd.join(400);
        await until(() => crowd.closedCount > 250);
        await expectServed();
        expect(descriptors()).toBeLessThanOrEqual(limit - 16);
        const spec = { typeUrl: "", value: Buffer.from('{"args":["/bin/true"],"cwd":"/"}') };
        const exec = { id: shim.id, execId: "crowded" };
        const noStreams = { terminal: false, stdin: "", stdout: "", stderr: "" };
        await shim.task.exec({ ...exec, ...noStreams, spec });
        await shim.task.start(exec);
        expect((await shim.task.wait(exec)).exitStatus).toBe(0);
        await shim.task.delete(exec);
        const used = processorSeconds();
        await Bun.sleep(1000);
        expect(processorSeconds() - used).toBeLessThan(0.1);
      }
      limitDescriptors(usual);
      await until(() => descriptors() <= before);
      await expectNewcomersServed();
    });
  });

  describe("a slow client", () => {
    test("that sends a byte now and then, or half a frame for ever, holds up nobody", async () => {
      using crowd = new Crowd();
      await crowd.join(200);
      const frame = stateFrame(1, shim.id);
      for (let at = 0; at < frame.length - 1; at++) {
        crowd.say(frame.subarray(at, at + 1));
        if (at % 10 === 0) await expectServed();
      }
      await expectNewcomersServed();
      expect(crowd.closedCount).toBe(0);
    });

    test("gets its answer when the last byte has come", async () => {
      using peer = await RawPeer.connect(shim.address);
      for (const byte of stateFrame(1, shim.id)) {
        await peer.write(Uint8Array.of(byte));
        await Bun.sleep(1);
      }
      expect(await peer.response()).toMatchObject({ streamId: 1, code: OK });
    });
  });

  describe("a greedy client", () => {
    test("1,000 that announce 4 MiB and send nothing of them take no memory for it", async () => {
      await expectServed();
      const before = privateBytes();
      using crowd = new Crowd();
      await crowd.join(1000);
      crowd.say(encodeFrame(1, 1, 1, new Uint8Array(BODY_BYTES_MAX)).subarray(0, 10));
      for (let count = 0; count < 50; count++) await expectServed();
      expect(privateBytes() - before).toBeLessThan(64 * MEGABYTE);
      expect(crowd.closedCount).toBe(0);
    });

    test("8 frames of 4 MiB at once cost no more than the frames that are under way", async () => {
      await expectServed();
      const before = privateBytes();
      const peers = await Promise.all(
        Array.from({ length: 8 }, () => RawPeer.connect(shim.address)),
      );
      // All but the last byte, so that the shim has all of them in hand at once.
      const frame = encodeFrame(1, 1, 1, new Uint8Array(BODY_BYTES_MAX));
      const sent = peers.map((peer) => peer.write(frame.subarray(0, -1)));
      await expectServed();
      await Promise.all(sent);
      await expectServed();
      expect(privateBytes() - before).toBeLessThan(8 * 4 * BODY_BYTES_MAX);
      for (const peer of peers) peer[Symbol.dispose]();
      await until(() => privateBytes() - before < 64 * MEGABYTE);
      await expectNewcomersServed();
    });

    test("a frame of 240 MiB is refused on its stream, and is not kept", async () => {
      using peer = await RawPeer.connect(shim.address);
      const before = privateBytes();
      await peer.write(encodeFrame(1, 1, 1, new Uint8Array(240 * MEGABYTE)));
      expect(await peer.response()).toMatchObject({ streamId: 1, code: RESOURCE_EXHAUSTED });
      // Some of what has been read is not collected yet.
      expect(privateBytes() - before).toBeLessThan(120 * MEGABYTE);
      await peer.write(stateFrame(3, shim.id));
      expect(await peer.response()).toMatchObject({ streamId: 3, code: OK });
    });

    test("stream ids that are even, used twice, or fall are refused, and the connection goes on", async () => {
      using peer = await RawPeer.connect(shim.address);
      await peer.write(stateFrame(5, shim.id));
      expect(await peer.response()).toMatchObject({ streamId: 5, code: OK });
      for (const streamId of [2, 5, 3, 0, 0x7ffffffe]) {
        await peer.write(stateFrame(streamId, shim.id));
        expect((await peer.response()).code).not.toBe(OK);
      }
      await peer.write(stateFrame(0x7fffffff, shim.id));
      expect(await peer.response()).toMatchObject({ streamId: 0x7fffffff, code: OK });
      await expectServed();
    });

    test("100,000 calls without reading an answer are bounded, and hold up nobody", async () => {
      using deaf = await RawPeer.connect(shim.address);
      const before = privateBytes();
      deaf.pause();
      const burst = Buffer.concat(
        Array.from({ length: 100_000 }, (_, index) => stateFrame(2 * index + 1, shim.id)),
      );
      void deaf.write(burst);
      for (let count = 0; count < 50; count++) await expectServed();
      expect(privateBytes() - before).toBeLessThan(96 * MEGABYTE);
    });
  });

  describe("another user", () => {
    test("is refused, whatever the mode of the socket", async () => {
      const program = join(place.path, "connect.ts");
      // It says what came back. By its relative path, as the directories above are closed to others.
      await Bun.write(
        program,
        `const bytes = Buffer.from(${JSON.stringify(Buffer.from(stateFrame(1, shim.id)).toString("base64"))}, "base64");
         let got = 0;
         await new Promise((resolve) => {
           void Bun.connect({ unix: ${JSON.stringify(basename(shim.address))}, socket: {
             open: (socket) => { socket.write(bytes); },
             data: (_, chunk) => { got += chunk.length; resolve(undefined); },
             close: resolve,
           } }).catch(resolve);
         });
         console.log("bytes of an answer: " + got);
         process.exit(0);`,
      );
      const bun = join(place.path, "bun");
      copyFileSync(process.execPath, bun);
      for (const path of [place.path, shim.address, program, bun]) chmodSync(path, 0o777);
      const parent = dirname(shim.address);
      const connect = async (uid: number, gid = uid) => {
        const argv = [
          "setpriv",
          `--reuid=${uid}`,
          `--regid=${gid}`,
          "--clear-groups",
          bun,
          program,
        ];
        const child = Bun.spawn(argv, { cwd: parent, env: {}, stdout: "pipe", stderr: "pipe" });
        const [said, failed] = await Promise.all([
          new Response(child.stdout).text(),
          new Response(child.stderr).text(),
        ]);
        return `${said}${failed}`.trim();
      };
      chmodSync(parent, 0o755);
      try {
        expect(await connect(65534)).toBe("bytes of an answer: 0");
        expect(await connect(65534, 0)).toBe("bytes of an answer: 0");
        expect(await connect(0)).toMatch(/^bytes of an answer: [1-9]/);
        // A manager may run with another group than its shims.
        expect(await connect(0, 65534)).toMatch(/^bytes of an answer: [1-9]/);
      } finally {
        chmodSync(parent, 0o700);
        chmodSync(shim.address, 0o600);
      }
      await expectServed();
    });
  });
});
