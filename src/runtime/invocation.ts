/**
 * One run of the runtime's executable: spawned, bounded in time, its output captured.
 *
 * Output is captured in memory files, not pipes: nobody has to read along, and what a hook leaves
 * running in the background can neither hold up the call nor be killed by SIGPIPE after it.
 */

import { fstatSync, readSync, statSync, writeSync } from "node:fs";
import type { Child, Children, Exit } from "../linux/children.ts";
import { type OwnedFd, openMemoryFile, sealMemoryFile, setAppending } from "../linux/fd.ts";
import { SIGKILL } from "../linux/signals.ts";
import { readTail } from "./log.ts";
import type { LentStdio } from "./runtime.ts";

/** How long a killed runtime may take to be gone; in uninterruptible sleep it may take forever. */
const KILL_GRACE_MS = 5_000;
/** Standard output beyond this is refused: no answer that we ask for comes near it. */
const OUTPUT_BYTES_MAX = 4 * 1024 * 1024;
/** How much of the end of standard error is read. */
const ERROR_BYTES_MAX = 16 * 1024;
/** A runtime that writes more than this, its log included, would in time fill the memory or the disk. */
const WRITTEN_BYTES_MAX = 64 * 1024 * 1024;
/** When that is first checked, and how often at least; each time it takes twice as long as before. */
const FIRST_LOOK_MS = 20;
const LOOK_MS_MAX = 200;

export interface Invocation {
  readonly argv: readonly string[];
  readonly env: readonly string[];
  readonly cwd: string;
  /** Lent for 0, 1 and 2; without it they are captured. */
  readonly stdio?: LentStdio | undefined;
  /** The process's standard input, where `stdio` is not given. */
  readonly input?: Uint8Array | undefined;
  /** A file that the process writes to besides its streams; it may be missing. */
  readonly logFile: string | undefined;
  readonly timeoutMs: number;
  /** Any of them cancels the call. */
  readonly signals: readonly AbortSignal[];
  /** Called with the pid as soon as there is one. */
  readonly onSpawn: (pid: number) => void;
}

/** How a run ended. `stdout` and `stderr` are "" where `stdio` was lent. */
export type Outcome =
  | {
      readonly kind: "exited";
      readonly exit: Exit;
      /** Undefined when it exceeded the limit. */
      readonly stdout: string | undefined;
      readonly stderr: string;
    }
  | {
      /** Killed: by its deadline, because the caller asked, or because it wrote too much. */
      readonly kind: Interruption;
      readonly afterMs: number;
      /** False when the kill has not ended it yet. */
      readonly isGone: boolean;
      readonly pid: number;
      readonly stderr: string;
    };

/**
 * Runs it to its end. It leads a process group, so that with a wrapper script the runtime below is
 * killed too. Spawns before it first yields. Throws what `Children.spawn` throws.
 */
export async function invoke(invocation: Invocation, children: Children): Promise<Outcome> {
  using files = new DisposableStack();
  const lent = invocation.stdio;
  const caught =
    lent === undefined
      ? { out: files.use(openCapture("stdout")), err: files.use(openCapture("stderr")) }
      : undefined;
  const input = invocation.input === undefined ? undefined : files.use(openInput(invocation.input));
  const startedAt = performance.now();
  const child = children.spawn({
    argv: invocation.argv,
    env: invocation.env,
    cwd: invocation.cwd,
    stdio: lent ?? [input?.fd, caught?.out.fd, caught?.err.fd],
    leads: "group",
  });
  invocation.onSpawn(child.pid);
  const { logFile } = invocation;
  const written = [caught?.out.fd, caught?.err.fd, logFile].filter((file) => file !== undefined);
  const ended = await waitFor(child, invocation, () => sizeOf(written) > WRITTEN_BYTES_MAX);
  const stderr = caught === undefined ? "" : readTail(caught.err.fd, ERROR_BYTES_MAX).trim();
  if (caught !== undefined) for (const file of [caught.out, caught.err]) sealMemoryFile(file.fd);
  if (ended.kind === "exited") {
    const stdout = caught === undefined ? "" : readOutput(caught.out.fd);
    return { kind: "exited", exit: ended.exit, stdout, stderr };
  }
  return {
    kind: ended.kind,
    afterMs: Math.round(performance.now() - startedAt),
    isGone: child.exit !== undefined,
    pid: child.pid,
    stderr,
  };
}

type End = { readonly kind: "exited"; readonly exit: Exit } | { readonly kind: Interruption };
type Interruption = "timeout" | "canceled" | "flooded";

/** Waits for the exit, the deadline, an abort or a flood; after all but the first, kills and waits a little. */
async function waitFor(
  child: Child,
  { timeoutMs, signals }: Invocation,
  isFlooded: () => boolean,
): Promise<End> {
  const interrupted = Promise.withResolvers<Interruption>();
  const timer = setTimeout(() => interrupted.resolve("timeout"), timeoutMs);
  let look: NodeJS.Timeout | undefined;
  const lookAfter = (ms: number) => {
    look = setTimeout(() => {
      if (isFlooded()) interrupted.resolve("flooded");
      else lookAfter(Math.min(2 * ms, LOOK_MS_MAX));
    }, ms);
  };
  lookAfter(FIRST_LOOK_MS);
  const onAbort = () => interrupted.resolve("canceled");
  for (const signal of signals) signal.addEventListener("abort", onAbort, { once: true });
  if (signals.some(({ aborted }) => aborted)) onAbort();
  const first = await Promise.race([child.exited, interrupted.promise]);
  clearTimeout(timer);
  clearTimeout(look);
  for (const signal of signals) signal.removeEventListener("abort", onAbort);
  if (typeof first !== "string") return { kind: "exited", exit: first };
  // It may have ended in this very turn: then its own result counts.
  if (child.exit !== undefined) return { kind: "exited", exit: child.exit };
  child.signalGroup(SIGKILL);
  const late = Promise.withResolvers<void>();
  const grace = setTimeout(() => late.resolve(), KILL_GRACE_MS);
  await Promise.race([child.exited, late.promise]);
  clearTimeout(grace);
  return { kind: first };
}

function sizeOf(files: readonly (number | string)[]): number {
  return files.map(sizeOfOne).reduce((sum, size) => sum + size, 0);
}

/** One that cannot be looked at counts nothing. */
function sizeOfOne(file: number | string): number {
  try {
    return typeof file === "number" ? fstatSync(file).size : statSync(file).size;
  } catch {
    return 0;
  }
}

function openCapture(label: string): OwnedFd {
  const file = openMemoryFile(`runtime-${label}`);
  // A script may open /dev/stderr anew and truncate it; with O_APPEND nobody overwrites another's output.
  setAppending(file.fd);
  return file;
}

function openInput(bytes: Uint8Array): OwnedFd {
  const file = openMemoryFile("runtime-stdin");
  // At position 0, so that the file offset, which the child shares, stays at the beginning.
  for (let at = 0; at < bytes.length; ) at += writeSync(file.fd, bytes, at, bytes.length - at, at);
  return file;
}

function readOutput(fd: number): string | undefined {
  const { size } = fstatSync(fd);
  if (size > OUTPUT_BYTES_MAX) return undefined;
  const buffer = Buffer.alloc(size);
  return buffer.toString("utf8", 0, readSync(fd, buffer, 0, size, 0));
}
