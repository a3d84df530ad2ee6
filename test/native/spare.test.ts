/** Spares: processes whose shim has ended, and which the next start of their kin finds. */

import { beforeAll, expect, test } from "bun:test";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmdirSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { SPARES_DIRECTORY } from "../../src/command/spare/spare.ts";
import { Options } from "../../src/gen/containerd/types/runc/options/oci.ts";
import { Any } from "../../src/gen/google/protobuf/any.ts";
import { openedBy, readOr, until } from "../command/shim-process.ts";
import { buildExecutable, executable } from "../compiled.ts";
import { Kin, letGo, pidOf, socketsOf } from "./spare-kin.ts";

const TIMEOUT_MS = 60_000;

beforeAll(buildExecutable, TIMEOUT_MS);

test(
  "the process of a shim ends with it, and the next start is done by one that waits",
  async () => {
    await using kin = new Kin();
    const first = await kin.start("a");
    const firstPid = await letGo(first);
    expect(existsSync(first)).toBe(false);
    await until(() => kin.spares.length === 1);
    const [spare = 0] = kin.spares;
    expect(spare).not.toBe(firstPid);
    expect(readOr(`/proc/${spare}/comm`, "")).toBe("wedge-spare\n");
    expect(readlinkSync(`/proc/${spare}/cwd`)).toBe("/");

    const second = await kin.start("b");
    expect(await pidOf(second)).toBe(spare);
    expect(kin.spares).toEqual([]);
    expect(socketsOf(spare)).toEqual([]);
    expect(readOr(`/proc/${spare}/cmdline`, "").split("\0")).toEqual([
      ...[executable, "-namespace", kin.place.namespace],
      ...["-address", kin.place.grpcAddress, "-id", "b", ""],
    ]);
    expect(readOr(`/proc/${spare}/comm`, "")).toBe("containerd-shim\n");
    expect(readlinkSync(`/proc/${spare}/cwd`)).toBe(join(kin.place.path, "b"));
    expect(readFileSync(join(kin.place.path, "b/address"), "utf8")).toBe(`unix://${second}`);
    // A process group of its own, and nothing from whoever started it but what was meant.
    expect(readOr(`/proc/${spare}/status`, "")).toContain(`NSpgid:\t${spare}\n`);
    await until(() => openedBy(spare).filter((target) => target === "/dev/null").length === 3);
    expect(openedBy(spare).filter((target) => target.startsWith("pipe:"))).toEqual([]);
    expect(await letGo(second)).toBe(spare);
  },
  TIMEOUT_MS,
);

test(
  "a spare for which nobody comes ends by itself, and leaves nothing",
  async () => {
    await using kin = new Kin({ WEDGE_SPARE_SECONDS: "0.3" });
    const spare = await kin.spare();
    expect(socketsOf(spare)).toHaveLength(1);
    await until(() => kin.waiting.length === 0);
    expect(socketsOf(spare)).toEqual([]);
  },
  TIMEOUT_MS,
);

test(
  "with WEDGE_SPARE_SECONDS=0 nobody waits",
  async () => {
    await using kin = new Kin({ WEDGE_SPARE_SECONDS: "0" });
    await letGo(await kin.start("a"));
    await Bun.sleep(50);
    expect(kin.waiting).toEqual([]);
  },
  TIMEOUT_MS,
);

test.each(["SIGTERM", "SIGINT"] as const)(
  "%s ends a spare",
  async (signal) => {
    await using kin = new Kin({ WEDGE_SPARE_SECONDS: "60" });
    const spare = await kin.spare();
    process.kill(spare, signal);
    await until(() => kin.waiting.length === 0);
    expect(socketsOf(spare)).toEqual([]);
  },
  TIMEOUT_MS,
);

test(
  "a shim that a signal ends is no spare",
  async () => {
    await using kin = new Kin();
    const pid = await pidOf(await kin.start("a"));
    process.kill(pid, "SIGTERM");
    await until(() => kin.shims.length === 0);
    await Bun.sleep(50);
    expect(kin.waiting).toEqual([]);
  },
  TIMEOUT_MS,
);

