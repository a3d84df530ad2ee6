import { describe, expect, test } from "bun:test";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmdirSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import {
  BootstrapParams,
  BootstrapResult,
} from "../../../src/gen/containerd/runtime/bootstrap/v1/bootstrap.ts";
import { Options } from "../../../src/gen/containerd/types/runc/options/oci.ts";
import { Any } from "../../../src/gen/google/protobuf/any.ts";
import { isListening } from "../../../src/linux/listener.ts";
import { daemonsOf, killDaemons, openedBy, Place, runShim, until } from "../shim-process.ts";

const TIMEOUT_MS = 30_000;
const ID_RULE = 'it takes 1 to 200 letters, digits and "_.+-", a letter, a digit or "_" first';

function sha256(text: string): string {
  return new Bun.CryptoHasher("sha256").update(text).digest("hex");
}

/** What containerd 2.3 writes to stdin. */
function bootstrap(place: Place, id: string, changes: Partial<BootstrapParams> = {}): Uint8Array {
  return BootstrapParams.encode({
    instanceId: id,
    namespace: place.namespace,
    logLevel: 0,
    containerdVersion: "2.3.0",
    containerdTtrpcAddress: join(place.path, "t.sock"),
    containerdGrpcAddress: place.grpcAddress,
    containerdBinary: "/usr/bin/containerd",
    extensions: [],
    socketDir: place.socketDirectory,
    ...changes,
  }).finish();
}

function optionsAny(options: Partial<Options>): Any {
  const value = Options.encode({ ...Options.decode(new Uint8Array(0)), ...options }).finish();
  return { typeUrl: "containerd.runc.v1.Options", value };
}

