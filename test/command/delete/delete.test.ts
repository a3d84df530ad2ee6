import { describe, expect, test } from "bun:test";
import { chmodSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { ShimError } from "../../../src/base/error.ts";
import { saveExitRecord } from "../../../src/bundle/exit-record.ts";
import { defaultOptions, saveOptions } from "../../../src/container/options.ts";
import {
  DeleteResponse,
  StateResponse,
  TaskDefinition as TaskV2Definition,
} from "../../../src/gen/containerd/task/v2/task.ts";
import { TaskDefinition as TaskV3Definition } from "../../../src/gen/containerd/task/v3/task.ts";
import { claimListener, isListening } from "../../../src/linux/listener.ts";
import type { MountedService, ServiceDefinition } from "../../../src/rpc/service.ts";
import { listenBun } from "../../../src/rpc/ttrpc/bun.ts";
import { TtrpcServer } from "../../../src/rpc/ttrpc/server.ts";
import { listMountsBelow, makeBundle } from "../../fake/bundle.ts";
import { Place, type Run, runShim } from "../shim-process.ts";

const TIMEOUT_MS = 30_000;
/** What containerd gives it. */
const BUDGET_MS = 5000;

/** A place whose bundles keep the runtime's state in it too. */
class DeletePlace extends Place {
  readonly root = join(this.path, "runtime-root");

  /** A bundle whose runtime is `script` (runc without one). */
  prepare(id: string, script?: string): string {
    const bundle = this.bundle(id);
    this.useRuntime(bundle, script);
    return bundle;
  }

  useRuntime(bundle: string, script?: string): void {
    const runtime = join(this.path, "fake-runtime");
    if (script !== undefined) {
      writeFileSync(runtime, `#!/bin/sh\n${script}\n`);
      chmodSync(runtime, 0o755);
    }
    const binaryName = script === undefined ? "" : runtime;
    saveOptions(bundle, { ...defaultOptions, root: this.root, binaryName });
  }

  /** The runtime has noted something of this container; with a pid, which process it is. */
  noteState(id: string, pid?: number): void {
    const directory = join(this.root, this.namespace, id);
    mkdirSync(directory, { recursive: true });
    if (pid === undefined) return;
    const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
    const startTicks = Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19]);
    const state = { init_process_pid: pid, init_process_start: startTicks };
    writeFileSync(join(directory, "state.json"), JSON.stringify(state));
  }

  async delete(id: string, bundle = join(this.path, id)): Promise<Deleted> {
    const flags = ["-namespace", this.namespace, "-address", this.grpcAddress, "-id", id];
    const startedAt = performance.now();
    const cwd = existsSync(bundle) ? bundle : "/";
    const run = await runShim([...flags, "-bundle", bundle, "delete"], { cwd });
    const tookMs = performance.now() - startedAt;
    return { ...run, tookMs, answer: DeleteResponse.decode(run.stdout) };
  }
}

interface Deleted extends Run {
  readonly tookMs: number;
  readonly answer: DeleteResponse;
}

function atMs({ exitedAt }: DeleteResponse): number {
  return Number(exitedAt?.seconds ?? 0n) * 1000 + (exitedAt?.nanos ?? 0) / 1e6;
}

/** A task service of which only State is there, as far as `delete` looks. */
function stateService(
  definition: ServiceDefinition,
  status: (id: string) => number,
): MountedService {
  const state = definition.methods["state"];
  if (state === undefined) throw new Error("the Task service has a method State");
  const method = {
    kind: "unary" as const,
    decodeRequest: (bytes: Uint8Array) => state.requestType.decode(bytes),
    encodeResponse: (message: unknown) => state.responseType.encode(message).finish(),
    invoke: (input: unknown) => {
      const id =
        typeof input === "object" && input !== null && "id" in input ? String(input.id) : "";
      return { ...StateResponse.decode(new Uint8Array(0)), id, status: status(id) };
    },
  };
  return { fullName: definition.fullName, methods: new Map([["State", method]]) };
}

/** A live shim at the bundle's address, which answers State with `status`, or that it has no such task. */
function serveState(bundle: string, socket: string, service: MountedService): AsyncDisposable {
  const server = new TtrpcServer({ services: [service] });
  listenBun(server, { unix: socket });
  writeFileSync(join(bundle, "address"), `unix://${socket}`);
  return { [Symbol.asyncDispose]: async () => await server.shutdown(0) };
}

const RUNNING = 2;
const STOPPED = 3;

