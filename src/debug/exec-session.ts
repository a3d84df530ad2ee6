/** An exec in the foreground, from its registration to its deletion; and standing in for an absent client. */

import { randomUUID } from "node:crypto";
import { messageOf } from "../base/error.ts";
import { Poller } from "../linux/poller.ts";
import { SIGKILL } from "../linux/signals.ts";
import { callFailure, connectShim } from "./connection.ts";
import { execProcess } from "./exec-spec.ts";
import { findShims } from "./host/shims.ts";
import { findTarget } from "./host/target.ts";
import type { Output } from "./output/output.ts";
import { EXIT_FAILURE, EXIT_SIGNAL, Refusal, usageError } from "./refusal.ts";
import { ContainerStreams } from "./stream/container-streams.ts";
import { OwnTerminal } from "./stream/own-terminal.ts";
import { drainSession, resizeToOwn, runSession, type Subject } from "./stream/session.ts";
import { SignalRelay } from "./stream/signal-relay.ts";

const PROCESS_TYPE = "types.containerd.io/opencontainers/runtime-spec/1/Process";
const EXEC_ID_CHARACTERS = 8;
const UNDO_TIMEOUT_MS = 10_000;

export interface ExecFlags {
  readonly namespace?: string | undefined;
  readonly tty?: true | undefined;
  readonly env: readonly string[];
  readonly cwd?: string | undefined;
  readonly user?: string | undefined;
  readonly exec?: string | undefined;
  readonly timeout?: number | undefined;
}

/** Returns the program's exit status. Throws a Refusal; nothing of the exec is left then. */
export async function runExec(
  word: string,
  args: readonly string[],
  flags: ExecFlags,
  output: Output,
): Promise<number> {
  const target = findTarget(findShims(), word, { namespace: flags.namespace });
  const isTerminal = flags.tty ?? false;
  using terminal = isTerminal ? OwnTerminal.open() : undefined;
  if (isTerminal && terminal === undefined) {
    throw usageError("Stdin is not a terminal; omit --tty, or call this from one");
  }
  const { env, cwd, user } = flags;
  const spec = execProcess(target, { args, isTerminal, env, cwd, user });
  using signals = new SignalRelay();
  using poller = new Poller();
  using connection = await connectShim(target.shim);
  using streams = ContainerStreams.open({ isTerminal }, poller);
  const { task } = connection;
  const { id } = target;
  const execId = flags.exec ?? `shim-${randomUUID().slice(0, EXEC_ID_CHARACTERS)}`;
  const subject = { task, id, execId, name: `the program in ${id}` };
  const process = { typeUrl: PROCESS_TYPE, value: Buffer.from(spec) };
  await guarded(`Cannot exec in ${id}`, async () => {
    await task.exec({ id, execId, terminal: isTerminal, ...streams.paths, spec: process });
  });
  try {
    const begin = async () => {
      // Before it begins if the shim keeps that for it, and once more in case it does not.
      await resizeToOwn(subject, terminal);
      await guarded(`Cannot exec in ${id}`, async () => {
        await task.start({ id, execId });
      });
      streams.passOutput();
      await resizeToOwn(subject, terminal);
    };
    if (signals.interruption !== undefined) return EXIT_SIGNAL + signals.interruption;
    const end = await runSession({
      ...{ subject, streams, terminal, signals, begin, timeoutMs: flags.timeout },
      fate: "was killed",
    });
    await drainSession(streams, (message) => output.warn(message));
    return end.kind === "exited" ? end.status : 0;
  } finally {
    terminal?.restore();
    await removeExec(subject);
  }
}

/** Removes the exec, dead or alive. Never rejects. */
async function removeExec({ task, id, execId }: Subject): Promise<void> {
  const limit = { timeoutMs: UNDO_TIMEOUT_MS };
  const steps = [
    () => task.delete({ id, execId }, limit),
    () => task.kill({ id, execId, signal: SIGKILL, all: false }, limit),
    () => task.wait({ id, execId }, limit),
    () => task.delete({ id, execId }, limit),
  ];
  for (const [index, step] of steps.entries()) {
    try {
      await step();
      if (index === 0) return; // Usually it had ended.
    } catch {
      // It is still running, or was never started: the next step removes what is left.
    }
  }
}

/**
 * Stands in for a container's client at its streams until the container ends, or the keys are typed.
 * Returns the exit status; 0 when it was left. Throws a Refusal.
 */
export async function attachTo(
  word: string,
  flags: { readonly namespace?: string | undefined },
  output: Output,
): Promise<number> {
  const target = findTarget(findShims(), word, flags);
  const { id, shim } = target;
  using connection = await connectShim(shim);
  const { task } = connection;
  const state = await guarded(`Cannot attach to ${id}`, () => task.state({ id, execId: "" }));
  using signals = new SignalRelay();
  using poller = new Poller();
  using terminal = state.terminal ? OwnTerminal.open() : undefined;
  const at = (path: string) => {
    if (path === "" || path.startsWith("/")) return path && shim.root + path;
    throw new Refusal(
      EXIT_FAILURE,
      `Cannot attach to ${id}: its output goes to ${path}; follow it with shim logs`,
    );
  };
  const paths = { stdin: at(state.stdin), stdout: at(state.stdout), stderr: at(state.stderr) };
  if (paths.stdin + paths.stdout + paths.stderr === "") {
    throw new Refusal(EXIT_FAILURE, `Cannot attach to ${id}: it was given no streams`);
  }
  using streams = join(id, paths, poller);
  const subject = { task, id, execId: "", name: `container ${id}` };
  streams.passOutput();
  const end = await runSession({
    ...{ subject, streams, terminal, signals },
    begin: async () => await resizeToOwn(subject, terminal),
    fate: "goes on",
    canLeave: true,
  });
  if (end.kind === "exited") await drainSession(streams, (message) => output.warn(message));
  terminal?.restore();
  if (end.kind === "exited") return end.status;
  // The program's last line was unfinished.
  if (output.isTerminal) output.print("\n");
  output.warn(`left container ${id}, which goes on`);
  return 0;
}

function join(id: string, paths: ContainerStreams["paths"], poller: Poller): ContainerStreams {
  try {
    return ContainerStreams.join(paths, poller);
  } catch (cause) {
    throw new Refusal(EXIT_FAILURE, `Cannot attach to ${id}: ${messageOf(cause)}`, { cause });
  }
}

async function guarded<Result>(what: string, call: () => Promise<Result>): Promise<Result> {
  try {
    return await call();
  } catch (error) {
    throw callFailure(what, error);
  }
}
