/** What a shim inherits from whoever starts it and must not depend on: signals ignored and blocked, capabilities. */

import { beforeAll, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { buildExecutable, executable } from "../compiled.ts";
import { LiveShim, until } from "./live-shim.ts";

const LIMIT_MS = 60_000;
/** A container is created, started and looked at, and the shim is left alone for longer than this. */
const SLEEP_AFTER_SECONDS = 0.1;

/** The executable, started by a script that ends in `start`, in which "$@" is the executable with its words. */
class StartedBy implements Disposable {
  readonly path: string;
  readonly #directory = mkdtempSync(join(tmpdir(), "wedge-inherited-"));

  constructor(start: string) {
    this.path = join(this.#directory, "start");
    writeFileSync(this.path, `#!/bin/sh\nset -- ${executable} "$@"\n${start}\n`, { mode: 0o755 });
  }

  [Symbol.dispose](): void {
    rmSync(this.#directory, { recursive: true });
  }
}

beforeAll(buildExecutable);

test.each([0, SLEEP_AFTER_SECONDS])(
  "exits are told by a shim that was started with SIGCHLD ignored, asleep after %d s",
  async (sleepAfterSeconds) => {
    using start = new StartedBy(`trap '' CHLD PIPE HUP; exec "$@"`);
    await using shim = await LiveShim.start({ executable: start.path, sleepAfterSeconds });
    using bundle = shim.bundle({
      script: "until [ -e /go ]; do sleep 0.02; done; sleep 1; exit 5",
    });
    const { id } = bundle;
    await shim.create(bundle);
    await shim.task.start({ id, execId: "" });
    if (sleepAfterSeconds > 0) await until("it sleeps", () => shim.isAsleep);
    await shim.exec(id, "e", ["sh", "-c", "touch /go; exit 9"]);
    expect((await shim.task.wait({ id, execId: "e" })).exitStatus).toBe(9);
    expect((await shim.task.wait({ id, execId: "" })).exitStatus).toBe(5);
    expect((await shim.task.delete({ id, execId: "" })).exitStatus).toBe(5);
    process.kill(shim.pid, "SIGTERM");
    await until("it has ended", () => !shim.isAlive);
  },
  LIMIT_MS,
);

test(
  "a shim is closed to its equals, awake and asleep",
  async () => {
    // Who may trace anything sees everything; and nobody looks into what has more capabilities than he.
    const equals = "setpriv --bounding-set=-sys_ptrace --inh-caps=-sys_ptrace";
    using start = new StartedBy(`exec ${equals} "$@"`);
    const sleepAfterSeconds = SLEEP_AFTER_SECONDS;
    await using shim = await LiveShim.start({ executable: start.path, sleepAfterSeconds });
    using bundle = shim.bundle({ args: ["sleep", "1000"] });
    const { id } = bundle;
    await shim.create(bundle);
    await shim.task.start({ id, execId: "" });
    const canLook = (pid: number) =>
      Bun.spawnSync(["sh", "-c", `exec ${equals} readlink /proc/${pid}/fd/0`]).exitCode === 0;
    const plain = Bun.spawn(["sh", "-c", `exec ${equals} sleep 1000`]);
    try {
      // So that it is known to be the shim that forbids it.
      await until("an equal can be looked into", () => canLook(plain.pid));
    } finally {
      plain.kill("SIGKILL");
    }
    for (let round = 0; round < 2; round++) {
      await until("it sleeps", () => shim.isAsleep);
      expect(canLook(shim.pid)).toBe(false);
      expect(shim.isAsleep).toBe(true);
      await shim.task.state({ id, execId: "" });
      expect(canLook(shim.pid)).toBe(false);
    }
    await shim.remove(id);
  },
  LIMIT_MS,
);
