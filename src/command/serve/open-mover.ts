/** The mover of a shim: what it needs to know of the process that it is to exchange the program of. */

import type { Arrival } from "../../handoff/arrival.ts";
import type { HandoffDocument } from "../../handoff/document.ts";
import { Mover } from "../../handoff/mover.ts";
import { nextQuietMs } from "../../handoff/rhythm.ts";
import { readSettings } from "../../handoff/settings.ts";
import type { ShimParts } from "../../handoff/snapshot.ts";
import { monotonicMs } from "../../linux/clock.ts";
import { ownProgramFile } from "../../linux/program.ts";
import { countOwnWords } from "../../linux/self-command.ts";
import { daemonWords, type Invocation } from "../invocation/invocation.ts";
import type { DaemonLog } from "./log.ts";

/** Goes on where the previous program left off. */
export function openMover(
  parts: ShimParts,
  shim: {
    readonly invocation: Invocation;
    readonly log: DaemonLog;
    readonly env: readonly string[];
    readonly document: HandoffDocument | undefined;
    readonly arrival: Arrival | undefined;
  },
): Mover {
  const { log, env, document, arrival } = shim;
  const settings = readSettings(shim.invocation.environment.variables);
  const { sleepAfterMs } = settings;
  const cause = document?.cause;
  let quietMs = document?.quietMs;
  if (cause?.kind === "sleep" && arrival?.hasSlept) {
    quietMs = nextQuietMs(quietMs ?? sleepAfterMs, monotonicMs() - cause.sinceMs, sleepAfterMs);
  }
  return new Mover({
    parts,
    log,
    env,
    ownWordCount: countOwnWords(),
    flags: daemonWords(shim.invocation),
    ownPath: ownProgramFile().path,
    quietMs,
    isRenewed: cause?.kind === "renewal",
    refused: document?.refused,
    ...settings,
  });
}
