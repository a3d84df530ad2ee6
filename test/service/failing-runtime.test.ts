/**
 * What is left when a runtime dies, lies or refuses in the middle of an RPC: nothing, and a clear error.
 * The runtime is a script with real processes, as a real one cannot be made to do these things.
 */

import { afterAll, describe, expect, test } from "bun:test";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Inventory } from "../../src/base/inventory.ts";
import { silentLogger } from "../../src/base/log.ts";
import { Children } from "../../src/linux/children.ts";
import { Poller } from "../../src/linux/poller.ts";
import { becomeSubreaper } from "../../src/linux/self.ts";
import type { CallContext } from "../../src/rpc/service.ts";
import { RuntimeError } from "../../src/runtime/error.ts";
import { Runc } from "../../src/runtime/runc.ts";
import type { Runtime } from "../../src/runtime/runtime.ts";
import { TaskService } from "../../src/service/task.ts";
import { listMountsBelow, unmountBelow } from "../fake/bundle.ts";

const poller = new Poller();
const children = new Children({ poller, reapStrays: true });
becomeSubreaper();

afterAll(() => {
  children[Symbol.dispose]();
  poller[Symbol.dispose]();
});

/** As a client's call. */
function call(): CallContext {
  const service = "containerd.task.v2.Task";
  const { signal } = new AbortController();
  return { service, method: "", signal, deadlineMs: undefined, metadata: new Map(), peer: {} };
}

/** Shell for each verb; `$pidfile` and `$id` are set, `$state` is the container's directory. */
type Verbs = Readonly<
  Partial<Record<"create" | "start" | "exec" | "delete" | "restore" | "pause", string>>
>;

const LEAVE_PROCESS =
  "(exec sleep 1000) >/dev/null 2>&1 & echo $! > $pidfile; echo $! >> $state/pids";
const GOOD: Required<Verbs> = {
  create: `mkdir -p $state; ${LEAVE_PROCESS}`,
  restore: `mkdir -p $state; ${LEAVE_PROCESS}`,
  start: "true",
  exec: LEAVE_PROCESS,
  delete: "kill -9 $(cat $state/pids) 2>/dev/null; rm -rf $state",
  pause: "true",
};

/** A service over such a runtime, one bundle, and what it has published. */
class Scene implements Disposable {
  readonly directory = mkdtempSync(join(tmpdir(), "wedge-failing-"));
  readonly bundle = join(this.directory, "c");
  readonly root = join(this.directory, "root");
  readonly topics: string[] = [];
  readonly service: TaskService;
  emptied = 0;

  constructor(verbs: Verbs, replaceRuntime = (runtime: Runtime) => runtime) {
    mkdirSync(join(this.bundle, "rootfs"), { recursive: true });
    mkdirSync(this.root);
    const config = { linux: { namespaces: [{ type: "pid" }] } };
    writeFileSync(join(this.bundle, "config.json"), JSON.stringify(config));
    const cases = Object.entries({ ...GOOD, ...verbs }).map(
      ([verb, script]) => `${verb})\n${script}\n;;`,
    );
    const lines = [
      "#!/bin/sh",
      'verb=$7; state=$2/c; for id in "$@"; do [ "$last" = --pid-file ] && pidfile=$id; last=$id; done',
      `case $verb in ${cases.join("\n")} esac`,
    ];
    const executable = join(this.directory, "runtime");
    writeFileSync(executable, lines.join("\n"), { mode: 0o755 });
    this.service = new TaskService({
      shimPid: process.pid,
      context: { poller, children, log: silentLogger, namespace: "test", environment: [] },
      openRuntime: (bundle) => {
        const environment = ["PATH=/usr/bin:/bin"];
        const place = { command: executable, root: this.root, bundle, environment };
        const runtime = new Runc({ ...place, systemdCgroup: false }, { children });
        return { runtime: replaceRuntime(runtime), root: this.root };
      },
      publish: ({ topic }) => this.topics.push(topic.slice("/tasks/".length)),
      shutdown: () => {},
      onEmpty: () => this.emptied++,
      log: silentLogger,
    });
  }

