/** The processes of this host, as /proc lists them (proc(5)). */

import { readdirSync, readlinkSync } from "node:fs";
import { hasEnded, readStat } from "../../linux/proc-stat.ts";
import { readText } from "../../linux/text-file.ts";

/** USER_HZ, the unit of times in /proc: 100 on every architecture on which Linux has containers. */
const TICKS_PER_SECOND = 100;
const MS_PER_SECOND = 1000;
/** A kernel thread, among the flags. */
const PF_KTHREAD = 0x200000;
/** Milliseconds that execve(2) may take on a busy machine; few processes have no command line for long. */
const EXECVE_ATTEMPTS = 20;

/** One process, as it was when it was looked at. */
export interface HostProcess {
  readonly pid: number;
  readonly parentPid: number;
  /** "Z" and "X" for those that have ended; otherwise as ps(1) shows it. */
  readonly state: string;
  /** Milliseconds since the epoch. */
  readonly startedAtMs: number;
  /** User and system time. */
  readonly cpuMs: number;
  /** Its command line; empty for a kernel thread and for a process that has ended. */
  readonly args: readonly string[];
}

/** Every visible process, by pid. Those that end meanwhile are left out. */
export function listProcesses(proc = "/proc"): ReadonlyMap<number, HostProcess> {
  const bootedAtMs = Date.now() - uptimeMs(proc);
  const processes = new Map<number, HostProcess>();
  for (const name of readdirSync(proc)) {
    const pid = Number(name);
    if (!Number.isInteger(pid)) continue;
    const found = readProcess(pid, bootedAtMs, proc);
    if (found !== undefined) processes.set(pid, found);
  }
  return processes;
}

/** One process; undefined when there is none with that pid. */
function readProcess(pid: number, bootedAtMs: number, proc: string): HostProcess | undefined {
  const stat = readStat(`${proc}/${pid}`);
  if (stat === undefined) return undefined;
  const toMs = (ticks: string) => (Number(ticks) * MS_PER_SECOND) / TICKS_PER_SECOND;
  const mayHaveArgs = (Number(stat.flags) & PF_KTHREAD) === 0 && !hasEnded(stat);
  const commandLine = readCommandLine(`${proc}/${pid}/cmdline`, mayHaveArgs);
  return {
    pid,
    parentPid: Number(stat.ppid),
    state: stat.state,
    startedAtMs: bootedAtMs + toMs(stat.startTime),
    cpuMs: toMs(stat.utime) + toMs(stat.stime),
    args: commandLine === "" ? [] : commandLine.replace(/\0$/, "").split("\0"),
  };
}

/** While a process executes another program it has none for a moment (the kernel's get_mm_cmdline). */
function readCommandLine(path: string, mayHaveArgs: boolean): string {
  for (let attempt = 0; ; attempt++) {
    const text = readText(path);
    if (text === undefined) return "";
    if (text !== "" || !mayHaveArgs || attempt === EXECVE_ATTEMPTS) return text;
    Bun.sleepSync(1);
  }
}

function uptimeMs(proc: string): number {
  return Number.parseFloat(readText(`${proc}/uptime`) ?? "0") * MS_PER_SECOND;
}

/** The target of a symbolic link; undefined when it cannot be read. */
export function readLink(path: string): string | undefined {
  try {
    return readlinkSync(path);
  } catch {
    return undefined; // Ended meanwhile, or another user's.
  }
}