describe("delete", () => {
  test.each<[string, (bundle: string) => void]>([
    ["is empty", () => {}],
    ["is gone", (bundle) => rmSync(bundle, { recursive: true })],
    ["has a pid file without a pid", (bundle) => writeFileSync(join(bundle, "init.pid"), "x")],
    ["has a damaged exit record", (bundle) => writeFileSync(join(bundle, "exit.json"), "{")],
    [
      "has an address where nobody listens",
      (bundle) => writeFileSync(join(bundle, "address"), "unix:///nowhere/s"),
    ],
    [
      "has an address of another kind",
      (bundle) => writeFileSync(join(bundle, "address"), "vsock://1:2"),
    ],
  ])(
    "of a task whose bundle %s says that it was killed now",
    async (_name, change) => {
      await using place = new DeletePlace();
      change(place.bundle("a"));
      const before = Date.now() - 1;
      const { exitCode, stderr, answer } = await place.delete("a");
      expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: "" });
      expect(answer).toMatchObject({ pid: 0, exitStatus: 137 });
      expect(atMs(answer)).toBeGreaterThanOrEqual(before);
      expect(atMs(answer)).toBeLessThanOrEqual(Date.now());
    },
    TIMEOUT_MS,
  );

  test(
    "gives the pid that the runtime has noted, once or twice",
    async () => {
      await using place = new DeletePlace();
      writeFileSync(join(place.prepare("a"), "init.pid"), "4242\n");
      for (const _ of [1, 2]) expect((await place.delete("a")).answer.pid).toBe(4242);
    },
    TIMEOUT_MS,
  );

  test(
    "gives the exit that the shim has recorded",
    async () => {
      await using place = new DeletePlace();
      const bundle = place.prepare("a");
      const exitedAt = new Date("2026-01-02T03:04:05.678Z");
      saveExitRecord(bundle, { pid: 77, exitStatus: 3, signal: 0, exitedAt, oomKilled: false });
      const { answer } = await place.delete("a");
      expect(answer).toMatchObject({ pid: 77, exitStatus: 3 });
      expect(atMs(answer)).toBe(exitedAt.getTime());
    },
    TIMEOUT_MS,
  );

  test(
    "starts no runtime when the runtime has kept nothing",
    async () => {
      await using place = new DeletePlace();
      place.prepare("a", `touch ${place.path}/was-called`);
      const { exitCode, stderr } = await place.delete("a");
      expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: "" });
      expect(existsSync(join(place.path, "was-called"))).toBe(false);
    },
    TIMEOUT_MS,
  );

  test(
    "calls the runtime of the options with their root and the namespace",
    async () => {
      await using place = new DeletePlace();
      place.prepare("a", `echo "$@" > ${place.path}/args`);
      place.noteState("a");
      expect((await place.delete("a")).exitCode).toBe(0);
      const args = readFileSync(join(place.path, "args"), "utf8");
      expect(args).toStartWith(`--root ${place.root}/${place.namespace} --log `);
      expect(args).toEndWith("delete --force a\n");
    },
    TIMEOUT_MS,
  );

  test.each([
    ["fails", "echo no such luck >&2; exit 1", "no such luck"],
    ["hangs", "exec sleep 60", "did not finish within"],
  ])(
    "answers in time when the runtime %s, with a warning in one line",
    async (_name, script, text) => {
      await using place = new DeletePlace();
      writeFileSync(join(place.prepare("a", script), "init.pid"), "4242");
      place.noteState("a");
      const { exitCode, stderr, answer, tookMs } = await place.delete("a");
      expect(exitCode).toBe(0);
      expect(answer).toMatchObject({ pid: 4242, exitStatus: 137 });
      expect(stderr).toContain("Cannot remove the container from the runtime: ");
      expect(stderr).toContain(text);
      expect(stderr.trimEnd()).not.toContain("\n");
      expect(tookMs).toBeLessThan(BUDGET_MS);
    },
    TIMEOUT_MS,
  );

  test(
    "does not fail for options that cannot be read",
    async () => {
      await using place = new DeletePlace();
      const bundle = place.bundle("a");
      writeFileSync(join(bundle, "options.json"), "{");
      const { exitCode, stderr } = await place.delete("a");
      expect(exitCode).toBe(0);
      expect(stderr).toStartWith(`Cannot parse ${bundle}/options.json: `);
    },
    TIMEOUT_MS,
  );

  test(
    "unmounts what is left in the rootfs",
    async () => {
      await using place = new DeletePlace();
      const bundle = place.prepare("a");
      const rootfs = join(bundle, "rootfs");
      mkdirSync(rootfs);
      expect(Bun.spawnSync(["mount", "-t", "tmpfs", "wedge", rootfs]).success).toBe(true);
      mkdirSync(join(rootfs, "sub"));
      expect(Bun.spawnSync(["mount", "-t", "tmpfs", "wedge", join(rootfs, "sub")]).success).toBe(
        true,
      );
      expect((await place.delete("a")).stderr).toBe("");
      expect(listMountsBelow(bundle)).toEqual([]);
      expect(existsSync(rootfs)).toBe(true);
    },
    TIMEOUT_MS,
  );

  test(
    "removes the socket of a dead shim, and not that of a live one",
    async () => {
      await using place = new DeletePlace();
      const bundle = place.prepare("a");
      const socket = join(place.path, "socket");
      const listener = claimListener(socket);
      if (listener === "taken") throw new Error("nobody was there");
      writeFileSync(join(bundle, "address"), `unix://${socket}`);
      await place.delete("a");
      expect(isListening(socket)).toBe(true);
      listener[Symbol.dispose]();
      expect((await place.delete("a")).exitCode).toBe(0);
      expect(existsSync(socket)).toBe(false);
    },
    TIMEOUT_MS,
  );
});

