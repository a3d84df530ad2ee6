/** A shim that has nothing to do becomes the sleeper. What ends that, as it ends a doze: `quiet.test.ts`. */

import { beforeAll, describe, expect, test } from "bun:test";
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import { TaskDefinition } from "../../src/gen/containerd/task/v3/task.ts";
import { hasSleeper } from "../../src/handoff/sleeper.ts";
import { createStub } from "../../src/rpc/ttrpc/stub.ts";
import { buildExecutable, executable } from "../compiled.ts";
import { shim as shimCommand } from "../debug/command.ts";
import { HangingRuntime } from "../fake/hanging-runtime.ts";
import { descriptorsOf, LiveShim, until } from "./live-shim.ts";

const TIMEOUT_MS = 240_000;
/** The sleeper is built by a C compiler; without one a shim never sleeps. */
const canSleep = Bun.which("cc") !== null;

/** On version 1 each controller has a hierarchy. */
const PIDS_ROOT = existsSync("/sys/fs/cgroup/pids") ? "/sys/fs/cgroup/pids" : "/sys/fs/cgroup";

beforeAll(buildExecutable, TIMEOUT_MS);

async function asleep(shim: LiveShim): Promise<void> {
  await until("the shim sleeps", () => shim.isAsleep);
}

/** What its descriptors are of. */
function programsOf(shim: LiveShim): readonly string[] {
  return [...descriptorsOf(shim.pid).values()];
}

/** A cgroup of one process, which goes back where it was. */
class PidsCgroup implements Disposable {
  readonly #path = join(PIDS_ROOT, `wedge-${crypto.randomUUID()}`);
  readonly #before: string;
  readonly #pid: number;

