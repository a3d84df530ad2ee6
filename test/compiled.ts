/** The executable as it is compiled, for tests of what only that can show. */

import { join } from "node:path";
import { executableName } from "../src/version.ts";

export const project = join(import.meta.dir, "..");
export const executable = join(project, "dist", executableName);

/** Does nothing when nothing has changed. Throws Error when it cannot be built. */
export async function buildExecutable(): Promise<void> {
  const build = Bun.spawn([process.execPath, "scripts/build.ts"], {
    cwd: project,
    stdout: "ignore",
  });
  if ((await build.exited) !== 0) throw new Error("The executable cannot be built");
}
