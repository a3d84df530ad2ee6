/**
 * One container from its start to its end, whatever happens. What a client was told must be so: one whose
 * start was acknowledged ends with its own status, and its reader has every byte.
 */

import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import type { Client } from "../../test/e2e/client.ts";
import { type CallResult, type Containerd, IMAGE } from "../../test/e2e/containerd.ts";
import type { ExecPlan, LifePlan } from "./plan.ts";

/** Generous, as the machine may be busy and containerd down. */
const LIMIT_MS = 90_000;
const RETRY_MS = 100;
/** How an exec ends when its container does. */
const KILLED = 137;
/** How `ctr` ends when it has no exit status to pass on. */
const CLIENT_FAILED = 1;
/** Nobody can be asked. */
const UNKNOWN = " RUNNING?";
const LOGGER = `#!/bin/sh
# The descriptors of a logger: 3 and 4 to read, 5 to say that it is ready. It starts no other process.
exec 5>&-
exec cat - <&3 >"\${0%/*}/$CONTAINER_ID.log"
`;

export interface LifeResult {
  readonly wasStarted: boolean;
  /** What is not as it should be. */
  readonly faults: readonly string[];
}

/** Makes what lives need, once. */
export function prepare(daemon: Containerd): void {
  mkdirSync(daemon.outside("chaos"), { recursive: true });
  // mount(8) makes it, when the disk is filled.
  mkdirSync(daemon.sandbox.path("/run/mount"), { recursive: true });
  writeFileSync(daemon.outside("chaos/logger"), LOGGER);
  chmodSync(daemon.outside("chaos/logger"), 0o755);
}

/** What a fault of the round excuses. */
export interface Excuses {
  /** The disk fills up, or the reader of the output dies. */
  readonly mayLoseOutput: boolean;
  /** A containerd that is killed may have got the answer to a Delete and told nobody; the events tell. */
  readonly mayLoseAnswer: boolean;
}

/** Lives it. Throws what no plan foresees. */
export async function live(
  daemon: Containerd,
  runtime: string,
  plan: LifePlan,
  { mayLoseOutput, mayLoseAnswer }: Excuses,
): Promise<LifeResult> {
  const faults: string[] = [];
  const { name: id, lines, exitCode } = plan;
  const pace = Math.max(1, Math.floor(lines / 10));
  // `ctr` itself reads what comes before it leaves.
  const script = `until [ -e /go ]; do sleep 0.05; done; i=0; while [ $i -lt ${lines} ]; do echo "line $i"; i=$((i + 1)); [ $((i % ${pace})) != 0 ] || sleep ${(plan.runMs / 10_000).toFixed(3)}; done; sleep 0.2; exit ${exitCode}`;
  const outlet = openOutlet(daemon, plan);
  const started = await callOn(
    daemon,
    ["run", "-d", "--runtime", runtime, ...outlet.flags, IMAGE, id, "sh", "-c", script],
    plan.outlet === "terminal",
  );
  const wasStarted = started.code === 0;
  if (!wasStarted) {
    await clear(daemon, id);
    return { wasStarted, faults };
  }
  const reader = outlet.read();
  await release(daemon, id);
  const execs = plan.execs.map((exec, index) => runExec(daemon, id, execIdOf(index), exec));
  for (const wrong of await Promise.all(execs)) if (wrong !== undefined) faults.push(wrong);
  await until(`${id} has stopped`, async () => !/ RUNNING| CREATED/.test(await line(daemon, id)));
  const status = await removeTask(daemon, id);
  const isLost = status === undefined && mayLoseAnswer;
  if (status !== exitCode && !isLost)
    faults.push(`${id}: exit status ${status} instead of ${exitCode}`);
  const expected = Array.from({ length: lines }, (_, index) => `line ${index}\n`).join("");
  const output = (await outlet.output(reader)).replaceAll("\r\n", "\n");
  if (!mayLoseOutput && output !== expected) {
    faults.push(`${id}: ${output.length} bytes of ${expected.length} by ${plan.outlet}`);
  }
  await clear(daemon, id);
  return { wasStarted, faults };
}

/** The id of the exec with this place in the plan. */
export function execIdOf(index: number): string {
  return `e${index}`;
}

/** Runs a client to its end, on a terminal or not. */
async function callOn(
  daemon: Containerd,
  args: readonly string[],
  isTerminal: boolean,
): Promise<CallResult> {
  if (!isTerminal) return await daemon.call(args, { limitMs: LIMIT_MS });
  const terminal = daemon.terminal(args, { limitMs: LIMIT_MS });
  const code = await terminal.finish();
  return { code, stdout: terminal.output, stderr: "" };
}