function socketOf(answer: string): string {
  return answer.replace(/^unix:\/\//, "");
}

function modeOf(path: string): number {
  return statSync(path).mode & 0o777;
}

/** Nothing of a start that failed is left. */
async function expectNothingLeft(place: Place, id: string): Promise<void> {
  await until(() => daemonsOf(place.namespace).length === 0);
  expect(readdirSync(join(place.path, id)).filter((file) => file !== "config.json")).toEqual([]);
  if (existsSync(place.socketDirectory)) expect(readdirSync(place.socketDirectory)).toEqual([]);
  const name = sha256(join(place.grpcAddress, place.namespace, id));
  expect(existsSync(`/run/containerd/s/${name}`)).toBe(false);
}

describe("start", () => {
  test(
    "containerd 1.6 gets a plain address, the digest of its socket, namespace and id",
    async () => {
      await using place = new Place();
      place.bundle("a");
      const run = await place.start("a");
      const name = sha256(`${place.grpcAddress}/${place.namespace}/a`);
      expect(run).toMatchObject({ exitCode: 0, stderr: "" });
      expect(run.stdout.toString()).toBe(`unix:///run/containerd/s/${name}`);
      expect(readFileSync(join(place.path, "a/address"), "utf8")).toBe(run.stdout.toString());
    },
    TIMEOUT_MS,
  );

  test.each([
    ["2", 2],
    ["3", 3],
  ])(
    "a manager that takes version %s at most gets JSON",
    async (maximum, version) => {
      await using place = new Place();
      place.bundle("a");
      const env = { MAX_SHIM_VERSION: maximum, NAMESPACE: place.namespace };
      const { stdout, exitCode } = await place.start("a", { env });
      const name = sha256(`${place.grpcAddress}/${place.namespace}/a`);
      expect(exitCode).toBe(0);
      expect(stdout.toString()).toBe(
        `{"version":${version},"address":"unix:///run/containerd/s/${name}","protocol":"ttrpc"}`,
      );
    },
    TIMEOUT_MS,
  );

  test(
    "containerd 2.3 gets a BootstrapResult, and its socket in the directory that it names",
    async () => {
      await using place = new Place();
      place.bundle("a");
      const { stdout, exitCode } = await place.start("a", { stdin: bootstrap(place, "a") });
      const name = sha256(`${place.grpcAddress}/${place.namespace}/a`);
      const address = `unix://${place.socketDirectory}/${name}`;
      expect(exitCode).toBe(0);
      expect(BootstrapResult.decode(stdout)).toMatchObject({
        version: 3,
        address,
        protocol: "ttrpc",
      });
      expect(modeOf(place.socketDirectory)).toBe(0o700);
      expect(modeOf(socketOf(address))).toBe(0o600);
      expect(isListening(socketOf(address))).toBe(true);
    },
    TIMEOUT_MS,
  );

  test(
    "the daemon leads a process group, has no descriptor but its own, and the engine set up as we want it",
    async () => {
      await using place = new Place();
      const bundle = place.bundle("a");
      expect(Bun.spawnSync(["mkfifo", join(bundle, "log")]).success).toBe(true);
      await place.start("a", {
        stdin: bootstrap(place, "a"),
        env: {
          BUN_RUNTIME_TRANSPILER_CACHE_PATH: "0",
          BUN_JSC_useConcurrentJIT: "1",
          NODE_OPTIONS: "--no-warnings",
          NOTIFY_SOCKET: "/run/systemd/notify",
          LISTEN_FDS: "1",
          LD_LIBRARY_PATH: "/nowhere/lib:",
          KEPT: "yes",
        },
      });
      const [pid = 0] = daemonsOf(place.namespace);
      const link = (fd: number) => readlinkSync(`/proc/${pid}/fd/${fd}`);
      expect([link(0), link(1), link(2)]).toEqual(["/dev/null", "/dev/null", join(bundle, "log")]);
      await until(() => !openedBy(pid).some((target) => target.startsWith("pipe:")));
      expect(openedBy(pid).filter((target) => target.startsWith("socket:")).length).toBeGreaterThan(
        0,
      );
      const stat = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1]?.split(" ") ?? [];
      expect(Number(stat[2])).toBe(pid); // Process group.
      expect(readlinkSync(`/proc/${pid}/cwd`)).toBe(bundle);
      const environment = readFileSync(`/proc/${pid}/environ`, "utf8").split("\0");
      expect(environment).toContain("KEPT=yes");
      expect(environment).toContain("LD_LIBRARY_PATH=/nowhere/lib");
      const dropped = /^(BUN_(?!JSC_|GC_)|NODE_OPTIONS|NOTIFY_SOCKET|LISTEN_)/;
      expect(environment.filter((entry) => dropped.test(entry))).toEqual([]);
      const compilers = environment.filter((entry) =>
        entry.startsWith("BUN_JSC_useConcurrentJIT="),
      );
      expect(compilers).toEqual(["BUN_JSC_useConcurrentJIT=0"]);
      const words = readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0");
      expect(words.slice(words.indexOf("-namespace"), -1)).toEqual([
        ...["-namespace", place.namespace, "-id", "a", "-address", place.grpcAddress],
      ]);
    },
    TIMEOUT_MS,
  );

  test(
    "the daemon is a little more likely to be killed for memory than its manager",
    async () => {
      await using place = new Place();
      place.bundle("a");
      await place.start("a", { stdin: bootstrap(place, "a") });
      const [pid = 0] = daemonsOf(place.namespace);
      const own = Number(readFileSync("/proc/self/oom_score_adj", "utf8"));
      const score = Number(readFileSync(`/proc/${pid}/oom_score_adj`, "utf8"));
      expect(score).toBe(Math.min(own + 1, 1000));
    },
    TIMEOUT_MS,
  );

  test(
    "the daemon does without huge pages, and is told what its children are to have",
    async () => {
      await using place = new Place();
      place.bundle("a");
      await place.start("a", { stdin: bootstrap(place, "a") });
      const [pid = 0] = daemonsOf(place.namespace);
      expect(readFileSync(`/proc/${pid}/status`, "utf8")).toContain("THP_enabled:\t0\n");
      const environment = readFileSync(`/proc/${pid}/environ`, "utf8").split("\0");
      expect(environment).toContain("WEDGE_CHILD_HUGE_PAGES=true");
    },
    TIMEOUT_MS,
  );

  test.each(["io.containerd.runc.v2.group", "io.kubernetes.cri.sandbox-id"])(
    "tasks of one %s share a shim",
    async (annotation) => {
      await using place = new Place();
      place.bundle("pod", { [annotation]: "pod" });
      place.bundle("b", { [annotation]: "pod" });
      const first = await place.start("pod");
      const second = await place.start("b");
      expect(second.stdout.toString()).toBe(first.stdout.toString());
      expect(readFileSync(join(place.path, "b/address"), "utf8")).toBe(first.stdout.toString());
      expect(daemonsOf(place.namespace)).toHaveLength(1);
    },
    TIMEOUT_MS,
  );

  test(
    "of tasks that start at once in one group, exactly one makes the shim",
    async () => {
      await using place = new Place();
      const ids = ["a", "b", "c", "d", "e", "f"];
      for (const id of ids) place.bundle(id, { "io.containerd.runc.v2.group": "g" });
      const runs = await Promise.all(ids.map((id) => place.start(id)));
      expect(new Set(runs.map(({ stdout }) => stdout.toString())).size).toBe(1);
      expect(runs.map(({ exitCode }) => exitCode)).toEqual(ids.map(() => 0));
      expect(daemonsOf(place.namespace)).toHaveLength(1);
    },
    TIMEOUT_MS,
  );

  test(
    "a socket whose shim was killed is replaced",
    async () => {
      await using place = new Place();
      place.bundle("a");
      const first = await place.start("a");
      await killDaemons(place.namespace);
      const path = socketOf(first.stdout.toString());
      expect(existsSync(path)).toBe(true);
      // The last thread of a killed process closes its descriptors, a moment after the first is dead.
      await until(() => !isListening(path));
      const second = await place.start("a");
      expect(second).toMatchObject({ exitCode: 0, stderr: "" });
      expect(isListening(path)).toBe(true);
      expect(daemonsOf(place.namespace)).toHaveLength(1);
    },
    TIMEOUT_MS,
  );

  test(
    "the daemon is moved to the cgroup that the options name",
    async () => {
      const root = existsSync("/sys/fs/cgroup/cgroup.controllers") ? "" : "pids";
      const name = `wedge-test-${process.pid}`;
      const directory = join("/sys/fs/cgroup", root, name);
      mkdirSync(directory);
      try {
        await using place = new Place();
        place.bundle("a");
        const extensions = [{ value: optionsAny({ shimCgroup: `/${name}` }) }];
        const run = await place.start("a", { stdin: bootstrap(place, "a", { extensions }) });
        expect(run).toMatchObject({ exitCode: 0, stderr: "" });
        const [pid = 0] = daemonsOf(place.namespace);
        expect(readFileSync(`/proc/${pid}/cgroup`, "utf8")).toContain(`:/${name}\n`);
      } finally {
        await until(() => readFileSync(join(directory, "cgroup.procs"), "utf8") === "");
        rmdirSync(directory);
      }
    },
    TIMEOUT_MS,
  );

  test(
    "core scheduling is granted, or refused with nothing left behind where there is none",
    async () => {
      await using place = new Place();
      place.bundle("a");
      const env = { SCHED_CORE: "1" };
      const run = await place.start("a", { stdin: bootstrap(place, "a"), env });
      if (run.exitCode === 0) return expect(daemonsOf(place.namespace)).toHaveLength(1);
      expect(run.stderr).toStartWith("containerd-shim-wedge-v2: prctl(PR_SCHED_CORE): ");
      await expectNothingLeft(place, "a");
    },
    TIMEOUT_MS,
  );

  test(
    "a socket that cannot be made leaves nothing behind",
    async () => {
      await using place = new Place();
      place.bundle("a");
      writeFileSync(place.socketDirectory, "a file, no directory");
      chmodSync(place.socketDirectory, 0o600);
      const run = await place.start("a", { stdin: bootstrap(place, "a") });
      expect(run.exitCode).toBe(1);
      expect(run.stdout.length).toBe(0);
      expect(daemonsOf(place.namespace)).toEqual([]);
      expect(readdirSync(join(place.path, "a"))).toEqual(["config.json"]);
    },
    TIMEOUT_MS,
  );
});

