/** A program that passes its self test and still fails: the shim goes back to the old one. */

import { afterAll, beforeAll, expect, test } from "bun:test";
import { copyFileSync, existsSync, mkdtempSync, readFileSync, renameSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { buildExecutable, executable } from "../compiled.ts";
import { descriptorsOf, LiveShim, type LiveShimOptions, until } from "../integration/live-shim.ts";

const TIMEOUT_MS = 120_000;
/** It knows the registers of this processor alone, and is compiled where there is a compiler. */
const hasGuardian = process.arch === "x64" && Bun.which("cc") !== null;
const directory = mkdtempSync(join(tmpdir(), "wedge-guardian-"));
const attempts = join(directory, "attempts");

beforeAll(buildExecutable, TIMEOUT_MS);
afterAll(() => rmSync(directory, { recursive: true, force: true }));

/** The program that fails in this way. */
function failing(mode: string): string {
  const path = join(directory, mode);
  const words = Object.entries({ WEDGE: executable, ATTEMPTS: attempts, MODE: mode });
  const definitions = words.map(([name, value]) => `-D${name}=${JSON.stringify(value)}`);
  const source = join(import.meta.dir, "failing-program.c");
  const { stderr } = Bun.spawnSync(["cc", "-w", ...definitions, "-o", path, source]);
  expect(stderr.toString()).toBe("");
  return path;
}

function attemptCount(): number {
  return existsSync(attempts) ? readFileSync(attempts).length : 0;
}

/** Who traces a process; 0 for nobody. */
function tracerOf(pid: number): number {
  return Number(/^TracerPid:\s*(\d+)$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]);
}

/** What upgrading to the program came to; the container must not notice. */
async function tryProgram(mode: string, options: LiveShimOptions = {}): Promise<string> {
  await using shim = await LiveShim.start(options);
  using bundle = shim.bundle({ script: "sleep 1000" });
  const { id } = bundle;
  const pid = await shim.create(bundle);
  await shim.task.start({ id, execId: "" });
  const waited = shim.task.wait({ id, execId: "" });
  // Its engine has all that it opens late.
  await shim.handoff.upgrade({ binary: "" });
  await until("it is restored", () => tracerOf(shim.pid) === 0);
  const before = descriptorsOf(shim.pid).size;
  const outcome = await shim.handoff.upgrade({ binary: failing(mode) }).then(
    () => "taken",
    (error) => String(error),
  );
  expect(await shim.task.state({ id, execId: "" })).toMatchObject({ pid });
  expect((await shim.task.connect({ id })).shimPid).toBe(shim.pid);
  await until("nobody traces it", () => tracerOf(shim.pid) === 0);
  // The engine lends a duplicate of its epoll instance now and then.
  await until(
    "it has the descriptors that it had",
    () => Math.abs(descriptorsOf(shim.pid).size - before) <= 1,
  );
  // As good as before.
  expect((await shim.handoff.upgrade({ binary: "" })).version).not.toBe("");
  await shim.task.kill({ id, execId: "", signal: 15, all: false });
  await shim.task.kill({ id, execId: "", signal: 9, all: false });
  expect((await waited).exitStatus).toBe(137);
  await shim.task.delete({ id, execId: "" });
  const topics = () => shim.events.map(({ topic }) => topic.slice("/tasks/".length));
  await until("all events are there", () => topics().includes("delete"));
  expect(topics()).toEqual(["create", "start", "exit", "delete"]);
  return outcome;
}

test.skipIf(!hasGuardian).each([
  ["signal", /gave the shim back: signal 11 ended it before it had restored the shim$/],
  ["nowhere", /signal 11 ended it/],
  ["stackless", /signal (7|11) ended it/],
  ["abort", /signal 6 ended it/],
  ["status-0", /it ended with status 0 before it had restored the shim$/],
  ["status-3", /it ended with status 3/],
  // Neither reads the document nor comes back by itself.
  ["lost", /it ended with status 1 before/],
])(
  "a program that ends by %s gives the shim back",
  async (mode, reason) => {
    expect(await tryProgram(mode)).toMatch(reason);
  },
  TIMEOUT_MS,
);

test.skipIf(!hasGuardian)(
  "when one thread crashes the others do nothing more, however long the way back is",
  async () => {
    // To execute a program with these takes a while.
    const names = Array.from({ length: 10 }, (_, place) => `LONG_${place}`);
    const env = Object.fromEntries(names.map((name) => [name, "x".repeat(100_000)]));
    for (let time = 0; time < 3; time++)
      expect(await tryProgram("crowd", { env })).toMatch(/signal 4 ended it/);
  },
  TIMEOUT_MS,
);

test.skipIf(!hasGuardian).each([0, 1, 2, 4, 6, 8, 10, 15, 20, 30])(
  "an engine that crashes %d ms after it was begun gives the shim back, or has restored it",
  async (ms) => {
    expect(await tryProgram(`struck-${ms * 1000}`)).toMatch(
      /^taken$|signal \d+ ended it|ended with status/,
    );
  },
  TIMEOUT_MS,
);

test.skipIf(!hasGuardian)(
  "one that hangs is given up after ten seconds, busy or not, or beginning again and again",
  async () => {
    const modes = ["sleeping", "busy", "again"];
    const outcomes = await Promise.all(modes.map((mode) => tryProgram(mode)));
    for (const outcome of outcomes) expect(outcome).toContain("it had not restored the shim after");
  },
  TIMEOUT_MS,
);

test.skipIf(!hasGuardian)(
  "one that somebody has stopped may take its time",
  async () => {
    await using shim = await LiveShim.start();
    using bundle = shim.bundle({ script: "sleep 1000" });
    const pid = await shim.create(bundle);
    const upgraded = shim.handoff.upgrade({ binary: failing("halted") });
    await Bun.sleep(11_000);
    process.kill(shim.pid, "SIGCONT");
    expect((await upgraded).version).not.toBe("");
    expect(await shim.task.state({ id: bundle.id, execId: "" })).toMatchObject({ pid });
    await shim.remove(bundle.id);
  },
  TIMEOUT_MS,
);

test.skipIf(!hasGuardian)(
  "a program on disk that has given the shim back is not tried again, however often the shim sleeps",
  async () => {
    const own = join(directory, "containerd-shim-wedge-v2");
    copyFileSync(executable, own);
    await using shim = await LiveShim.start({ executable: own, sleepAfterSeconds: 0.1 });
    using bundle = shim.bundle({ script: "sleep 1000" });
    const { id } = bundle;
    const pid = await shim.create(bundle);
    await until("it sleeps", () => shim.isAsleep);
    const before = attemptCount();
    renameSync(failing("signal"), own);
    for (let wake = 0; wake < 3; wake++) {
      expect(await shim.task.state({ id, execId: "" })).toMatchObject({ pid });
      await until("it is awake", () => !shim.isAsleep);
      await until("it sleeps again", () => shim.isAsleep);
    }
    expect(attemptCount() - before).toBe(1);
    await shim.remove(id);
  },
  TIMEOUT_MS,
);
