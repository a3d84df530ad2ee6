/** A shim to which nothing happens for two seconds waits below its event loop; what ends that: `quiet.test.ts`. */

import { beforeAll, describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { buildExecutable } from "../compiled.ts";
import { LiveShim, until } from "./live-shim.ts";

const TIMEOUT_MS = 240_000;
const QUIET_MS = 3000;

beforeAll(buildExecutable, TIMEOUT_MS);

async function dozing(shim: LiveShim): Promise<void> {
  await until("the shim dozes", () => shim.isDozing);
}

/** How often it has given up the processor by itself. */
function waitsOf({ pid }: LiveShim): number {
  const status = readFileSync(`/proc/${pid}/status`, "utf8");
  return Number(/^voluntary_ctxt_switches:\s+(\d+)/m.exec(status)?.[1]);
}

describe("a dozing shim", () => {
  test(
    "does not wake up by itself",
    async () => {
      await using shim = await LiveShim.start();
      using bundle = shim.bundle({ script: "sleep 1000" });
      await shim.create(bundle);
      await shim.task.start({ id: bundle.id, execId: "" });
      await dozing(shim);
      const before = waitsOf(shim);
      await Bun.sleep(QUIET_MS);
      expect(waitsOf(shim)).toBe(before);
    },
    TIMEOUT_MS,
  );

  test(
    "can be stopped and continued, and sleeps when it is time to",
    async () => {
      await using shim = await LiveShim.start({ sleepAfterSeconds: 4 });
      using bundle = shim.bundle({ script: "sleep 1000" });
      await shim.create(bundle);
      await dozing(shim);
      process.kill(shim.pid, "SIGSTOP");
      process.kill(shim.pid, "SIGCONT");
      if (Bun.which("cc") === null) await dozing(shim);
      else await until("it sleeps", () => shim.isAsleep);
      expect(await shim.task.state({ id: bundle.id, execId: "" })).toMatchObject({ id: bundle.id });
    },
    TIMEOUT_MS,
  );
});