  async create(fields: { checkpoint?: string; stdout?: string; rootfs?: boolean } = {}) {
    const mount = { type: "tmpfs", source: "tmpfs", target: "", options: [] };
    return await this.service.create(
      {
        id: "c",
        bundle: this.bundle,
        rootfs: fields.rootfs === true ? [mount] : [],
        ...{ terminal: false, stdin: "", stdout: fields.stdout ?? "", stderr: "" },
        ...{ checkpoint: fields.checkpoint ?? "", parentCheckpoint: "", options: undefined },
      },
      call(),
    );
  }

  async exec(execId: string): Promise<void> {
    const spec = { typeUrl: "", value: Buffer.from('{"args":["true"]}') };
    const io = { terminal: false, stdin: "", stdout: "", stderr: "" };
    await this.service.exec({ id: "c", execId, spec, ...io }, call());
  }

  /** What a failed Create may not leave: a container, its process, a mount, a file of a runtime call. */
  expectNothing(): void {
    expect(this.service.size).toBe(0);
    expect(readdirSync(this.root)).toEqual([]);
    expect(listMountsBelow(this.directory)).toEqual([]);
    expect(readdirSync(this.bundle).filter((name) => name.startsWith("runtime-"))).toEqual([]);
    expect(this.topics).toEqual([]);
    expect(this.emptied).toBe(1);
  }

  [Symbol.dispose](): void {
    unmountBelow(this.directory);
    rmSync(this.directory, { recursive: true, force: true });
  }
}

