/**
 * `start`, where no launcher came before the engine (src/native/launcher.c): run from source, built
 * without a C compiler, or when the launcher could not do it. It does the same: executes this program as
 * the daemon-to-be, with the manager's own streams, and exits when that has answered or exited.
 */

import { readSync } from "node:fs";
import { spawnProcess, waitForPid } from "../../linux/children.ts";
import { openPipe } from "../../linux/fd.ts";
import { disablesHugePages, setHugePagesDisabled } from "../../linux/huge-pages.ts";
import { selfCommand } from "../../linux/self-command.ts";
import {
  daemonEnvironment,
  ENGINE_SETTINGS,
  HEEDED_SIGNALS,
} from "../invocation/daemon-settings.ts";
import { inheritanceEntries, LAUNCHER_VARIABLE } from "../invocation/environment.ts";
import { daemonWords, type Invocation } from "../invocation/invocation.ts";

/** Beside the standard streams. */
const CHANNEL_FD = 3;

/** Returns the exit code. Throws SystemError. */
export function launch(invocation: Invocation): number {
  const { namespace, id, address, isDebug, environment } = invocation;
  const { reader, writer } = openPipe();
  using _reader = reader;
  let pid: number;
  {
    using _writer = writer;
    // Before the daemon is born: its first pages would be huge ones.
    const hasHugePages = !disablesHugePages() && setHugePagesDisabled(true);
    const self = selfCommand();
    pid = spawnProcess({
      path: self.path,
      argv: [...self.argv, ...daemonWords({ namespace, id, address, isDebug })],
      env: [
        ...daemonEnvironment(environment.variables),
        ...inheritanceEntries({ oomScore: undefined, hasHugePages }),
        ...ENGINE_SETTINGS,
        `${LAUNCHER_VARIABLE}=${CHANNEL_FD}:${process.ppid}`,
      ],
      cwd: process.cwd(),
      stdio: [0, 1, 2, writer.fd],
      leads: "group",
      blocked: HEEDED_SIGNALS,
    });
  }
  if (readSync(reader.fd, new Uint8Array(1)) === 1) return 0;
  return waitForPid(pid).status;
}
