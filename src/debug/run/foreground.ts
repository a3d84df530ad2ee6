/** A container in the foreground: our terminal or streams are its own, and its end is ours. */

import { constants } from "node:os";
import { EXIT_FAILURE, Refusal } from "../refusal.ts";
import { ContainerStreams } from "../stream/container-streams.ts";
import { OwnTerminal } from "../stream/own-terminal.ts";
import type { SignalRelay } from "../stream/signal-relay.ts";
import {
  createContainer,
  deleteContainer,
  destroyContainer,
  failure,
  type Run,
  startContainer,
} from "./container-life.ts";

/** Added to the number of the signal that ended a program (wait of sh(1)). */
const SIGNAL_STATUS = 128;
/** How long a container that has ended may keep its output open without writing to it. */
const QUIET_MS_MAX = 10_000;

/** Runs the container to its end and removes it. Returns its exit status. Throws a Refusal. */
export async function runForeground(
  run: Run,
  signals: SignalRelay,
  warn: (message: string) => void,
): Promise<number> {
  const { plan } = run;
  using streams = ContainerStreams.open(plan.isTerminal, run.kernel.poller);
  using terminal = plan.isTerminal ? OwnTerminal.open() : undefined;
  try {
    await createContainer(run, streams.paths);
    streams.passOutput();
    await resize(run, terminal);
    if (signals.interruption !== undefined) {
      await destroyContainer(run);
      return SIGNAL_STATUS + signals.interruption;
    }
    const status = await runToEnd(run, streams, terminal, signals);
    if (!(await streams.drain(QUIET_MS_MAX))) {
      warn("A process holds the output of the container open: what it writes now is lost");
    }
    terminal?.restore();
    await deleteContainer(run);
    return status;
  } catch (error) {
    terminal?.restore();
    await destroyContainer(run);
    throw error;
  }
}

/** From start to exit. */
async function runToEnd(
  run: Run,
  streams: ContainerStreams,
  terminal: OwnTerminal | undefined,
  signals: SignalRelay,
): Promise<number> {
  const { shim, plan } = run;
  // Asked before the start, so that no exit can be missed.
  const exited = shim.task.wait({ id: plan.id, execId: "" });
  const outcome = exited.then(
    ({ exitStatus }) => exitStatus,
    (thrown: unknown) => failure(`Cannot wait for container ${plan.id}`, thrown),
  );
  terminal?.makeRaw();
  await startContainer(run);
  signals.passTo((number) => passSignal(run, terminal, number));
  void passStdin(run, streams);
  const end = await Promise.race([outcome, streams.broken()]);
  if (typeof end === "number") return end;
  if (end instanceof Refusal) throw end;
  const { error } = end;
  if (error.code === "EPIPE") {
    // As it would go to any program in a pipeline; the container itself cannot be told.
    throw new Refusal(
      SIGNAL_STATUS + constants.signals.SIGPIPE,
      `Nobody reads the output any more: container ${plan.id} was killed`,
    );
  }
  throw new Refusal(
    EXIT_FAILURE,
    `Cannot write output: ${error.message}; container ${plan.id} was killed`,
  );
}

/** Never rejects. */
async function passStdin({ shim, plan }: Run, streams: ContainerStreams): Promise<void> {
  if ((await streams.passStdin()) !== "eof") return;
  try {
    await shim.task.closeIO({ id: plan.id, execId: "", stdin: true });
  } catch {
    // It has ended meanwhile.
  }
}

function passSignal(run: Run, terminal: OwnTerminal | undefined, number: number): void {
  const { shim, plan } = run;
  if (number === constants.signals.SIGWINCH && terminal !== undefined) {
    void resize(run, terminal);
    return;
  }
  // A shell has set the modes to its own liking while we were stopped.
  if (number === constants.signals.SIGCONT) terminal?.makeRaw();
  shim.task.kill({ id: plan.id, execId: "", signal: number, all: false }).catch(() => {
    // It has ended meanwhile: its status is on the way.
  });
}

/** Gives the container's terminal the size of ours. Never rejects: a size is no reason to fail. */
async function resize({ shim, plan }: Run, terminal: OwnTerminal | undefined): Promise<void> {
  const size = terminal?.size;
  if (size === undefined) return;
  try {
    await shim.task.resizePty({
      id: plan.id,
      execId: "",
      width: size.columns,
      height: size.rows,
    });
  } catch {
    // It has ended meanwhile.
  }
}