/** The message of a call that must fail. */
async function refusal(answer: Promise<unknown>): Promise<string> {
  try {
    await answer;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
  throw new Error("The call succeeded");
}

describe("Create", () => {
  test.each([
    ["dies by a signal", "kill -9 $$", /signal: killed/],
    ["dies when the container is there", `${GOOD.create}; kill -9 $$`, /signal: killed/],
    ["leaves no pid file", "mkdir -p $state", /failed to retrieve OCI runtime container pid/],
    ["leaves garbage for a pid", `${GOOD.create}; echo x > $pidfile`, /no pid in .*init\.pid/],
    [
      "names a process that is not there",
      `${GOOD.create}; echo 4194303 > $pidfile`,
      /process 4194303/,
    ],
    ["fails without a word", "exit 3", /exit status 3/],
  ])("by a runtime that %s fails, and leaves nothing", async (_, create, words) => {
    using scene = new Scene({ create });
    expect(await refusal(scene.create({ rootfs: true }))).toMatch(words);
    scene.expectNothing();
  });

  test("by a runtime that names a stranger's process fails, and spares the stranger", async () => {
    const stranger = Bun.spawn(["/bin/sh", "-c", "sleep 1000 & echo $!; wait"], { stdout: "pipe" });
    using cleanup = new DisposableStack();
    cleanup.defer(() => stranger.kill("SIGKILL"));
    const { value } = await stranger.stdout.getReader().read();
    const pid = Number(Buffer.from(value ?? []).toString());
    using scene = new Scene({ create: `${GOOD.create}; echo ${pid} > $pidfile` });
    expect(await refusal(scene.create())).toMatch(`Cannot adopt process ${pid}`);
    scene.expectNothing();
    expect(existsSync(`/proc/${pid}`)).toBe(true);
    process.kill(pid, "SIGKILL");
  });

  test.each([
    ["a FIFO that is missing", { stdout: "/no/such/fifo" }, /No file or FIFO for stdout/],
    ["a scheme that is unknown", { stdout: "ftp:/x" }, /unknown STDIO scheme ftp/],
  ])("with %s fails before the runtime is run, and leaves nothing", async (_, fields, words) => {
    using scene = new Scene({ create: "touch $2/was-here" });
    expect(await refusal(scene.create({ ...fields, rootfs: true }))).toMatch(words);
    scene.expectNothing();
  });

  test.each([
    ["is broken", "{"],
    ["is no object", "[]"],
  ])("with a config.json that %s fails and names it", async (_, text) => {
    using scene = new Scene({});
    writeFileSync(join(scene.bundle, "config.json"), text);
    expect(await refusal(scene.create())).toContain(join(scene.bundle, "config.json"));
    scene.expectNothing();
  });

  test("that a Delete gives up is undone, and the id is free again", async () => {
    using scene = new Scene({
      create: `${GOOD.create}; [ -e $2/../made ] || { touch $2/../made; exec sleep 1000; }`,
    });
    const created = refusal(scene.create({ rootfs: true }));
    while (!existsSync(join(scene.directory, "made"))) await Bun.sleep(2);
    await refusal(scene.service.delete({ id: "c", execId: "" }, call()));
    expect(await created).toMatch(/canceled/);
    scene.expectNothing();
    await scene.create();
    await scene.service.delete({ id: "c", execId: "" }, call());
    expect(scene.topics).toEqual(["create", "exit", "delete"]);
  });
});

describe("Start", () => {
  test("by a runtime that dies leaves a container that can be deleted", async () => {
    using scene = new Scene({ start: "kill -9 $$" });
    await scene.create();
    expect(await refusal(scene.service.start({ id: "c", execId: "" }, call()))).toMatch(
      /signal: killed/,
    );
    expect(scene.service.state({ id: "c", execId: "" }).status).toBe(1);
    await scene.service.delete({ id: "c", execId: "" }, call());
    expect(scene.topics).toEqual(["create", "exit", "delete"]);
  });

  test.each([
    ["dies", "kill -9 $$"],
    ["leaves no pid", "true"],
    ["names a stranger", "echo 1 > $pidfile"],
  ])(
    "of an exec by a runtime that %s ends the exec, whose id is free after Delete",
    async (_, exec) => {
      using scene = new Scene({ exec });
      await scene.create();
      await scene.service.start({ id: "c", execId: "" }, call());
      await scene.exec("e");
      const waited = scene.service.wait({ id: "c", execId: "e" }, call());
      await refusal(scene.service.start({ id: "c", execId: "e" }, call()));
      expect((await waited).exitStatus).toBe(255);
      expect(existsSync("/proc/1")).toBe(true);
      await scene.service.delete({ id: "c", execId: "e" }, call());
      await scene.exec("e");
      expect(scene.topics).toEqual(["create", "start", "exec-added", "exec-added"]);
      await end(scene);
    },
  );

  test("that cannot restore ends the container's life, and Delete is due", async () => {
    using scene = new Scene({ restore: `${GOOD.restore}; kill -9 $$` });
    expect(await scene.create({ checkpoint: scene.directory })).toEqual({ pid: 0 });
    const waited = scene.service.wait({ id: "c", execId: "" }, call());
    expect(await refusal(scene.service.start({ id: "c", execId: "" }, call()))).toMatch(
      /restore failed/,
    );
    expect(scene.service.state({ id: "c", execId: "" })).toMatchObject({ status: 3, pid: 0 });
    expect((await waited).exitStatus).toBe(255);
    expect(readdirSync(scene.root)).toEqual([]);
    await scene.service.delete({ id: "c", execId: "" }, call());
    expect(scene.topics).toEqual(["create", "delete"]);
  });
});

describe("Delete", () => {
  test("gives up a restore that hangs", async () => {
    using scene = new Scene({ restore: "touch $2/../restoring; exec sleep 1000" });
    await scene.create({ checkpoint: scene.directory, rootfs: true });
    const started = refusal(scene.service.start({ id: "c", execId: "" }, call()));
    while (!existsSync(join(scene.directory, "restoring"))) await Bun.sleep(2);
    expect((await scene.service.delete({ id: "c", execId: "" }, call())).exitStatus).toBe(255);
    expect(await started).toMatch(/canceled/);
    expect(scene.service.size).toBe(0);
    expect(listMountsBelow(scene.directory)).toEqual([]);
    expect(scene.topics).toEqual(["create", "delete"]);
  });

  test("of a checkpoint that was never restored releases those who wait for its end", async () => {
    using scene = new Scene({});
    await scene.create({ checkpoint: scene.directory });
    const waited = scene.service.wait({ id: "c", execId: "" }, call());
    await scene.service.delete({ id: "c", execId: "" }, call());
    expect((await waited).exitStatus).toBe(255);
  });

  test("releases those who wait for an exec that was never started", async () => {
    using scene = new Scene({});
    await scene.create();
    await scene.service.start({ id: "c", execId: "" }, call());
    await scene.exec("e");
    const waited = scene.service.wait({ id: "c", execId: "e" }, call());
    await end(scene);
    expect((await waited).exitStatus).toBe(255);
    expect(scene.topics).toEqual(["create", "start", "exec-added", "exit", "delete"]);
  });

  test("by a runtime that dies may be asked for again", async () => {
    using scene = new Scene({
      delete: `[ -e $2/../once ] || { touch $2/../once; kill -9 $$; }; ${GOOD.delete}`,
    });
    await scene.create({ rootfs: true });
    await scene.service.kill({ id: "c", execId: "", signal: 9, all: false });
    await scene.service.wait({ id: "c", execId: "" }, call());
    expect(await refusal(scene.service.delete({ id: "c", execId: "" }, call()))).toMatch(
      /failed to delete task/,
    );
    expect((await scene.service.delete({ id: "c", execId: "" }, call())).exitStatus).toBe(137);
    expect(listMountsBelow(scene.directory)).toEqual([]);
    expect(scene.topics).toEqual(["create", "exit", "delete"]);
  });
});

test("Pause by a runtime that dies leaves the container running", async () => {
  using scene = new Scene({ pause: "kill -9 $$" });
  await scene.create();
  await scene.service.start({ id: "c", execId: "" }, call());
  expect(await refusal(scene.service.pause({ id: "c" }))).toMatch(/pause failed/);
  expect(scene.service.state({ id: "c", execId: "" }).status).toBe(2);
  await end(scene);
});

test("Pause by a runtime that hangs thaws what it may have frozen", async () => {
  // Its deadline is a minute: the end of that wait is all that is made up here.
  const late = new RuntimeError({ verb: "pause", kind: "timeout", runtimeMessage: "too late" });
  const resumed: string[] = [];
  using scene = new Scene({}, (runtime) => {
    runtime.pause = () => Promise.reject(late);
    runtime.resume = async (id) => void resumed.push(id);
    return runtime;
  });
  await scene.create();
  await scene.service.start({ id: "c", execId: "" }, call());
  expect(await refusal(scene.service.pause({ id: "c" }))).toMatch(/too late/);
  expect(scene.service.state({ id: "c", execId: "" }).status).toBe(2);
  expect(resumed).toEqual(["c"]);
  await end(scene);
});

test("an exec that outlives init keeps no shim awake, and its end brings init's", async () => {
  using scene = new Scene({});
  const { pid } = await scene.create();
  await scene.service.start({ id: "c", execId: "" }, call());
  await scene.exec("e");
  const exec = await scene.service.start({ id: "c", execId: "e" }, call());
  process.kill(pid, "SIGKILL");
  while (existsSync(`/proc/${pid}`)) await Bun.sleep(2);
  const inventory = new Inventory();
  scene.service.snapshot(inventory);
  expect([inventory.obstacles, inventory.errands]).toEqual([[], []]);
  expect(scene.topics).not.toContain("exit");
  process.kill(exec.pid, "SIGKILL");
  await scene.service.wait({ id: "c", execId: "" }, call());
  expect(scene.topics.slice(-2)).toEqual(["exit", "exit"]);
  await scene.service.delete({ id: "c", execId: "" }, call());
});

test("an end that nothing holds up, and that is not told yet, keeps the shim awake", async () => {
  using scene = new Scene({});
  const { pid } = await scene.create();
  await scene.service.start({ id: "c", execId: "" }, call());
  process.kill(pid, "SIGKILL");
  while (!/\) Z /.test(readFileSync(`/proc/${pid}/stat`, "utf8"))) Bun.sleepSync(2);
  // Reaps it; what follows has to wait for this turn's end.
  scene.service.state({ id: "c", execId: "" });
  const inventory = new Inventory();
  scene.service.snapshot(inventory);
  expect(inventory.errands).toEqual(["the end of c has to be told"]);
  await scene.service.wait({ id: "c", execId: "" }, call());
  await scene.service.delete({ id: "c", execId: "" }, call());
});

/** Kills and deletes the container. */
async function end({ service }: Scene): Promise<void> {
  await service.kill({ id: "c", execId: "", signal: 9, all: false });
  await service.wait({ id: "c", execId: "" }, call());
  await service.delete({ id: "c", execId: "" }, call());
}