test(
  "of a spare that was killed, the next start removes what it has left, and does without",
  async () => {
    await using kin = new Kin();
    const spare = await kin.spare();
    process.kill(spare, "SIGKILL");
    await until(() => kin.waiting.length === 0);
    expect(socketsOf(spare)).toHaveLength(1);
    await until(() => !existsSync(`/proc/${spare}`));
    const pid = await pidOf(await kin.start("b"));
    expect(pid).not.toBe(spare);
    expect(socketsOf(spare)).toEqual([]);
    await letGo(await kin.start("c"));
    await until(() => kin.spares.length === 1);
  },
  TIMEOUT_MS,
);

test(
  "a spare that stands still holds a start up for a second, and does nothing when it goes on",
  async () => {
    await using kin = new Kin({ WEDGE_SPARE_SECONDS: "60" });
    const spare = await kin.spare();
    process.kill(spare, "SIGSTOP");
    const pid = await pidOf(await kin.start("b"));
    expect(pid).not.toBe(spare);
    process.kill(spare, "SIGCONT");
    await until(() => kin.waiting.length === 0);
    expect(kin.shims).toEqual([pid]);
    expect(await pidOf(readOr(join(kin.place.path, "b/address"), "").slice(7))).toBe(pid);
  },
  TIMEOUT_MS,
);

test.each(["STDIN", "STDERR", "STDIN; close STDERR"])(
  "after close %s a start does without a spare, as there is something that could not be lent",
  async (closed) => {
    await using kin = new Kin({ WEDGE_SPARE_SECONDS: "60" });
    const spare = await kin.spare();
    const closing = ["perl", "-e", `close ${closed}; exec @ARGV`, executable];
    const run = await kin.run("b", { program: closing });
    expect(run).toMatchObject({ exitCode: 0, stderr: "" });
    expect(run.stdout.toString()).toStartWith("unix:///");
    expect(kin.spares).toEqual([spare]);
    // Where nothing is closed it is taken.
    const plain = ["perl", "-e", "exec @ARGV", executable];
    expect(await pidOf(await kin.start("c", { program: plain }))).toBe(spare);
  },
  TIMEOUT_MS,
);

test(
  "a directory that is not its user's alone is used by nobody, and nobody waits in it",
  async () => {
    await using kin = new Kin({ WEDGE_SPARE_SECONDS: "60" });
    const spare = await kin.spare();
    const directory = dirname(socketsOf(spare)[0] ?? "");
    chmodSync(directory, 0o755);
    const socket = await kin.start("b");
    expect(await pidOf(socket)).not.toBe(spare);
    await letGo(socket);
    await Bun.sleep(50);
    expect(kin.waiting).toEqual([spare]);
    chmodSync(directory, 0o700);
    expect(await pidOf(await kin.start("c"))).toBe(spare);
  },
  TIMEOUT_MS,
);

test(
  "each spare is one shim, however many begin at once",
  async () => {
    await using kin = new Kin({ WEDGE_SPARE_SECONDS: "60" });
    const ids = Array.from({ length: 8 }, (_, index) => `s${index}`);
    const sockets = await Promise.all(ids.map((id) => kin.start(id)));
    await Promise.all(sockets.slice(0, 5).map(letGo));
    await until(() => kin.spares.length === 5);
    const spares = new Set(kin.spares);
    const later = await Promise.all(ids.map((id) => kin.start(`later-${id}`)));
    const pids = await Promise.all(later.map(pidOf));
    expect(new Set(pids).size).toBe(8);
    expect(pids.filter((pid) => spares.has(pid))).toHaveLength(5);
    expect(kin.spares).toEqual([]);
    for (const [index, id] of ids.entries())
      expect(readOr(`/proc/${pids[index]}/cmdline`, "")).toContain(`\0later-${id}\0`);
  },
  TIMEOUT_MS,
);

test(
  "no more than sixty-four wait, of any kin",
  async () => {
    await using kin = new Kin({ WEDGE_SPARE_SECONDS: "60" });
    const ids = Array.from({ length: 66 }, (_, index) => `s${index}`);
    const sockets = await Promise.all(ids.map((id) => kin.start(id)));
    for (const socket of sockets) {
      await letGo(socket);
      // One that does not listen yet is not counted.
      await until(() => kin.waiting.length === kin.spares.length);
    }
    await until(() => kin.shims.length === 0);
    // Other tests may have some.
    expect(kin.spares.length).toBeWithin(1, 65);
    const all = readdirSync(SPARES_DIRECTORY, { recursive: true, encoding: "utf8" }).filter(
      (path) => /\d$/.test(path),
    );
    expect(all.filter((path) => path.includes("/")).length).toBeWithin(1, 65);
  },
  TIMEOUT_MS,
);

