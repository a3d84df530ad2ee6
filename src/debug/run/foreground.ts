/** A container in the foreground, from its creation to its deletion. */

import { EXIT_SIGNAL } from "../refusal.ts";
import { ContainerStreams } from "../stream/container-streams.ts";
import { OwnTerminal } from "../stream/own-terminal.ts";
import { drainSession, resizeToOwn, runSession } from "../stream/session.ts";
import type { SignalRelay } from "../stream/signal-relay.ts";
import {
  createContainer,
  deleteContainer,
  destroyContainer,
  type Run,
  startContainer,
} from "./container-life.ts";
import { logPaths } from "./detached-streams.ts";

/** Runs the container to its end and removes it. Returns its exit status. Throws a Refusal. */
export async function runForeground(
  run: Run,
  signals: SignalRelay,
  warn: (message: string) => void,
): Promise<number> {
  const { plan, shim } = run;
  using streams = ContainerStreams.open(
    plan.logFile === undefined
      ? { isTerminal: plan.isTerminal }
      : { output: logPaths(plan.logFile, plan.isTerminal) },
    run.kernel.poller,
  );
  using terminal = plan.isTerminal ? OwnTerminal.open() : undefined;
  const subject = { task: shim.task, id: plan.id, execId: "", name: `container ${plan.id}` };
  try {
    await createContainer(run, streams.paths);
    streams.passOutput();
    await resizeToOwn(subject, terminal);
    if (signals.interruption !== undefined) {
      await destroyContainer(run);
      return EXIT_SIGNAL + signals.interruption;
    }
    const begin = () => startContainer(run);
    const { timeoutMs } = plan;
    const end = await runSession({
      ...{ subject, streams, terminal, signals, begin, timeoutMs },
      fate: "was killed",
    });
    await drainSession(streams, warn);
    terminal?.restore();
    await deleteContainer(run);
    return end.kind === "exited" ? end.status : 0;
  } catch (error) {
    terminal?.restore();
    await destroyContainer(run);
    throw error;
  }
}