/** Where its output goes, and how it is read back. */
function openOutlet(daemon: Containerd, { name, outlet }: LifePlan) {
  const log = `chaos/${name}.log`;
  const fromLog = () => {
    const path = daemon.outside(log);
    return existsSync(path) ? readFileSync(path, "utf8") : "";
  };
  const none = { read: () => undefined, output: async () => fromLog() };
  if (outlet === "file") {
    return { flags: ["--log-uri", `file://${daemon.inside(log)}`], ...none };
  }
  if (outlet === "logger") {
    return { flags: ["--log-uri", `binary://${daemon.inside("chaos/logger")}`], ...none };
  }
  const directory = `chaos/${name}.fifos`;
  mkdirSync(daemon.outside(directory));
  return {
    flags: [...(outlet === "terminal" ? ["-t"] : []), "--fifo-dir", daemon.inside(directory)],
    read: () => {
      const [inner = ""] = readdirSync(daemon.outside(directory));
      const path = join(daemon.inside(directory), inner, `${name}-stdout`);
      return daemon.program(["cat", path], { limitMs: LIMIT_MS });
    },
    output: async (reader: Client | undefined) => (await reader?.finish())?.stdout ?? "",
  };
}

/** Lets it print, with a file that is made behind containerd's back. */
async function release(daemon: Containerd, id: string): Promise<void> {
  await until(`${id} may print`, async () => {
    const pid = Number(/ (\d+) +RUNNING/.exec(await line(daemon, id))?.[1]);
    if (Number.isNaN(pid)) return false;
    writeFileSync(daemon.sandbox.path(`/proc/${pid}/root/go`), "");
    return true;
  });
}

/** What is wrong with it; an exec that was refused is not wrong, as its container may have ended. */
async function runExec(
  daemon: Containerd,
  id: string,
  execId: string,
  { exitCode: code, isTerminal }: ExecPlan,
): Promise<string | undefined> {
  const flags = [...(isTerminal ? ["-t"] : []), "--exec-id", execId];
  const script = `echo told; exit ${code}`;
  const args = ["task", "exec", ...flags, id, "sh", "-c", script];
  const result = await callOn(daemon, args, isTerminal);
  // "told" came, so it ran; it ended by its own end, unless its container's came first or the client was
  // cut off. What a client says of that on a terminal may come too late to be read.
  const hasFailed = result.stderr !== "" || (isTerminal && result.code === CLIENT_FAILED);
  const wasCut = hasFailed || result.code === KILLED;
  if (result.stdout !== "told\n" || wasCut || result.code === code) return undefined;
  return `${id}: exec ended with ${result.code} instead of ${code}`;
}

/** The line of `ctr task ls`; {@link UNKNOWN} while nobody can be asked. */
async function line(daemon: Containerd, id: string): Promise<string> {
  const { code, stdout } = await daemon.call(["task", "ls"], { limitMs: LIMIT_MS });
  if (code !== 0) return UNKNOWN;
  return stdout.split("\n").find((each) => each.startsWith(`${id} `)) ?? "";
}

/** Its exit status, as the client is told it at the end; undefined when the task was gone. */
async function removeTask(daemon: Containerd, id: string): Promise<number | undefined> {
  let status: number | undefined;
  await until(`the task of ${id} is removed`, async () => {
    const { code, stderr } = await daemon.call(["task", "rm", id], { limitMs: LIMIT_MS });
    if (code === 0) status = Number(/non-zero exit code (\d+)/.exec(stderr)?.[1] ?? 0);
    return code === 0 || (await line(daemon, id)) === "";
  });
  return status;
}

/** Removes whatever is left of it. */
async function clear(daemon: Containerd, id: string): Promise<void> {
  await until(`${id} is removed`, async () => {
    await daemon.call(["task", "rm", "--force", id], { limitMs: LIMIT_MS });
    await daemon.call(["container", "rm", id], { limitMs: LIMIT_MS });
    const { code, stdout } = await daemon.call(["container", "ls", "-q"], { limitMs: LIMIT_MS });
    return code === 0 && !stdout.split("\n").includes(id);
  });
  await Bun.$`rm -rf ${daemon.outside("chaos", `${id}.fifos`)} ${daemon.outside("chaos", `${id}.log`)}`;
}

async function until(what: string, isSo: () => Promise<boolean>): Promise<void> {
  const endMs = performance.now() + LIMIT_MS;
  while (!(await isSo())) {
    if (performance.now() > endMs) throw new Error(`Not within ${LIMIT_MS} ms: ${what}`);
    await Bun.sleep(RETRY_MS);
  }
}