describe("start refuses in one line, and leaves nothing behind,", () => {
  const cgroup = (place: Place) => Any.encode(optionsAny({ shimCgroup: `/no-${place.namespace}` }));
  test.each<[string, (place: Place) => Uint8Array, string]>([
    [
      "garbage",
      () => Buffer.from("\xff\xff\xff", "latin1"),
      "Cannot decode the runtime options on stdin: ",
    ],
    ["bytes without a type", () => Uint8Array.of(0x18, 1), "2 bytes without a type"],
    [
      "options of an unknown type",
      () => Any.encode({ typeUrl: "x.Y", value: new Uint8Array(0) }).finish(),
      "Cannot use runtime options of type x.Y",
    ],
    [
      "parameters for another task",
      (place) => bootstrap(place, "b"),
      "Cannot use the bootstrap parameters on stdin: they are for task b of namespace",
    ],
    [
      "a socket directory that is too long",
      (place) => bootstrap(place, "a", { socketDir: `/tmp/${"d".repeat(60)}` }),
      "130 bytes where 107 are the limit; choose a shorter socket directory",
    ],
    ["a cgroup that does not exist", (place) => cgroup(place).finish(), "there is no such cgroup"],
  ])(
    "%s",
    async (_name, stdin, text) => {
      await using place = new Place();
      place.bundle("a");
      const run = await place.start("a", { stdin: stdin(place) });
      expect(run.exitCode).toBe(1);
      expect(run.stdout.length).toBe(0);
      expect(run.stderr).toStartWith("containerd-shim-wedge-v2: ");
      expect(run.stderr).toContain(text);
      expect(run.stderr).not.toContain("\n");
      await expectNothingLeft(place, "a");
    },
    TIMEOUT_MS,
  );

  test(
    "a bundle without config.json",
    async () => {
      await using place = new Place();
      mkdirSync(join(place.path, "a"));
      const run = await place.start("a");
      expect(run.exitCode).toBe(1);
      expect(run.stderr).toContain(`Cannot read ${place.path}/a/config.json`);
      await expectNothingLeft(place, "a");
    },
    TIMEOUT_MS,
  );

  test.each([
    [["start"], "shim namespace cannot be empty"],
    [["delete"], "shim namespace cannot be empty"],
    [["-namespace", "n", "start"], "Cannot act on a task without an id: use -id"],
    [["-namespace", "n", "-id", "../x", "start"], `Cannot use the id "../x": ${ID_RULE}`],
    [["-namespace", "n", "-id", "a b", "start"], `Cannot use the id "a b": ${ID_RULE}`],
    [["-namespace", "..", "-id", "x", "start"], `Cannot use the namespace "..": ${ID_RULE}`],
  ])(
    "%j",
    async (args, text) => {
      const run = await runShim(args, { cwd: "/" });
      expect(run.exitCode).toBe(1);
      expect(run.stdout.length).toBe(0);
      expect(run.stderr).toBe(`containerd-shim-wedge-v2: ${text}`);
    },
    TIMEOUT_MS,
  );
});
