/** The whole life of containers with real runtimes, as root. */

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Child, Children, type Exit } from "../../src/linux/children.ts";
import { openFd } from "../../src/linux/fd.ts";
import { Poller } from "../../src/linux/poller.ts";
import { becomeSubreaper } from "../../src/linux/self.ts";
import { Runc } from "../../src/runtime/runc.ts";
import { type Bundle, type BundleOptions, makeBundle } from "../fake/bundle.ts";
import { failureOf, NO_STDIO } from "../fake/runc-script.ts";

const SIGKILL = 9;
const SIGTERM = 15;
const O_RDWR_CREAT = 0o102;
const TIMEOUT_MS = 60_000;

const poller = new Poller();
const children = new Children({ poller, reapStrays: true });
const root = mkdtempSync(join(tmpdir(), "life-test-"));

beforeAll(becomeSubreaper);

afterAll(() => {
  children[Symbol.dispose]();
  poller[Symbol.dispose]();
  rmSync(root, { recursive: true, force: true });
});

interface Fixture extends AsyncDisposable {
  readonly runtime: Runc;
  readonly bundle: Bundle;
  readonly id: string;
  create(): Promise<Child>;
  exec(script: string, stdio?: readonly [undefined, number, number]): Promise<Child>;
  /** What our calls have left in the bundle. */
  leftovers(): readonly string[];
}

function open(command: string, options: BundleOptions): Fixture {
  const bundle = makeBundle(options);
  const { id, path } = bundle;
  const runtime = new Runc(
    {
      command,
      root: join(root, "ns"),
      systemdCgroup: false,
      bundle: path,
      environment: ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
    },
    { children },
  );
  let execCount = 0;
  return {
    runtime,
    bundle,
    id,
    create: async () => {
      using _hold = children.hold();
      const pid = await runtime.create(id, {
        pidFile: join(path, "init.pid"),
        ...{ noPivot: false, noNewKeyring: false, stdio: NO_STDIO },
      });
      return children.adopt(pid);
    },
    exec: async (script, stdio) => {
      using _hold = children.hold();
      const processJson = JSON.stringify({
        user: { uid: 0, gid: 0 },
        args: ["sh", "-c", script],
        env: ["PATH=/bin"],
        cwd: "/",
      });
      const pidFile = join(path, `exec${++execCount}.pid`);
      const request = { processJson, pidFile, stdio: stdio ?? NO_STDIO };
      return children.adopt(await runtime.exec(id, request));
    },
    leftovers: () => readdirSync(path).filter((name) => name.startsWith("runtime-")),
    [Symbol.asyncDispose]: async () => {
      await runtime.delete(id, { force: true });
      bundle[Symbol.dispose]();
    },
  };
}

/** Both runtimes record their cgroups late: killed before, they do not know what to remove. */
function removeCgroups(name: string): void {
  const mounts = readdirSync("/sys/fs/cgroup", { withFileTypes: true });
  for (const { name: mount } of mounts.filter((entry) => entry.isDirectory())) {
    const path = join("/sys/fs/cgroup", mount, name);
    if (existsSync(path)) rmdirSync(path);
  }
  const unified = join("/sys/fs/cgroup", name);
  if (existsSync(unified)) rmdirSync(unified);
}

function commandLineOf(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, "utf8");
  } catch {
    return ""; // Gone meanwhile.
  }
}

const statusOf = async (exited: Promise<Exit>) => (await exited).status;

const CRUN = join(import.meta.dir, "../fake/crun");

