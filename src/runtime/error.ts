/**
 * Failures of a runtime, sorted into kinds: the only place that interprets runtimes' messages.
 *
 * `runtimeMessage` is passed on verbatim within `message`, because engines derive exit codes from it
 * ("executable file not found", "permission denied").
 */

import { type Reason, ShimError } from "../base/error.ts";
import type { Verb } from "./runtime.ts";

/**
 * - `processFinished`: a signal found its process gone.
 * - `containerNotFound`: the runtime does not know the container.
 * - `notRunning`: the container has stopped, and the verb needs it running.
 * - `notPaused`: the container runs, and was to be resumed.
 * - `timeout`: the runtime process did not finish in time and was killed.
 * - `canceled`: it was killed because the caller asked.
 * - `flooded`: it was killed because it wrote too much.
 * - `runtimeNotFound`: there is no such executable.
 * - `other`: see the message.
 */
export type FailureKind =
  | "processFinished"
  | "containerNotFound"
  | "notRunning"
  | "notPaused"
  | "timeout"
  | "canceled"
  | "flooded"
  | "runtimeNotFound"
  | "other";

/** What precedes the runtime's words, by verb. */
const PREFIX: Readonly<Record<Verb, string>> = {
  create: "OCI runtime create failed",
  restore: "OCI runtime restore failed",
  start: "OCI runtime start failed",
  exec: "OCI runtime exec failed",
  kill: "unknown error after kill",
  delete: "failed to delete task",
  pause: "OCI runtime pause failed",
  resume: "OCI runtime resume failed",
  update: "OCI runtime update failed",
  checkpoint: "OCI runtime checkpoint failed",
  features: "OCI runtime features failed",
};

export interface Failure {
  readonly verb: Verb;
  readonly kind: FailureKind;
  /** The runtime's sentence, without our prefix. */
  readonly runtimeMessage: string;
}

/** A failed call to the runtime. `message` is complete, prefix included, and may go to the user. */
export class RuntimeError extends ShimError {
  readonly verb: Verb;
  readonly kind: FailureKind;
  readonly runtimeMessage: string;

  constructor(failure: Failure, options?: ErrorOptions) {
    super(reasonOf(failure), messageFor(failure), options);
    this.verb = failure.verb;
    this.kind = failure.kind;
    this.runtimeMessage = failure.runtimeMessage;
  }
}

/**
 * Only a kill reports `notFound`: peers rely on it there, while a `notFound` from Pids makes containerd
 * take the whole container for gone, and one from Create or Start would be misread likewise.
 */
function reasonOf({ verb, kind }: Failure): Reason {
  switch (kind) {
    case "timeout":
      return "deadlineExceeded";
    case "canceled":
      return "canceled";
    case "flooded":
      return "resourceExhausted";
    case "processFinished":
    case "containerNotFound":
      return verb === "kill" ? "notFound" : "unknown";
    case "notRunning":
    case "notPaused":
    case "runtimeNotFound":
    case "other":
      return "unknown";
  }
}

function messageFor({ verb, kind, runtimeMessage }: Failure): string {
  if (verb === "kill" && kind === "processFinished") return "process already finished";
  if (verb === "kill" && kind === "containerNotFound") return "no such container";
  return `${PREFIX[verb]}: ${runtimeMessage}`;
}

/** Sentences that mean: the process or the whole container has ended. */
const FINISHED: readonly RegExp[] = [
  /os: process already finished/, // runc: the signal came too late
  /no such process/i, // the kernel's ESRCH, in everybody's spelling
  /container not running/, // runc
  /container `[^`]*` is not running/, // crun
  /container process not found/, // crun: the pid is another's by now
  /incorrect container status/, // youki, for every verb that the state does not allow
];

/** Sentences that mean the same for verbs other than kill. */
const STOPPED: readonly RegExp[] = [
  /in a stopped container/, // runc exec
  /container that has stopped/, // runc start
  /in stopped state/, // runc checkpoint
];

/** What runc says of a container that is not frozen; crun thaws it all the same. */
const NOT_PAUSED = /container not paused/;

/** Sentences that mean: I do not know this container. */
const MISSING: readonly RegExp[] = [
  // runc, with and without the id; youki; runsc. Not the tail of a path, "/bin/container not found".
  /(?:^|\s)container (?:state directory |with id )?(?:[`"']?[\w.+-]+[`"']? )?(?:does not exist|not found)/i,
  /error opening file [`'][^`']*\/status[`']: no such file/i, // crun
  /cannot open directory [`'][^`']*[`']: no such file/i, // crun delete
];

/** What a runtime's words mean for `verb`. For its own error texts, not for ours. */
export function kindOf(verb: Verb, runtimeMessage: string): FailureKind {
  const says = (sentences: readonly RegExp[]) =>
    sentences.some((sentence) => sentence.test(runtimeMessage));
  switch (verb) {
    case "create":
    case "restore":
    case "features":
      // There is no container yet: what "does not exist" is some path of its configuration.
      return "other";
    case "kill":
    case "delete":
      if (says(FINISHED)) return verb === "kill" ? "processFinished" : "notRunning";
      // These two name nothing of the user's own, so any "does not exist" is the container.
      return says(MISSING) || runtimeMessage.includes("does not exist")
        ? "containerNotFound"
        : "other";
    case "resume":
      if (NOT_PAUSED.test(runtimeMessage)) return "notPaused";
      break;
    case "start":
    case "exec":
    case "pause":
    case "update":
    case "checkpoint":
      break;
  }
  if (says(FINISHED) || says(STOPPED)) return "notRunning";
  return says(MISSING) ? "containerNotFound" : "other";
}

/** Whether it is a runtime call that failed because the runtime was killed: it may have done half of its work. */
export function wasKilled(error: unknown): boolean {
  if (!(error instanceof RuntimeError)) return false;
  return error.kind === "timeout" || error.kind === "canceled" || error.kind === "flooded";
}
