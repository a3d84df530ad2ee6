/** What a run of the runtime came to: done, or which error. */

import type { Exit } from "../linux/children.ts";
import { kindOf, RuntimeError } from "./error.ts";
import type { Outcome } from "./invocation.ts";
import { readLastError } from "./log.ts";
import type { Verb } from "./runtime.ts";

/** The error of a call that did not succeed; undefined for one that did. */
export function judge(
  verb: Verb,
  command: string,
  outcome: Outcome,
  logFile: string | undefined,
): RuntimeError | undefined {
  const logged = () => (logFile === undefined ? undefined : readLastError(logFile));
  if (outcome.kind !== "exited") {
    const last = logged() ?? outcome.stderr;
    const runtimeMessage = interruptionText(verb, command, outcome) + (last && `: ${last}`);
    return new RuntimeError({ verb, kind: outcome.kind, runtimeMessage });
  }
  const { exit } = outcome;
  if (exit.status !== 0) {
    const said = logged() || outcome.stderr;
    const runtimeMessage =
      said || `${command} did not terminate successfully: ${describeExit(exit)}`;
    const kind = kindOf(verb, runtimeMessage);
    return new RuntimeError({ verb, kind, runtimeMessage });
  }
  if (outcome.stdout !== undefined) return undefined;
  const runtimeMessage = `${command} wrote more output than is accepted`;
  return new RuntimeError({ verb, kind: "other", runtimeMessage });
}

function interruptionText(
  verb: Verb,
  command: string,
  outcome: Exclude<Outcome, { readonly kind: "exited" }>,
): string {
  const subject = `${command} ${verb} (process ${outcome.pid})`;
  const fate = outcome.isGone ? "was killed" : "was sent SIGKILL but has not ended";
  switch (outcome.kind) {
    case "timeout":
      return `${subject} did not finish within ${outcome.afterMs} ms and ${fate}`;
    case "canceled":
      return `${subject} was canceled after ${outcome.afterMs} ms and ${fate}`;
    case "flooded":
      return `${subject} wrote more to its log and its streams than is accepted and ${fate}`;
  }
}

/** Names of the signals that end programs, as the C library and Go spell them. */
const SIGNAL_TEXT: ReadonlyMap<number, string> = new Map([
  [1, "hangup"],
  [2, "interrupt"],
  [3, "quit"],
  [4, "illegal instruction"],
  [6, "aborted"],
  [7, "bus error"],
  [9, "killed"],
  [11, "segmentation fault"],
  [13, "broken pipe"],
  [15, "terminated"],
  [31, "bad system call"],
]);

function describeExit({ status, signal }: Exit): string {
  if (signal === 0) return `exit status ${status}`;
  return `signal: ${SIGNAL_TEXT.get(signal) ?? signal}`;
}