describe.each([
  { name: "runc", command: "runc" },
  { name: "crun", command: CRUN },
])("with $name", ({ command }) => {
  test(
    "a container is created, started, looked into, frozen, limited, killed and deleted",
    async () => {
      await using box = open(command, {
        script: "trap 'exit 3' TERM; while :; do sleep 0.05; done",
      });
      const { runtime, id } = box;
      const init = await box.create();
      expect(readFileSync(join(box.bundle.path, "init.pid"), "utf8").trim()).toBe(String(init.pid));
      await runtime.start(id);

      const output = join(box.bundle.path, "output");
      using out = openFd(output, O_RDWR_CREAT, 0o600);
      const exec = await box.exec("echo to stdout; exit 42", [undefined, out.fd, out.fd]);
      expect(await statusOf(exec.exited)).toBe(42);
      expect(readFileSync(output, "utf8")).toBe("to stdout\n");

      await runtime.pause(id);
      await runtime.resume(id);
      await runtime.update(id, Buffer.from(JSON.stringify({ cpu: { shares: 512 } })));

      await runtime.kill(id, SIGTERM, { all: false });
      expect(await statusOf(init.exited)).toBe(3);
      const late = await failureOf(runtime.kill(id, SIGKILL, { all: false }));
      expect(late).toMatchObject({ kind: "processFinished", reason: "notFound" });
      await runtime.delete(id, { force: false });
      const gone = await failureOf(runtime.kill(id, SIGKILL, { all: false }));
      expect(gone).toMatchObject({ kind: "containerNotFound", reason: "notFound" });
      expect((await failureOf(runtime.delete(id, { force: false }))).kind).toBe(
        "containerNotFound",
      );
      expect((await failureOf(runtime.start(id))).kind).toBe("containerNotFound");
      expect(box.leftovers()).toEqual([]);
    },
    TIMEOUT_MS,
  );

  test(
    "an exit in the instant of the start is seen",
    async () => {
      await using box = open(command, { args: ["sh", "-c", "exit 7"] });
      const init = await box.create();
      await box.runtime.start(box.id);
      expect(await statusOf(init.exited)).toBe(7);
    },
    TIMEOUT_MS,
  );

  test(
    "a container that was never started is killed and deleted by force",
    async () => {
      await using box = open(command, { args: ["true"] });
      const init = await box.create();
      await box.runtime.delete(box.id, { force: true });
      expect(await statusOf(init.exited)).toBe(128 + SIGKILL);
    },
    TIMEOUT_MS,
  );

  test(
    "a program that is not there makes create fail in the runtime's words, and nothing is left",
    async () => {
      await using box = open(command, { args: ["/no/such/program"] });
      const error = await failureOf(box.create());
      expect(error.message).toStartWith("OCI runtime create failed: ");
      expect(error.message).toContain("/no/such/program");
      expect(error.message).toMatch(/no such file or directory|executable file .* not found/i);
      expect(box.leftovers()).toEqual([]);
      expect(readdirSync(join(root, "ns"))).not.toContain(box.id);
    },
    TIMEOUT_MS,
  );

  test(
    "an exec that fails speaks in the runtime's words; in an ended container it is notRunning",
    async () => {
      await using box = open(command, { args: ["sleep", "1000"] });
      const init = await box.create();
      await box.runtime.start(box.id);
      const processJson = JSON.stringify({ args: ["/no/such"], cwd: "/", user: {}, env: [] });
      const request = { processJson, pidFile: join(box.bundle.path, "e.pid"), stdio: NO_STDIO };
      const error = await failureOf(box.runtime.exec(box.id, request));
      expect(error.message).toStartWith("OCI runtime exec failed: ");
      expect(error.message).toContain("/no/such");
      init.signal(SIGKILL);
      await init.exited;
      const late = await failureOf(box.runtime.exec(box.id, request));
      expect(late.kind).toBe("notRunning");
      expect(box.leftovers()).toEqual([]);
    },
    TIMEOUT_MS,
  );

  test(
    "a create that hangs in a hook is killed at its deadline; delete by force leaves but empty cgroups",
    async () => {
      const createRuntime = [{ path: "/bin/sleep", args: ["sleep", "1000"] }];
      await using box = open(command, { config: { hooks: { createRuntime } } });
      const request = { noPivot: false, noNewKeyring: false, stdio: NO_STDIO, timeoutMs: 2_000 };
      const pidFile = join(box.bundle.path, "init.pid");
      const error = await failureOf(box.runtime.create(box.id, { ...request, pidFile }));
      expect(error).toMatchObject({ kind: "timeout", reason: "deadlineExceeded" });
      await box.runtime.delete(box.id, { force: true });
      expect(readdirSync(join(root, "ns"))).not.toContain(box.id);
      expect(box.leftovers()).toEqual([]);
      const isOurs = (pid: string) => commandLineOf(pid).includes(box.id);
      const running = () =>
        readdirSync("/proc").filter((entry) => /^\d+$/.test(entry) && isOurs(entry));
      while (running().length > 0) await Bun.sleep(5);
      expect(running()).toEqual([]);
      removeCgroups(box.id); // Throws if one is not empty.
    },
    TIMEOUT_MS,
  );

  test(
    "update refuses garbage in the runtime's words",
    async () => {
      await using box = open(command, { args: ["sleep", "1000"] });
      await box.create();
      const error = await failureOf(box.runtime.update(box.id, Buffer.from("garbage")));
      expect(error.runtimeMessage).toMatch(/invalid character|cannot parse/);
    },
    TIMEOUT_MS,
  );
});

test("runc tells its features as JSON; a crun of before 1.8.6 refuses", async () => {
  using bundle = makeBundle({ rootfs: "empty" });
  const environment = ["PATH=/usr/bin:/usr/sbin:/bin:/sbin"];
  const options = { root, systemdCgroup: false, bundle: bundle.path, environment };
  const runc = new Runc({ ...options, command: "runc" }, { children });
  expect(JSON.parse(await runc.features())).toHaveProperty("ociVersionMin");
  const crun = new Runc({ ...options, command: CRUN }, { children });
  const answer = await crun.features().catch((error: Error) => error);
  if (answer instanceof Error) expect(answer.message).toContain("unknown command features");
  else expect(JSON.parse(answer)).toHaveProperty("ociVersionMin");
});
