/**
 * The lives of a daemon's process: the shim that it was started for, then, one after another, those that
 * it is hired for as a spare.
 */

import { readlinkSync } from "node:fs";
import { basename } from "node:path";
import { ShimError } from "../base/error.ts";
import type { Variables } from "../base/variables.ts";
import { readSettings } from "../handoff/settings.ts";
import { HANDOFF_VARIABLES } from "../handoff/variables.ts";
import { changeCommandLine } from "../linux/command-line.ts";
import { OwnedFd } from "../linux/fd.ts";
import { executableName } from "../version.ts";
import type { EndSignals } from "./end-signals.ts";
import type { Launcher } from "./invocation/environment.ts";
import { type Invocation, parseInvocation } from "./invocation/invocation.ts";
import { writeFailure, writeFailureLine } from "./invocation/stream.ts";
import { serve } from "./serve/serve.ts";
import { KIN_VARIABLE, type Kin, readKin } from "./spare/kin.ts";
import { type Hire, Spare } from "./spare/spare.ts";
import { becomeDaemon, releaseLauncher, type StartedDaemon } from "./start/become-daemon.ts";

const EXIT_FAILURE = 1;

/**
 * Serves one shim after another; returns the exit code. The working directory is the bundle of the first.
 * Throws as {@link becomeDaemon} does for the first.
 */
export async function runDaemon(first: Invocation, signals: EndSignals): Promise<number> {
  const { launcher } = first.environment;
  let life: Life | undefined =
    launcher === undefined ? { invocation: first } : startFirst(first, launcher);
  while (life !== undefined) {
    const end = await finish(life, signals);
    if (end === "failed") return EXIT_FAILURE;
    life = end === "done" && !signals.haveCome ? takeNext(first, life) : undefined;
  }
  return 0;
}

/** A shim to serve. It may have no launcher: then it has a socket to find, or a document. */
type Life = Pick<StartedDaemon, "invocation"> & Partial<StartedDaemon>;

function startFirst(invocation: Invocation, launcher: Launcher): StartedDaemon | undefined {
  using channel = new OwnedFd(launcher.channel);
  return becomeDaemon(invocation, { ...launcher, channel: channel.fd });
}

/** "done": its manager has let it go, and nothing of it is left. */
async function finish(
  { invocation, listener }: Life,
  signals: EndSignals,
): Promise<"done" | "ended" | "failed"> {
  try {
    return (await serve(invocation, signals.next(), listener)) ? "done" : "ended";
  } catch (error) {
    writeFailureLine(error);
    return "failed";
  }
}

/** The next shim that this process is to be; undefined when nobody wants one of it. */
function takeNext(first: Invocation, last: Life): StartedDaemon | undefined {
  const { spareMs } = readSettings(first.environment.variables);
  const { variables, inheritance } = last.invocation.environment;
  const { oomScore } = inheritance;
  const kin = readKin(variables[KIN_VARIABLE]);
  if (kin === undefined || spareMs === 0) return undefined;
  try {
    const spare = Spare.become({ kin: kin.name, oomScore });
    if (spare === undefined) return undefined;
    for (;;) {
      using hire = spare.wait(spareMs);
      if (hire === undefined) return undefined;
      const started = begin(hire, first, kin);
      if (started !== undefined) return started;
    }
  } catch {
    // The kernel lacks what it takes, or a start failed and may have changed what makes it kin.
    return undefined;
  }
}

/** Undefined where that is all: another shim has the task. Throws what {@link becomeDaemon} does, after telling the launcher. */
function begin(
  { words, channel, managerPid, directory }: Hire,
  first: Invocation,
  kin: Kin,
): StartedDaemon | undefined {
  const [program = executableName, ...args] = words;
  try {
    changeCommandLine(words, basename(program));
    process.chdir(readlinkSync(directory));
    const parsed = parseInvocation(program, args, launchedWith(first.environment.variables, kin));
    if (parsed.kind === "usage") throw new ShimError("invalidArgument", parsed.text);
    return becomeDaemon(parsed.invocation, { channel, managerPid, kin: kin.name, isParent: false });
  } catch (error) {
    writeFailure(error);
    releaseLauncher(channel, EXIT_FAILURE);
    throw error;
  }
}

/** As it was launched, whichever program of this process has these flags. */
function launchedWith(variables: Variables, { ttrpcAddress }: Kin): Variables {
  const entries = Object.entries(variables).filter(([name]) => !HANDOFF_VARIABLES.has(name));
  return { ...Object.fromEntries(entries), TTRPC_ADDRESS: ttrpcAddress || undefined };
}
