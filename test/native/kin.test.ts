/** Which spares a launcher takes for its own. */

import { beforeAll, expect, test } from "bun:test";
import { existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { readOr, until } from "../command/shim-process.ts";
import { buildExecutable, executable } from "../compiled.ts";
import { Kin, letGo, pidOf } from "./spare-kin.ts";

const TIMEOUT_MS = 60_000;

beforeAll(buildExecutable, TIMEOUT_MS);

/** A cgroup for one that is moved; whoever is in it at the end goes back. */
class PidsCgroup implements Disposable {
  readonly #parent = join(
    "/sys/fs/cgroup",
    existsSync("/sys/fs/cgroup/cgroup.controllers") ? "" : "pids",
  );
  readonly path = join(this.#parent, `wedge-test-${crypto.randomUUID()}`);

  constructor() {
    mkdirSync(this.path);
  }

  [Symbol.dispose](): void {
    for (const pid of readFileSync(join(this.path, "cgroup.procs"), "utf8").split("\n")) {
      if (pid !== "") writeFileSync(join(this.#parent, "cgroup.procs"), pid);
    }
    rmdirSync(this.path);
  }
}

function statusOf(pid: number, field: string): string {
  return new RegExp(`^${field}:\\s+(.*)$`, "m").exec(readOr(`/proc/${pid}/status`, ""))?.[1] ?? "";
}

/** A process's group and session (proc(5), stat). */
function groupOf(pid: number): { readonly group: number; readonly session: number } {
  const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
  const [, , group, session] = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return { group: Number(group), session: Number(session) };
}

test(
  "a hired process is to the kernel what a launched one is",
  async () => {
    await using kin = new Kin();
    const launched = await pidOf(await kin.start("a"));
    const spare = await kin.spare("b");
    expect(await pidOf(await kin.start("c"))).toBe(spare);
    for (const field of ["SigIgn", "Umask", "CapEff", "THP_enabled", "Threads"])
      expect(`${field} ${statusOf(spare, field)}`).toBe(`${field} ${statusOf(launched, field)}`);
    for (const file of ["limits", "cgroup", "oom_score_adj", "coredump_filter", "timerslack_ns"])
      expect(readOr(`/proc/${spare}/${file}`, "")).toBe(readOr(`/proc/${launched}/${file}`, ""));
    // The scheduler shares out processors by session (sched(7), autogroups): a shim is in its manager's.
    const { session } = groupOf(process.pid);
    for (const pid of [launched, spare]) expect(groupOf(pid)).toEqual({ group: pid, session });
    const environment = (pid: number) =>
      readOr(`/proc/${pid}/environ`, "")
        .split("\0")
        .filter((entry) => !entry.startsWith("WEDGE_LAUNCHER="));
    expect(environment(spare)).toEqual(environment(launched));
  },
  TIMEOUT_MS,
);

test.each([
  ["another environment", [], { OTHER: "yes" }],
  ["a library that is loaded before all others", [], { LD_PRELOAD: "libm.so.6" }],
  ["another limit", ["prlimit", "--nofile=5000:5000", "--"], {}],
  ["another priority", ["nice", "-n", "3"], {}],
  ["another session", ["setsid", "--wait"], {}],
  ["another umask", ["perl", "-e", "umask 027; exec @ARGV"], {}],
  ["another real-time priority", ["chrt", "--rr", "9"], {}],
  ["another I/O priority", ["ionice", "-c", "2", "-n", "1"], {}],
  [
    "another filter of core dumps",
    ["perl", "-e", 'open F, ">/proc/self/coredump_filter"; print F "0x3f"; close F; exec @ARGV'],
    {},
  ],
  ["another OOM score", ["choom", "-n", "7", "--"], {}],
  ["fewer capabilities", ["setpriv", "--bounding-set=-sys_time", "--"], {}],
  ["no new privileges", ["setpriv", "--no-new-privs", "--"], {}],
  ["a mount namespace of its own", ["unshare", "-m"], {}],
  ["a network namespace of its own", ["unshare", "-n"], {}],
  ["another processor", ["taskset", "1"], {}],
] as const)(
  "%s is another kin",
  async (_, wrapper, env) => {
    await using kin = new Kin({ WEDGE_SPARE_SECONDS: "60" });
    const spare = await kin.spare();
    const pid = await pidOf(await kin.start("b", { program: [...wrapper, executable], env }));
    expect(pid).not.toBe(spare);
    expect(kin.spares).toEqual([spare]);
    // What stands before it is no reason by itself.
    const plain = ["perl", "-e", "exec @ARGV", executable];
    expect(await pidOf(await kin.start("c", { program: plain }))).toBe(spare);
  },
  TIMEOUT_MS,
);

test.each([
  ["a priority", (pid: number) => ["renice", "-n", "7", "-p", String(pid)]],
  ["a processor", (pid: number) => ["taskset", "-p", "1", String(pid)]],
  ["a limit", (pid: number) => ["prlimit", "--pid", String(pid), "--nproc=5000:5000"]],
  ["an OOM score", (pid: number) => ["choom", "-n", "9", "-p", String(pid)]],
  ["a cgroup", (pid: number) => ["sh", "-c", `echo ${pid} >"$0"/cgroup.procs`]],
] as const)(
  "a spare that is given %s, before or after it is one, is no kin any more",
  async (what, change) => {
    using cgroup = new PidsCgroup();
    const give = (pid: number) => {
      const words = [...change(pid), ...(what === "a cgroup" ? [cgroup.path] : [])];
      expect(Bun.spawnSync(words).exitCode).toBe(0);
    };
    await using kin = new Kin({ WEDGE_SPARE_SECONDS: "60" });
    const socket = await kin.start("early");
    // A spare gives back what a shim is given for its own.
    if (what !== "an OOM score") give(await pidOf(socket));
    await letGo(socket);
    await until(() => kin.spares.length === 1);
    if (what === "an OOM score") give(kin.spares[0] ?? 0);
    expect(await pidOf(await kin.start("b"))).not.toBe(kin.spares[0] ?? 0);
    expect(kin.spares).toHaveLength(1);
    const later = await kin.spare("later");
    give(later);
    expect(kin.spares).toHaveLength(2);
    expect(await pidOf(await kin.start("c"))).not.toBe(later);
    expect(kin.spares).toHaveLength(2);
  },
  TIMEOUT_MS,
);