describe("delete of a container that runs", () => {
  test(
    "kills it and removes it from runc, at once",
    async () => {
      await using place = new DeletePlace();
      using bundle = makeBundle({ parent: place.path, id: "a", script: "sleep 300" });
      place.useRuntime(bundle.path);
      const root = join(place.root, place.namespace);
      const pidFile = join(bundle.path, "init.pid");
      const runc = (...args: string[]) =>
        Bun.spawnSync(["runc", "--root", root, ...args], { stdio: ["ignore", "ignore", "ignore"] });
      expect(runc("run", "-d", "--bundle", bundle.path, "--pid-file", pidFile, "a").success).toBe(
        true,
      );
      const pid = Number(readFileSync(pidFile, "utf8"));
      const { exitCode, stderr, answer } = await place.delete("a");
      expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: "" });
      expect(answer).toMatchObject({ pid, exitStatus: 137 });
      expect(existsSync(join(root, "a"))).toBe(false);
      expect(readOrEmpty(`/proc/${pid}/stat`)).not.toMatch(/\) [^ZX]/);
    },
    TIMEOUT_MS,
  );

  const definitions: readonly ServiceDefinition[] = [TaskV2Definition, TaskV3Definition];
  test.each(definitions.map((definition) => [definition.fullName, definition] as const))(
    "is refused while a live shim answers for it (%s)",
    async (_name, definition) => {
      await using place = new DeletePlace();
      const bundle = place.prepare("a", `touch ${place.path}/was-called`);
      using init = startInit();
      place.noteState("a", init.pid);
      const service = stateService(definition, () => RUNNING);
      await using _shim = serveState(bundle, join(place.path, "socket"), service);
      const { exitCode, stdout, stderr } = await place.delete("a");
      expect(exitCode).toBe(1);
      expect(stdout).toHaveLength(0);
      expect(stderr).toContain("Cannot delete task a: a live shim still answers for it at ");
      expect(existsSync(join(place.path, "was-called"))).toBe(false);
      expect(init.isAlive()).toBe(true);
    },
    TIMEOUT_MS,
  );

  test.each<[string, (id: string) => number]>([
    [
      "knows no such task",
      (id) => {
        throw new ShimError("notFound", `container not created: ${id}`);
      },
    ],
    ["says that it has stopped", () => STOPPED],
  ])(
    "goes on when the live shim of its group %s",
    async (_name, status) => {
      await using place = new DeletePlace();
      const bundle = place.prepare("a", `touch ${place.path}/was-called`);
      using init = startInit();
      place.noteState("a", init.pid);
      const service = stateService(TaskV3Definition, status);
      await using _shim = serveState(bundle, join(place.path, "socket"), service);
      const { exitCode, stderr } = await place.delete("a");
      expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: "" });
      expect(existsSync(join(place.path, "was-called"))).toBe(true);
      await init.exited;
    },
    TIMEOUT_MS,
  );

  test(
    "of a pod finds the live shim by what containerd has noted",
    async () => {
      await using place = new DeletePlace();
      const bundle = place.prepare("a", "exit 0");
      using init = startInit();
      place.noteState("a", init.pid);
      const socket = join(place.path, "socket");
      const service = stateService(TaskV3Definition, () => RUNNING);
      await using _shim = serveState(bundle, socket, service);
      rmSync(join(bundle, "address"));
      const noted = { version: 3, address: `unix://${socket}`, protocol: "ttrpc" };
      writeFileSync(join(bundle, "bootstrap.json"), JSON.stringify(noted));
      expect((await place.delete("a")).exitCode).toBe(1);
      expect(init.isAlive()).toBe(true);
    },
    TIMEOUT_MS,
  );

  test(
    "a process that has only its pid is not killed",
    async () => {
      await using place = new DeletePlace();
      place.prepare("a", "exit 0");
      using stranger = startInit();
      place.noteState("a", stranger.pid);
      const path = join(place.root, place.namespace, "a/state.json");
      const state = { init_process_pid: stranger.pid, init_process_start: 1 };
      writeFileSync(path, JSON.stringify(state));
      expect((await place.delete("a")).exitCode).toBe(0);
      expect(stranger.isAlive()).toBe(true);
    },
    TIMEOUT_MS,
  );
});

interface FakeInit extends Disposable {
  readonly pid: number;
  readonly exited: Promise<number>;
  isAlive(): boolean;
}

/** A process to be taken for a container's init. */
function startInit(): FakeInit {
  const child = Bun.spawn(["sleep", "300"], { stdio: ["ignore", "ignore", "ignore"] });
  return {
    pid: child.pid,
    exited: child.exited,
    isAlive: () => child.exitCode === null && child.signalCode === null,
    [Symbol.dispose]: () => child.kill("SIGKILL"),
  };
}

function readOrEmpty(path: string): string {
  return existsSync(path) ? readFileSync(path, "utf8") : "";
}
