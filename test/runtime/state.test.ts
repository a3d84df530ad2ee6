import { describe, expect, test } from "bun:test";
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { hasRuntimeState, isAlive, readInitIdentity } from "../../src/runtime/state.ts";
import { makeBundle } from "../fake/bundle.ts";

/** A runtime's root with these files in it. */
class Root implements Disposable {
  readonly path = mkdtempSync(join(tmpdir(), "wedge-"));

  constructor(files: Readonly<Record<string, string>>) {
    for (const [name, text] of Object.entries(files)) {
      mkdirSync(dirname(join(this.path, name)), { recursive: true });
      writeFileSync(join(this.path, name), text);
    }
  }

  [Symbol.dispose](): void {
    rmSync(this.path, { recursive: true });
  }
}

describe("hasRuntimeState()", () => {
  test.each([
    ["a/state.json", true],
    ["a.state", true],
    ["a_sandbox:a.state", true],
    ["ab/state.json", false],
    ["b/state.json", false],
  ])("%s is state of a: %p", (file, wanted) => {
    using root = new Root({ [file]: "{}" });
    expect(hasRuntimeState(root.path, "a")).toBe(wanted);
  });

  test("no root, no state", () => {
    expect(hasRuntimeState("/no/such/root", "a")).toBe(false);
  });
});

describe("readInitIdentity()", () => {
  test.each([
    ["a/state.json", '{"init_process_pid":5,"init_process_start":77}', { pid: 5, startTicks: 77 }],
    ["a/status", '{"pid":5,"process-start-time":77}', { pid: 5, startTicks: 77 }],
    ["a/status", '{"pid":0,"process-start-time":77}', undefined],
    ["a/state.json", '{"init_process_pid":5}', undefined],
    ["a/state.json", "{", undefined],
    ["b/state.json", "{}", undefined],
  ])("%s with %s is %j", (file, text, wanted) => {
    using root = new Root({ [file]: text });
    expect(readInitIdentity(root.path, "a")).toEqual(wanted);
  });

  test("runc's own document names the init that runs", () => {
    using root = new Root({});
    using bundle = makeBundle({ script: "sleep 300" });
    const runc = (...args: string[]) =>
      Bun.spawnSync(["runc", "--root", root.path, ...args], {
        stdio: ["ignore", "ignore", "ignore"],
      });
    const pidFile = join(bundle.path, "init.pid");
    expect(runc("run", "-d", "--bundle", bundle.path, "--pid-file", pidFile, "a").success).toBe(
      true,
    );
    try {
      const init = readInitIdentity(root.path, "a");
      expect(init?.pid).toBe(Number(readFileSync(pidFile, "utf8")));
      expect(init !== undefined && isAlive(init)).toBe(true);
    } finally {
      runc("delete", "--force", "a");
    }
  });
});

describe("isAlive()", () => {
  test("a process whose name has parentheses and spaces is found, another start time is not it", async () => {
    using root = new Root({});
    const name = join(root.path, "a) Z (b");
    copyFileSync("/bin/sleep", name);
    const child = Bun.spawn([name, "300"], { stdio: ["ignore", "ignore", "ignore"] });
    const stat = readFileSync(`/proc/${child.pid}/stat`, "latin1");
    const startTicks = Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19]);
    expect(isAlive({ pid: child.pid, startTicks })).toBe(true);
    expect(isAlive({ pid: child.pid, startTicks: startTicks + 1 })).toBe(false);
    child.kill("SIGKILL");
    await child.exited;
    expect(isAlive({ pid: child.pid, startTicks })).toBe(false);
  });
});
