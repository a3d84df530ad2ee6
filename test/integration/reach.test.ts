/**
 * What a container, a runtime and whoever looks into the bundle find of a shim: descriptors, environment,
 * modes of files. Against the compiled shim over real runc.
 */

import { beforeAll, describe, expect, test } from "bun:test";
import {
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { buildExecutable } from "../compiled.ts";
import { descriptorsOf, fifo, LiveShim, type StreamPaths } from "./live-shim.ts";

const LIMIT_MS = 60_000;
const LOGGER = "binary:///bin/sh?-c=exec%205%3E%26-%3B%20cat%20%3C%263%20%3E%2Fdev%2Fnull";
/** What is another process's business, or changes the engine, the loader or a debugger. */
const POISON = {
  NOTIFY_SOCKET: "/run/systemd/notify",
  LISTEN_FDS: "1",
  LISTEN_PID: "1",
  LISTEN_FDNAMES: "x",
  WATCHDOG_USEC: "1000000",
  WATCHDOG_PID: "1",
  BUN_OPTIONS: "--inspect=0.0.0.0:6499",
  BUN_INSPECT: "ws://0.0.0.0:6499",
  BUN_BE_BUN: "1",
  NODE_OPTIONS: "--inspect=0.0.0.0:9229",
  MIMALLOC_VERBOSE: "1",
};
/** In which the empty entry and the dot are whatever directory a program runs in. */
const LIBRARIES = { LD_LIBRARY_PATH: ":/opt/none:." };

beforeAll(buildExecutable);

/** A runtime in place of runc that first does as `script` says. */
function runtime(shim: LiveShim, script: string): string {
  const path = join(shim.path, "looking-runc");
  writeFileSync(path, `#!/bin/sh\n${script}\nexec runc "$@"\n`, { mode: 0o755 });
  return path;
}

describe("a process in a container", () => {
  test.each<[kind: string, io: (shim: LiveShim, name: string) => StreamPaths]>([
    ["nothing", () => ({})],
    [
      "FIFOs",
      (shim, name) => ({
        ...{ stdin: fifo(shim, `${name}-in`), stdout: fifo(shim, `${name}-out`) },
        stderr: fifo(shim, `${name}-err`),
      }),
    ],
    [
      "a terminal",
      (shim, name) => ({
        ...{ terminal: true, stdin: fifo(shim, `${name}-in`), stdout: fifo(shim, `${name}-out`) },
      }),
    ],
    ["a log file", (shim, name) => ({ stdout: `file://${shim.path}/${name}.log`, stderr: "yes" })],
    [
      "a log file of records",
      (shim, name) => ({ stdout: `file://${shim.path}/${name}.log?format=cri&max-size=1m` }),
    ],
    ["a logger", () => ({ stdout: LOGGER, stderr: "yes" })],
  ])(
    "with %s has its three streams and nothing else, be it init or an exec",
    async (_, io) => {
      await using shim = await LiveShim.start();
      const paths = [io(shim, "init"), io(shim, "exec")] as const;
      const terminal = paths[0].terminal === true;
      using bundle = shim.bundle({ args: ["sleep", "1000"], terminal });
      const { id } = bundle;
      const pids = [await shim.create(bundle, paths[0])];
      await shim.task.start({ id, execId: "" });
      pids.push(await shim.exec(id, "e", ["sleep", "1000"], paths[1]));
      for (const pid of pids) {
        // What the runtime has open goes when the program begins.
        while (!readFileSync(`/proc/${pid}/cmdline`, "utf8").startsWith("sleep"))
          await Bun.sleep(2);
        const found = descriptorsOf(pid);
        expect([...found.keys()].sort()).toEqual([0, 1, 2]);
        for (const target of found.values())
          expect(target).toMatch(/^(\/dev\/null|pipe:|\/dev\/pts\/|\/tmp\/.*-(out|err))/);
      }
      await shim.remove(id);
    },
    LIMIT_MS,
  );
});

test(
  "the socket of a terminal is in the user's runtime directory, and gone when the terminal is there",
  async () => {
    const directory = mkdtempSync(join(tmpdir(), "wedge-xdg-"));
    using _directory = { [Symbol.dispose]: () => rmSync(directory, { recursive: true }) };
    await using shim = await LiveShim.start({ env: { XDG_RUNTIME_DIR: directory } });
    using bundle = shim.bundle({ args: ["true"], terminal: true });
    const seen = join(shim.path, "words");
    const binaryName = runtime(shim, `echo "$@" >> ${seen}`);
    await shim.create(bundle, { terminal: true, stdout: fifo(shim, "out") }, { binaryName });
    expect(readFileSync(seen, "utf8")).toContain(`--console-socket ${directory}/`);
    expect(readdirSync(directory)).toEqual([]);
    await shim.remove(bundle.id);
  },
  LIMIT_MS,
);

test(
  "what may gain privileges in a container is the container's to say: the runtime is not kept from it",
  async () => {
    await using shim = await LiveShim.start();
    using bundle = shim.bundle({ args: ["true"] });
    const seen = join(shim.path, "status");
    const binaryName = runtime(shim, `cat /proc/$$/status > ${seen}`);
    await shim.create(bundle, {}, { binaryName });
    const own = /^NoNewPrivs:.*$/m.exec(readFileSync("/proc/self/status", "utf8"))?.[0] ?? "none";
    expect(readFileSync(seen, "utf8")).toContain(own);
    await shim.remove(bundle.id);
  },
  LIMIT_MS,
);

test(
  "neither the shim nor its runtime has what was meant for others, and no port is open for it",
  async () => {
    await using shim = await LiveShim.start({ env: { ...POISON, ...LIBRARIES } });
    using bundle = shim.bundle({ args: ["sleep", "1000"] });
    const { id } = bundle;
    const seen = join(shim.path, "environment");
    const binaryName = runtime(shim, `tr '\\0' '\\n' < /proc/$$/environ >> ${seen}`);
    await shim.create(bundle, {}, { binaryName });
    await shim.task.start({ id, execId: "" });
    const own = readFileSync(`/proc/${shim.pid}/environ`, "utf8").split("\0");
    const its = readFileSync(seen, "utf8").split("\n");
    expect(its.some((entry) => entry.startsWith("PATH="))).toBe(true);
    for (const name of Object.keys(POISON)) {
      const isThere = (entry: string) => entry.startsWith(`${name}=`);
      expect({ name, own: own.filter(isThere), its: its.filter(isThere) }).toEqual({
        name,
        own: [],
        its: [],
      });
    }
    expect(its.some((entry) => /^(BUN_|MIMALLOC_|WEDGE_CHILD)/.test(entry))).toBe(false);
    const libraries = (entry: string) => entry.startsWith("LD_LIBRARY_PATH=");
    for (const entries of [own, its])
      expect(new Set(entries.filter(libraries))).toEqual(new Set(["LD_LIBRARY_PATH=/opt/none"]));
    for (let count = 0; count < 5; count++) {
      process.kill(shim.pid, "SIGUSR1");
      await Bun.sleep(50);
      expect(portsOf(shim.pid)).toEqual([]);
    }
    await shim.remove(id);
  },
  LIMIT_MS,
);

test(
  "every file that is written for a container is its owner's alone, at each call of the runtime and after",
  async () => {
    await using shim = await LiveShim.start();
    using bundle = shim.bundle({ args: ["sleep", "1000"] });
    const { id } = bundle;
    const list = join(shim.path, "modes");
    const find = `find ${bundle.path} -maxdepth 1 -type f -printf '%m %f\\n'`;
    const binaryName = runtime(shim, `${find} >> ${list}`);
    await shim.create(bundle, {}, { binaryName });
    await shim.task.start({ id, execId: "" });
    await shim.exec(id, "e", ["true"]);
    await shim.task.wait({ id, execId: "e" });
    await shim.task.delete({ id, execId: "e" });
    await shim.task.pause({ id });
    await shim.task.resume({ id });
    await shim.remove(id);
    const after = Bun.spawnSync(["sh", "-c", find]).stdout.toString();
    const lines = new Set([...readFileSync(list, "utf8").split("\n"), ...after.split("\n")]);
    const open = [...lines].filter((line) => line !== "" && !line.startsWith("600 "));
    // The client's own file, what tools read, and pids as the runtime notes them.
    const known = /^644 (config\.json|address|\.?init\.pid|\.?exec[^.]*\.pid)$/;
    expect(open.filter((line) => !known.test(line))).toEqual([]);
    for (const name of ["options.json", "runtime", "exit.json", "deleted"])
      expect(lines).toContain(`600 ${name}`);
    for (const subject of ["process", "start-log"])
      expect([...lines].some((line) => line.startsWith(`600 runtime-${subject}-`))).toBe(true);
  },
  LIMIT_MS,
);

test(
  "an address is of a socket of mode 0600 in a directory of mode 0700, whatever the mask",
  async () => {
    const before = process.umask(0);
    try {
      await using shim = await LiveShim.start();
      using bundle = shim.bundle({ args: ["true"] });
      await shim.create(bundle);
      const socket = readFileSync(join(bundle.path, "address"), "utf8").replace("unix://", "");
      expect(existsSync(socket)).toBe(true);
      expect(statSync(socket).mode & 0o777).toBe(0o600);
      expect(statSync(join(socket, "..")).mode & 0o777).toBe(0o700);
      for (const name of ["options.json", "runtime"])
        expect(statSync(join(bundle.path, name)).mode & 0o777).toBe(0o600);
      await shim.remove(bundle.id);
    } finally {
      process.umask(before);
    }
  },
  LIMIT_MS,
);

/** Sockets of the internet that a process has open, by table. */
function portsOf(pid: number): readonly string[] {
  const targets = new Set(descriptorsOf(pid).values());
  return ["tcp", "tcp6", "udp", "udp6", "raw", "raw6"].flatMap((table) =>
    readFileSync(`/proc/${pid}/net/${table}`, "utf8")
      .split("\n")
      .slice(1)
      .map((line) => line.trim().split(/\s+/)[9] ?? "")
      .filter((inode) => targets.has(`socket:[${inode}]`))
      .map((inode) => `${table} ${inode}`),
  );
}
