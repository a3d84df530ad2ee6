/**
 * The lives of a container's processes, as plain values: which states there are, which state follows
 * which, and which verb each state refuses, in which words.
 *
 * Pure: nothing here runs the runtime or touches the kernel. `init-process.ts` and `exec-process.ts` hold
 * the one mutable field and ask {@link permitInit}, {@link advanceInit} and their counterparts for execs
 * before they assign. The words are those of containerd's stock shim, because clients match on them.
 */

import { assert } from "../base/assert.ts";
import { type Reason, ShimError } from "../base/error.ts";
import { maybe, real, record, type Shaped, tagged, whole } from "../base/shape.ts";

const NEVER_STARTED_STATUS = 255;

/** How a process ended, as its waiters are told. */
export interface Termination {
  /** 0-255: the exit code, or 128 + signal. */
  readonly status: number;
  /** The signal that killed it, or 0. */
  readonly signal: number;
  /** Milliseconds since the epoch. */
  readonly atMs: number;
}

const termination = record({ status: whole, signal: whole, atMs: real });

/** The life of a container's init process. */
export const initState = tagged({
  created: {},
  /** Only recorded: the process is brought to life by a restore when it is started. */
  checkpointed: {},
  running: {},
  paused: {},
  stopped: { termination },
  deleted: { termination: maybe(termination) },
});
export type InitState = Shaped<typeof initState>;

/** The life of an additional process in a container. */
export const execState = tagged({
  created: {},
  running: {},
  stopped: { termination },
  deleted: { termination: maybe(termination) },
});
export type ExecState = Shaped<typeof execState>;

type InitKind = InitState["kind"];
type ExecKind = ExecState["kind"];

/** What can be asked of an init process. State and Wait are refused in no state, kill only once it is deleted. */
export type InitVerb =
  | "start"
  | "delete"
  | "pause"
  | "resume"
  | "update"
  | "checkpoint"
  | "exec"
  | "kill";

export type ExecVerb = "start" | "delete" | "resize" | "kill";

const INIT_NEXT: Readonly<Record<InitKind, readonly InitKind[]>> = {
  created: ["running", "stopped", "deleted"],
  checkpointed: ["running", "stopped", "deleted"],
  running: ["paused", "stopped"],
  paused: ["running", "stopped"],
  stopped: ["deleted"],
  deleted: [],
};

const EXEC_NEXT: Readonly<Record<ExecKind, readonly ExecKind[]>> = {
  created: ["running", "stopped", "deleted"],
  running: ["stopped"],
  stopped: ["deleted"],
  deleted: [],
};

const CREATED_REFUSES: Readonly<Partial<Record<InitVerb, string>>> = {
  pause: "cannot pause task in created state",
  resume: "cannot resume task in created state",
  checkpoint: "cannot checkpoint a task in created state",
};

const INIT_REFUSES: Readonly<Record<InitKind, Readonly<Partial<Record<InitVerb, string>>>>> = {
  created: CREATED_REFUSES,
  checkpointed: { ...CREATED_REFUSES, exec: "cannot exec in a created state" },
  running: {
    start: "cannot start a running process",
    delete: "cannot delete a running process",
    resume: "cannot resume a running process",
  },
  paused: {
    start: "cannot start a paused process",
    delete: "cannot delete a paused process",
    pause: "cannot pause a paused container",
    exec: "cannot exec in a paused state",
  },
  stopped: {
    start: "cannot start a stopped process",
    pause: "cannot pause a stopped container",
    resume: "cannot resume a stopped container",
    update: "cannot update a stopped container",
    checkpoint: "cannot checkpoint a stopped container",
    exec: "cannot exec in a stopped state",
  },
  deleted: {
    start: "cannot start a deleted process",
    delete: "cannot delete a deleted process",
    pause: "cannot pause a deleted process",
    resume: "cannot resume a deleted process",
    update: "cannot update a deleted process",
    checkpoint: "cannot checkpoint a deleted process",
    exec: "cannot exec in a deleted state",
    kill: "cannot kill a deleted process",
  },
};

const EXEC_REFUSES: Readonly<Record<ExecKind, Readonly<Partial<Record<ExecVerb, string>>>>> = {
  created: {},
  running: {
    start: "cannot start a running process",
    delete: "cannot delete a running process",
  },
  stopped: {
    start: "cannot start a stopped process",
    resize: "cannot resize a stopped container",
  },
  deleted: {
    start: "cannot start a deleted process",
    delete: "cannot delete a deleted process",
    resize: "cannot resize a deleted process",
    kill: "cannot kill a deleted process",
  },
};

/** Throws when `state` refuses `verb`: `notFound` for what was deleted, else `unknown`, as the stock shim does. */
export function permitInit(state: InitState, verb: InitVerb): void {
  refuse(INIT_REFUSES[state.kind][verb], state.kind, verb);
}

/** Throws when `state` refuses `verb`; see {@link permitInit}. */
export function permitExec(state: ExecState, verb: ExecVerb): void {
  refuse(EXEC_REFUSES[state.kind][verb], state.kind, verb);
}

/** Returns `to`; it is a bug of the caller if `from` does not lead there. */
export function advanceInit<To extends InitState>(from: InitState, to: To): To {
  assert(INIT_NEXT[from.kind].includes(to.kind), `init goes from ${from.kind} to ${to.kind}`);
  return to;
}

/** Returns `to`; it is a bug of the caller if `from` does not lead there. */
export function advanceExec<To extends ExecState>(from: ExecState, to: To): To {
  assert(EXEC_NEXT[from.kind].includes(to.kind), `exec goes from ${from.kind} to ${to.kind}`);
  return to;
}

/** What waiters are told of a process that could not be started, or never was; no event reports it. */
export function neverStarted(): Termination {
  return { status: NEVER_STARTED_STATUS, signal: 0, atMs: Date.now() };
}

/** Whether the process has ended, and how. */
export function terminationOf(state: InitState | ExecState): Termination | undefined {
  return state.kind === "stopped" || state.kind === "deleted" ? state.termination : undefined;
}

function refuse(message: string | undefined, kind: string, verb: string): void {
  if (message === undefined) return;
  const isGone = kind === "deleted" && (verb === "delete" || verb === "kill");
  const reason: Reason = isGone ? "notFound" : "unknown";
  throw new ShimError(reason, message);
}
