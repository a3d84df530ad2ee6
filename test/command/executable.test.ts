/** What only the compiled executable can show: what it opens, what it is called, what signals do to it. */

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import {
  chmodSync,
  chownSync,
  copyFileSync,
  existsSync,
  mkdtempSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { isListening } from "../../src/linux/listener.ts";
import { connectBun } from "../../src/rpc/ttrpc/bun.ts";
import { buildExecutable, executable } from "../compiled.ts";
import { daemonsOf, Place, readOr, runShim, until } from "./shim-process.ts";

const TIMEOUT_MS = 60_000;
const directory = mkdtempSync(join(tmpdir(), "wedge-"));
const traceFile = join(directory, "trace");
const NOBODY = 65_534;
const wasTraced = Bun.which("strace") !== null;

beforeAll(buildExecutable, TIMEOUT_MS);

afterAll(() => rmSync(directory, { recursive: true }));

/** Listening TCP sockets that `pid` has: a debugger's, if any. */
function tcpListenersOf(pid: number): readonly string[] {
  const inodes = new Set(
    ["tcp", "tcp6"].flatMap((table) =>
      readFileSync(`/proc/${pid}/net/${table}`, "utf8")
        .split("\n")
        .map((line) => line.trim().split(/\s+/))
        .filter((fields) => fields[3] === "0A")
        .map((fields) => `socket:[${fields[9]}]`),
    ),
  );
  const { stdout } = Bun.spawnSync(["ls", `/proc/${pid}/fd`]);
  return stdout
    .toString()
    .trim()
    .split("\n")
    .map((fd) => {
      try {
        return readlinkSync(`/proc/${pid}/fd/${fd}`);
      } catch {
        return ""; // Closed meanwhile.
      }
    })
    .filter((target) => inodes.has(target));
}

const SIGUSR1_BIT = 1n << 9n;

/** A set of signals in /proc/PID/status. */
function signalSet(pid: number, name: string): bigint {
  const [, set = "0"] =
    new RegExp(`^${name}:\\s*([0-9a-f]+)$`, "m").exec(readOr(`/proc/${pid}/status`, "")) ?? [];
  return BigInt(`0x${set}`);
}

describe("the compiled executable", () => {
  test(
    "starts under any name and from any place, and its daemon is it",
    async () => {
      await using place = new Place();
      place.bundle("a");
      const copy = join(place.path, "containerd-shim-runc-v2");
      copyFileSync(executable, copy);
      const run = await place.start("a", { program: [copy] });
      expect(run).toMatchObject({ exitCode: 0, stderr: "" });
      const [pid = 0] = daemonsOf(place.namespace);
      expect(readlinkSync(`/proc/${pid}/exe`)).toBe(copy);
      expect(readOr(`/proc/${pid}/cmdline`, "").split("\0")).toEqual([
        ...[copy, "-namespace", place.namespace, "-address", place.grpcAddress, "-id", "a", ""],
      ]);
    },
    TIMEOUT_MS,
  );

  test(
    "ends when its bundle is removed before there was a container, whoever is connected",
    async () => {
      await using place = new Place();
      const bundle = place.bundle("a");
      const run = await place.start("a", { program: [executable] });
      const socket = run.stdout.toString().trim().replace("unix://", "");
      const client = await connectBun({ unix: socket });
      rmSync(bundle, { recursive: true });
      await client.closed;
      await until(() => daemonsOf(place.namespace).length === 0);
      expect(existsSync(socket)).toBe(false);
    },
    TIMEOUT_MS,
  );

  test(
    "under the name shim it is the debugging command",
    async () => {
      const link = join(directory, "shim");
      symlinkSync(executable, link);
      const { stderr, stdout } = await runShim(["-namespace"], { cwd: "/", program: [link] });
      expect(stderr + stdout.toString()).not.toContain("flag needs an argument");
    },
    TIMEOUT_MS,
  );

  test.if(wasTraced)(
    "neither command nor daemon opens anything in the bundle that could change what they do",
    async () => {
      await using place = new Place();
      const bundle = place.bundle("a");
      const poison = "console.log('poisoned')";
      writeFileSync(join(bundle, ".env"), "BUN_OPTIONS=--nonsense\n");
      writeFileSync(join(bundle, "bunfig.toml"), 'preload = ["./poison.ts"]\n');
      writeFileSync(join(bundle, "poison.ts"), poison);
      writeFileSync(join(bundle, "package.json"), "{ broken");
      writeFileSync(join(bundle, "tsconfig.json"), "{ broken");
      const strace = ["strace", "-f", "-e", "trace=open,openat,openat2", "-o", traceFile];
      // strace ends when the daemon does, so the daemon is not to outlive the test's patience.
      const flags = ["-namespace", place.namespace, "-address", place.grpcAddress, "-id", "a"];
      for (const args of [[...flags, "delete"], ["-v"], ["-info"]]) {
        const run = await runShim(args, { cwd: bundle, program: [...strace, executable] });
        expect(run.exitCode).toBe(0);
        expect(run.stderr).toBe("");
        expectNoneOpened(bundle);
      }
      const tracer = Bun.spawn([...strace, executable, ...flags, "start"], {
        cwd: bundle,
        stdio: ["ignore", "pipe", "ignore"],
      });
      const reader = tracer.stdout.getReader();
      await reader.read();
      reader.releaseLock();
      // A process that has just been spawned has no command line for a moment.
      await until(() => daemonsOf(place.namespace).length > 0);
      for (const pid of daemonsOf(place.namespace)) process.kill(pid, "SIGTERM");
      await tracer.exited;
      expectNoneOpened(bundle);
      rmSync(join(bundle, "address"), { force: true });
    },
    TIMEOUT_MS,
  );

  test(
    "a daemon ends by SIGTERM, however early it comes",
    async () => {
      await using place = new Place();
      const cwd = place.bundle("a");
      const socket = join(place.path, "socket");
      const flags = ["-namespace", place.namespace, "-id", "a", "-socket", socket];
      const endAfter = async (begun: () => Promise<unknown>) => {
        const daemon = Bun.spawn([executable, ...flags], { cwd, stdio: ["ignore", null, null] });
        await begun();
        daemon.kill("SIGTERM");
        await daemon.exited;
        rmSync(socket, { force: true });
        return daemon.signalCode ?? daemon.exitCode;
      };
      const ends = new Set<string | number | null>();
      for (let delayMs = 0; delayMs < 30; delayMs += 0.5)
        ends.add(await endAfter(() => Bun.sleep(delayMs)));
      // Before it heeds the signal it has nothing to let go of.
      expect([...ends].filter((end) => end !== 0 && end !== "SIGTERM")).toEqual([]);
      expect(await endAfter(() => until(() => isListening(socket)))).toBe(0);
    },
    TIMEOUT_MS,
  );

  test(
    "a daemon outlives signals that mean nothing to it",
    async () => {
      await using place = new Place();
      const socket = join(place.path, "socket");
      const flags = ["-namespace", place.namespace, "-id", "a", "-socket", socket];
      const stdio: ["ignore", null, null] = ["ignore", null, null];
      const daemon = Bun.spawn([executable, ...flags], { cwd: place.bundle("a"), stdio });
      await until(() => isListening(socket));
      const idle = ["SIGUSR1", "SIGUSR2", "SIGPIPE", "SIGALRM", "SIGVTALRM", "SIGPROF"] as const;
      for (const signal of [...idle, "SIGIO", "SIGXCPU"] as const) daemon.kill(signal);
      await Bun.sleep(100);
      expect([daemon.exitCode, daemon.signalCode]).toEqual([null, null]);
      daemon.kill("SIGTERM");
      expect(await daemon.exited).toBe(0);
    },
    TIMEOUT_MS,
  );

  test.skipIf(!wasTraced)(
    "a daemon that fails after its answer leaves neither socket nor address",
    async () => {
      await using place = new Place();
      const bundle = place.bundle("a");
      const faults = ["-e", "trace=signalfd4", "-e", "inject=signalfd4:error=EMFILE:when=1"];
      const program = ["strace", "-f", "-o", "/dev/null", ...faults, executable];
      const flags = ["-namespace", place.namespace, "-address", place.grpcAddress, "-id", "a"];
      const run = await runShim([...flags, "start"], { cwd: bundle, program });
      const [socket] = /(?<=unix:\/\/)\/[^\s"]+/.exec(run.stdout.toString()) ?? [];
      expect(socket).toBeDefined();
      await until(() => daemonsOf(place.namespace).length === 0);
      expect(existsSync(socket ?? "")).toBe(false);
      expect(existsSync(join(bundle, "address"))).toBe(false);
    },
    TIMEOUT_MS,
  );

  test(
    "a daemon's memory and /proc directory are closed to other processes of its user",
    async () => {
      await using place = new Place();
      chownSync(place.path, NOBODY, NOBODY);
      chmodSync(place.path, 0o700);
      const program = ["setpriv", `--reuid=${NOBODY}`, `--regid=${NOBODY}`, "--clear-groups"];
      const flags = ["-namespace", place.namespace, "-id", "a"];
      const daemon = Bun.spawn(
        [...program, copyForAll(), ...flags, "-socket", join(place.path, "socket")],
        { cwd: place.path, stdio: ["ignore", "ignore", "ignore"] },
      );
      await until(() => existsSync(join(place.path, "socket")));
      // The kernel gives the files to root that nobody else may read (proc(5)).
      expect(statSync(`/proc/${daemon.pid}/environ`).uid).toBe(0);
      expect(readOr(`/proc/${daemon.pid}/status`, "")).toMatch(/^Uid:\t65534\t/m);
      daemon.kill("SIGTERM");
      expect(await daemon.exited).toBe(0);
    },
    TIMEOUT_MS,
  );

  test(
    "a user without privileges gets a shim, at a place of his own",
    async () => {
      await using place = new Place();
      const bundle = place.bundle("a");
      for (const path of [place.path, bundle, join(bundle, "config.json")])
        chownSync(path, NOBODY, NOBODY);
      const user = ["setpriv", `--reuid=${NOBODY}`, `--regid=${NOBODY}`, "--clear-groups"];
      const program = [...user, copyForAll()];
      const run = await place.start("a", { program, env: { XDG_RUNTIME_DIR: place.path } });
      expect(run).toMatchObject({ exitCode: 0, stderr: "" });
      expect(run.stdout.toString()).toContain(`unix://${place.path}/containerd/s/`);
      const [pid = 0] = daemonsOf(place.namespace);
      expect(readOr(`/proc/${pid}/status`, "")).toMatch(/^Uid:\t65534\t/m);
      const own = Number(readFileSync("/proc/self/oom_score_adj", "utf8"));
      expect(Number(readOr(`/proc/${pid}/oom_score_adj`, ""))).toBe(Math.min(own + 1, 1000));
    },
    TIMEOUT_MS,
  );

  test(
    "a daemon that gets SIGUSR1 or SIGPIPE lives on and opens no debugger",
    async () => {
      await using place = new Place();
      place.bundle("a");
      await place.start("a", { program: [executable] });
      const [pid = 0] = daemonsOf(place.namespace);
      await until(() => (signalSet(pid, "SigCgt") & SIGUSR1_BIT) !== 0n);
      for (const signal of ["SIGUSR1", "SIGPIPE", "SIGUSR1"] as const) process.kill(pid, signal);
      await until(() => signalSet(pid, "ShdPnd") === 0n);
      expect(daemonsOf(place.namespace)).toEqual([pid]);
      expect(tcpListenersOf(pid)).toEqual([]);
    },
    TIMEOUT_MS,
  );
});

/** A copy of the executable that every user may run. */
function copyForAll(): string {
  const copy = join(directory, "containerd-shim-for-all");
  copyFileSync(executable, copy);
  chmodSync(copy, 0o755);
  chmodSync(directory, 0o755);
  return copy;
}

/** Of what the executable was seen to open, nothing is a configuration of the engine. */
function expectNoneOpened(bundle: string): void {
  const opened = [
    ...readFileSync(traceFile, "utf8").matchAll(/open(?:at2?)?\([^"]*"([^"]*)"/g),
  ].map((match) => match[1] ?? "");
  expect(opened.length).toBeGreaterThan(3);
  const configuration =
    /(^|\/)(\.env[^/]*|bunfig\.toml|\.bunfig\.toml|\.npmrc|package\.json|tsconfig\.json|poison\.ts)$/;
  expect(opened.filter((path) => configuration.test(path))).toEqual([]);
  expect(opened).not.toContain(`${bundle}/.env`);
}
