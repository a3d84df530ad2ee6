/** A system that lets nobody execute memory files: upgrades go without a guardian. */

import { expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { join } from "node:path";

const GUARDIAN = join(import.meta.dir, "../../src/handoff/guardian.ts");
const SYSCTL = "/proc/sys/vm/memfd_noexec";
/** Prints what the log is told, and what has been summoned. */
const PROGRAM = `
  globalThis.WEDGE_GUARDIAN = "AAAA";
  const { Guardian } = await import(${JSON.stringify(GUARDIAN)});
  const log = { warn: (message, { error }) => console.log(message + ": " + error) };
  console.log(await Guardian.summon(log));
`;

const canSet = existsSync(SYSCTL) && process.getuid?.() === 0;

test.skipIf(!canSet)("a guardian that may not be executed is gone without", () => {
  // In a pid namespace of its own, which has a sysctl of its own (kernel 6.6).
  const script = `echo 2 > ${SYSCTL} && exec "$0" -e "$1"`;
  const argv = ["unshare", "--pid", "--fork", "--mount-proc", "sh", "-c", script];
  const { stdout } = Bun.spawnSync([...argv, process.execPath, PROGRAM]);
  expect(stdout.toString()).toBe(
    "No guardian looks after this upgrade: memfd_create: permission denied\nundefined\n",
  );
});