test(
  "a start that a spare cannot do fails as any other, and ends the spare",
  async () => {
    await using kin = new Kin({ WEDGE_SPARE_SECONDS: "60" });
    const spare = await kin.spare();
    const run = await kin.run("b", { stdin: Buffer.from("nonsense") });
    expect(run.exitCode).toBe(1);
    expect(run.stderr).toStartWith("containerd-shim-wedge-v2: Cannot decode the runtime options");
    expect(existsSync(join(kin.place.path, "b/address"))).toBe(false);
    await until(() => kin.waiting.length === 0);
    expect(socketsOf(spare)).toEqual([]);
    expect(await pidOf(await kin.start("c"))).not.toBe(spare);
  },
  TIMEOUT_MS,
);

test.each([
  ["that a spare takes", 7000],
  ["that is too long for a spare", 9000],
])(
  "a command line %s arrives whole",
  async (_, length) => {
    await using kin = new Kin({ WEDGE_SPARE_SECONDS: "60" });
    const spare = await kin.spare();
    const address = `/${"x".repeat(length)}`;
    const program = [executable, "-address", address];
    const pid = await pidOf(await kin.start("b", { program }));
    expect(pid === spare).toBe(length < 8192);
    // The last of the two addresses counts.
    expect(readOr(`/proc/${pid}/cmdline`, "")).toContain(kin.place.grpcAddress);
  },
  TIMEOUT_MS,
);

test(
  "a container of a pod has its shim's address from a spare, which waits on",
  async () => {
    await using kin = new Kin({ WEDGE_SPARE_SECONDS: "60" });
    const pod = { "io.kubernetes.cri.sandbox-id": "pod" };
    kin.place.bundle("pod", pod);
    kin.place.bundle("member", pod);
    const socket = await kin.start("pod");
    const spare = await kin.spare();
    expect(await kin.start("member")).toBe(socket);
    await until(() => kin.spares.length === 1);
    // Not every first process reaps those that end.
    expect(kin.spares).toEqual([spare]);
    expect(kin.shims).toEqual([await pidOf(socket)]);
  },
  TIMEOUT_MS,
);

test(
  "a shim that was put into a cgroup of its own is no spare",
  async () => {
    const root = existsSync("/sys/fs/cgroup/cgroup.controllers") ? "" : "pids";
    const name = `wedge-test-${process.pid}`;
    const directory = join("/sys/fs/cgroup", root, name);
    mkdirSync(directory);
    try {
      await using kin = new Kin();
      const none = Options.decode(new Uint8Array(0));
      const value = Options.encode({ ...none, shimCgroup: `/${name}` }).finish();
      const stdin = Any.encode({ typeUrl: "containerd.runc.v1.Options", value }).finish();
      await letGo(await kin.start("a", { stdin }));
      await Bun.sleep(50);
      expect(kin.waiting).toEqual([]);
    } finally {
      await until(() => readFileSync(join(directory, "cgroup.procs"), "utf8") === "");
      rmdirSync(directory);
    }
  },
  TIMEOUT_MS,
);

test(
  "a manager that is killed while it waits for a spare leaves no shim",
  async () => {
    await using kin = new Kin({ WEDGE_SPARE_SECONDS: "60" });
    const spare = await kin.spare();
    kin.place.bundle("b");
    process.kill(spare, "SIGSTOP");
    // Waits for the end of what stdin says.
    const killed = kin.run("b", { program: ["timeout", "-s", "KILL", "0.2", executable] });
    expect((await killed).exitCode).not.toBe(0);
    process.kill(spare, "SIGCONT");
    await until(() => kin.waiting.length === 0);
    expect(kin.shims).toEqual([]);
    expect(existsSync(join(kin.place.path, "b/address"))).toBe(false);
  },
  TIMEOUT_MS,
);
