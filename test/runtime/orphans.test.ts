/** Whose runtime processes are killed, and whose are not. */

import { expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { spawnProcess, waitForPid } from "../../src/linux/children.ts";
import { ownPid } from "../../src/linux/self.ts";
import { killOrphans } from "../../src/runtime/orphans.ts";

const LIMIT_MS = 10_000;
const SIGKILL = 9;
/** No process has it. */
const GONE = 2 ** 30;

test.each([
  ["whose caller is gone is killed", GONE, "call", SIGKILL],
  ["of a caller that lives is left alone", ownPid(), "call", 0],
  ["of another bundle is left alone", GONE, "other", 0],
])("a call %s", (_, caller, word, signal) => {
  const bundle = mkdtempSync(join(tmpdir(), "orphans-"));
  const log = `runtime-create-log-${caller}-x-1.json`;
  writeFileSync(join(bundle, log), "");
  const named = word === "call" ? join(bundle, log) : join("/elsewhere", log);
  const pid = spawnProcess({
    argv: ["/bin/sh", "-c", "sleep 1000; true", "sh", "--log", named],
    env: ["PATH=/usr/bin:/bin"],
    stdio: [],
    leads: "group",
  });
  try {
    killOrphans(bundle, LIMIT_MS);
    if (signal === 0) process.kill(-pid, "SIGTERM");
    expect(waitForPid(pid).signal).toBe(signal || 15);
  } finally {
    rmSync(bundle, { recursive: true });
  }
});

test("who only looks into the log is left alone, and so is his shell", () => {
  const bundle = mkdtempSync(join(tmpdir(), "orphans-"));
  const log = join(bundle, `runtime-create-log-${GONE}-x-1.json`);
  writeFileSync(log, "");
  const shell = spawnProcess({
    // Without an output tail would exit by itself.
    argv: ["/bin/sh", "-c", `tail -f ${log} >/dev/null & wait`],
    env: ["PATH=/usr/bin:/bin"],
    stdio: [],
    leads: "group",
  });
  try {
    const isLooking = () => readFileSync(`/proc/${shell}/task/${shell}/children`, "utf8") !== "";
    while (!isLooking()) Bun.sleepSync(1);
    killOrphans(bundle, LIMIT_MS);
    expect(isLooking()).toBe(true);
    process.kill(-shell, "SIGTERM");
    expect(waitForPid(shell).signal).toBe(15);
  } finally {
    rmSync(bundle, { recursive: true });
  }
});

test("without a bundle there is nothing to kill", () => {
  expect(() => killOrphans("/no/such/bundle", LIMIT_MS)).not.toThrow();
});