  constructor(pid: number) {
    this.#pid = pid;
    const line = /^(?:\d+:pids|0:):(.*)$/m.exec(readFileSync(`/proc/${pid}/cgroup`, "utf8"));
    this.#before = join(PIDS_ROOT, line?.[1] ?? "/", "cgroup.procs");
    mkdirSync(this.#path);
    writeFileSync(join(this.#path, "cgroup.procs"), String(pid));
  }

  /** How many processes and threads it may have. */
  limit(count: number): void {
    writeFileSync(join(this.#path, "pids.max"), String(count));
  }

  [Symbol.dispose](): void {
    writeFileSync(this.#before, String(this.#pid));
    rmdirSync(this.#path);
  }
}

/** The descriptor of what a sleeper waits for. */
function tableOf(shim: LiveShim): number {
  const found = [...descriptorsOf(shim.pid)].find(([, name]) => name.includes("wedge-sleep-table"));
  return found?.[0] ?? -1;
}

/** In kilobytes. */
function pssOf(pid: number): number {
  const text = readFileSync(`/proc/${pid}/smaps_rollup`, "utf8");
  return Number(/^Pss:\s+(\d+) kB/m.exec(text)?.[1]);
}

test("run from source there is no sleeper", () => {
  expect(hasSleeper()).toBe(false);
});

describe.if(canSleep)("a sleeping shim", () => {
  test(
    "costs kilobytes and looks as before",
    async () => {
      await using shim = await LiveShim.start({ sleepAfterSeconds: 0.1 });
      using bundle = shim.bundle({ script: "sleep 1000" });
      await shim.create(bundle);
      await shim.task.start({ id: bundle.id, execId: "" });
      const score = readFileSync(`/proc/${shim.pid}/oom_score_adj`, "utf8");
      const words = readFileSync(`/proc/${shim.pid}/cmdline`, "utf8");
      await asleep(shim);
      expect(pssOf(shim.pid)).toBeLessThan(100);
      expect(readFileSync(`/proc/${shim.pid}/oom_score_adj`, "utf8")).toBe(score);
      expect(readFileSync(`/proc/${shim.pid}/cmdline`, "utf8")).toBe(words);
    },
    TIMEOUT_MS,
  );

  test(
    "sleeps on while operators look at all shims",
    async () => {
      await using shim = await LiveShim.start({ sleepAfterSeconds: 0.1 });
      using bundle = shim.bundle({ script: "sleep 1000" });
      await shim.create(bundle);
      await asleep(shim);
      // Made anew for each sleep.
      const sleepOf = () => statSync(`/proc/${shim.pid}/fd/${tableOf(shim)}`).ino;
      const before = sleepOf();
      const verbs = [["ps"], ["ps", "--json"], ["top"], ["stats"], ["metrics"], ["doctor"]];
      for (const verb of verbs) {
        const { stdout } = await shimCommand(verb);
        if (verb[0] === "ps") expect(stdout).toContain("first");
        expect(shim.isAsleep && sleepOf()).toBe(before);
      }
    },
    TIMEOUT_MS,
  );

  test(
    "wakes although its file was written over, removed, or put there again",
    async () => {
      const path = join(mkdtempSync(join(tmpdir(), "wedge-sleep-")), basename(executable));
      cpSync(executable, path);
      await using shim = await LiveShim.start({ sleepAfterSeconds: 0.1, executable: path });
      using bundle = shim.bundle({ script: "sleep 1000" });
      const { id } = bundle;
      const pid = await shim.create(bundle);
      await asleep(shim);
      rmSync(path);
      expect(await shim.task.state({ id, execId: "" })).toMatchObject({ pid });
      await asleep(shim);
      cpSync(executable, path);
      expect(await shim.task.state({ id, execId: "" })).toMatchObject({ pid });
      // It takes the new file before it sleeps again.
      await until("it sleeps", () => shim.isAsleep && programsOf(shim).includes(path));
      writeFileSync(path, "#no program\n");
      const stated = shim.task.state({ id, execId: "" });
      await Bun.sleep(300);
      expect(shim.isAsleep).toBe(true);
      cpSync(executable, `${path}.new`);
      renameSync(`${path}.new`, path);
      expect(await stated).toMatchObject({ pid });
      await asleep(shim);
      await shim.remove(id);
      rmSync(dirname(path), { recursive: true });
    },
    TIMEOUT_MS,
  );

  test(
    "takes a new file when a call that hangs has come to its end, and holds up nobody for it",
    async () => {
      const path = join(mkdtempSync(join(tmpdir(), "wedge-sleep-")), basename(executable));
      cpSync(executable, path);
      await using shim = await LiveShim.start({ sleepAfterSeconds: 0.1, executable: path });
      using runtime = new HangingRuntime(shim.path);
      using bundle = shim.bundle({ script: "sleep 1000" });
      const { id } = bundle;
      const pid = await shim.create(bundle, {}, { binaryName: runtime.path });
      await shim.task.start({ id, execId: "" });
      runtime.hang("update", bundle);
      const resources = { typeUrl: "", value: Buffer.from("{}") };
      const request = { id, resources, annotations: new Map() };
      const updated = shim.task.update(request).catch((error: unknown) => String(error));
      await runtime.hung("update", bundle);
      cpSync(executable, `${path}.new`);
      renameSync(`${path}.new`, path);
      // For longer than the shim would wait before it sleeps, and an upgrade for its instant.
      for (const endMs = performance.now() + 12_000; performance.now() < endMs; ) {
        await Bun.sleep(1000);
        expect(await shim.task.state({ id, execId: "" }, { timeoutMs: 5000 })).toMatchObject({
          pid,
        });
      }
      runtime.release("update", bundle);
      expect(await updated).toEqual({});
      await until("it sleeps", () => shim.isAsleep && programsOf(shim).includes(path));
      await shim.remove(id);
      rmSync(dirname(path), { recursive: true });
    },
    TIMEOUT_MS,
  );

  test(
    "waits for threads to be had before it wakes",
    async () => {
      await using shim = await LiveShim.start({ sleepAfterSeconds: 0.1 });
      using bundle = shim.bundle({ script: "sleep 1000" });
      const { id } = bundle;
      const pid = await shim.create(bundle);
      await asleep(shim);
      using cgroup = new PidsCgroup(shim.pid);
      cgroup.limit(2);
      const stated = shim.task.state({ id, execId: "" });
      await Bun.sleep(500);
      expect(shim.isAsleep).toBe(true);
      cgroup.limit(100);
      expect(await stated).toMatchObject({ pid });
      await shim.remove(id);
    },
    TIMEOUT_MS,
  );

  test(
    "has left its address when it answers that it ends: the next shim may have the same",
    async () => {
      await using shim = await LiveShim.start({ sleepAfterSeconds: 0.1 });
      using bundle = shim.bundle({ script: "sleep 1000" });
      await shim.create(bundle);
      await asleep(shim);
      await shim.remove(bundle.id);
      await shim.task.shutdown({ id: bundle.id, now: false });
      expect(await shim.connect().catch(String)).toMatch(/ECONNREFUSED|ENOENT|Failed to connect/);
    },
    TIMEOUT_MS,
  );

  test(
    "loses nothing that happens while it falls asleep or wakes",
    async () => {
      await using shim = await LiveShim.start({ sleepAfterSeconds: 0.01 });
      using bundle = shim.bundle({ script: "sleep 1000" });
      const { id } = bundle;
      await shim.create(bundle);
      await shim.task.start({ id, execId: "" });
      for (let round = 0; round < 12; round++) {
        const execId = `e${round}`;
        const pid = await shim.exec(id, execId, ["sleep", "1000"]);
        const waited = shim.task.wait({ id, execId });
        await Bun.sleep(Math.random() * 60);
        // An exit, a call on an old and on a new connection at instants that nobody knows.
        process.kill(pid, "SIGKILL");
        const stated = shim.task.state({ id, execId: "" });
        await Bun.sleep(Math.random() * 20);
        const client = await shim.connect();
        const pids = createStub(client, TaskDefinition).pids({ id });
        expect((await waited).exitStatus).toBe(137);
        expect((await stated).id).toBe(id);
        expect((await pids).processes.length).toBeGreaterThan(0);
        client.close();
        expect(await shim.task.delete({ id, execId })).toMatchObject({ pid, exitStatus: 137 });
      }
      await shim.remove(id);
      const exits = () => shim.events.filter(({ topic }) => topic === "/tasks/exit").length;
      await until("the end is told", () => shim.events.at(-1)?.topic === "/tasks/delete");
      expect(exits()).toBe(13);
    },
    TIMEOUT_MS,
  );
});
