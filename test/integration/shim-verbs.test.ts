/** The verbs of `shim` about a container that runs without a manager, over real runc. */

import { afterAll, describe, expect, test } from "bun:test";
import { existsSync, mkdirSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { ShimTerminal, shim, shimOutput } from "../debug/command.ts";
import { type BundleOptions, makeBundle } from "../fake/bundle.ts";

const cleanup = new AsyncDisposableStack();
afterAll(async () => await cleanup.disposeAsync());

/** A container left to its shim; whatever is left of it goes at the end. */
async function detached(options: BundleOptions, ...flags: readonly string[]) {
  const bundle = cleanup.use(makeBundle(options));
  const { id, path } = bundle;
  cleanup.defer(async () => {
    await shim(["delete", "--force", id]);
  });
  await shimOutput("run", "--id", id, "--bundle", path, "--detach", ...flags);
  return bundle;
}

async function inspect(id: string) {
  return JSON.parse(await shimOutput("inspect", id, "--json"));
}

async function listed(id: string) {
  const rows: { id: string; status: string }[] = JSON.parse(await shimOutput("ps", "--json"));
  return rows.find((row) => row.id === id);
}

describe("a container that runs", () => {
  test("goes through its life: state, pause, resume, kill, wait, delete", async () => {
    const { id, path } = await detached({
      script: "trap 'exit 3' TERM; while :; do sleep 0.1; done",
    });
    expect(JSON.parse(await shimOutput("state", id, "--json"))).toMatchObject({
      id,
      status: "running",
      bundle: path,
      exitStatus: null,
    });
    await shimOutput("pause", id);
    expect(await listed(id)).toMatchObject({ kind: "wedge", status: "paused" });
    await shimOutput("resume", id);
    expect(await listed(id)).toMatchObject({ status: "running", connections: 0, isAsleep: false });
    expect(await shim(["delete", id])).toMatchObject({ code: 1, stdout: "" });
    await shimOutput("kill", id);
    expect(await shim(["wait", id])).toMatchObject({ code: 3, stdout: "3\n" });
    expect(await listed(id)).toMatchObject({ status: "stopped", exitStatus: 3, pids: 0 });
    expect(await shimOutput("delete", id)).toBe("3\n");
    expect(readdirSync(path).sort()).toEqual(["config.json", "rootfs"]);
    expect(await shim(["state", id])).toMatchObject({ code: 3, stdout: "" });
  });

  test("runs further programs with their streams and exit codes", async () => {
    const { id } = await detached({ args: ["sleep", "600"] });
    expect(await shim(["exec", id, "sh", "-c", "echo out; echo err >&2; exit 9"])).toEqual({
      code: 9,
      stdout: "out\n",
      stderr: "err\n",
    });
    expect(await shim(["exec", id, "cat"], "in\n")).toMatchObject({ code: 0, stdout: "in\n" });
    const told = ["exec", "-e", "A=b", "-w", "/tmp", "-u", "7:8", id, "sh", "-c"];
    expect(await shimOutput(...told, "echo $A; pwd; id -u; id -g")).toBe("b\n/tmp\n7\n8\n");
    expect(await shim(["exec", id, "/no/such/program"])).toMatchObject({ code: 1, stdout: "" });
    expect(await shim(["exec", "--timeout", "100ms", id, "sleep", "600"])).toMatchObject({
      code: 124,
    });
    const { answer } = await inspect(id);
    expect(answer.containers[0].processes).toHaveLength(1);
  });

  test("gives an exec this terminal", async () => {
    const { id } = await detached({ args: ["sleep", "600"] });
    await using terminal = new ShimTerminal(["exec", "-t", id, "sh"], { cols: 91, rows: 31 });
    await terminal.shows(/# /);
    terminal.type("stty size; exit 7\n");
    expect(await terminal.exited).toBe(7);
    await terminal.shows(/31 91/);
  });

  test("with a terminal waits for somebody to attach, and may be left", async () => {
    const { id, path } = await detached({ args: ["sh"] }, "--tty");
    {
      await using terminal = new ShimTerminal(["attach", id]);
      await terminal.shows(/# /);
      terminal.type("value=kept\n");
      await terminal.shows(/value=kept\r\n.*# /s);
      terminal.type("\x10\x11");
      expect(await terminal.exited).toBe(0);
    }
    expect(await listed(id)).toMatchObject({ status: "running" });
    await using terminal = new ShimTerminal(["attach", id]);
    terminal.type("echo $value; exit 5\n");
    expect(await terminal.exited).toBe(5);
    await terminal.shows(/kept\r\n/);
    expect(await shimOutput("delete", id)).toBe("5\n");
    expect(readdirSync(path).sort()).toEqual(["config.json", "rootfs"]);
  });
});

describe("shim inspect", () => {
  test("shows processes, calls in flight, calls of the runtime and named descriptors", async () => {
    const { id } = await detached({ args: ["sleep", "600"] });
    await using waiting = new ShimTerminal(["wait", id]);
    await shim(["exec", id, "false"]);
    let document = await inspect(id);
    while (document.answer.calls.length === 0) document = await inspect(id);
    const { status, initPid, answer } = document;
    expect(status).toBe("running");
    expect(answer.calls).toMatchObject([{ method: "Wait", id }]);
    expect(answer.containers).toMatchObject([
      { id, processes: [{ id, pid: initPid, status: "running", waiters: 1, droppedBytes: 0 }] },
    ]);
    const verbs = answer.runtimeCalls.map(({ verb }: { verb: string }) => verb);
    expect(verbs).toEqual(["create", "start", "exec"]);
    expect(answer.runtimeCalls).toMatchObject([{ exitStatus: 0 }, {}, {}]);
    const names = answer.descriptors.map(({ name }: { name: string }) => name);
    expect(names).toEqual(expect.arrayContaining(["listener", "log", `exit of ${id}`]));
    expect(answer.journal).toEqual({ pending: 0, dropped: 0, hasNoManager: true });
    expect(waiting.output).toBe("");
  });

  test("shows what a runtime said when it failed", async () => {
    const { id } = await detached({ args: ["sleep", "600"] });
    await shim(["exec", id, "/no/such/program"]);
    const text = await shimOutput("inspect", id);
    expect(text).toMatch(/^exec .* \/no\/such\/program/m);
    expect(text).toMatch(/^status +running$/m);
  });
});

describe("shim top", () => {
  test("is drawn anew until q, and gives the terminal back", async () => {
    const { id } = await detached({ args: ["sleep", "600"] });
    const size = { cols: 160, rows: 60 };
    await using terminal = new ShimTerminal(["top", "--interval", "50ms"], size);
    await terminal.shows(new RegExp(`${id} .*${id} `, "s"));
    terminal.type("q");
    expect(await terminal.exited).toBe(0);
    await terminal.shows(/\[\?1049l$/);
    expect(terminal.output).toStartWith("\x1b[?1049h");
  });

  test("is one table on a pipe, and a list for programs", async () => {
    const { id } = await detached({ args: ["sleep", "600"] });
    const flags = ["--interval", "50ms", "--sort", "memory"];
    expect(await shimOutput("top", ...flags)).toMatch(new RegExp(`^default +${id} +running `, "m"));
    const usage: { id: string }[] = JSON.parse(await shimOutput("top", ...flags, "--json"));
    expect(usage.find((each) => each.id === id)).toMatchObject({ status: "running", pids: 1 });
  });
});

describe("a shim that hangs", () => {
  test("is listed like any other, inspected as far as the kernel tells, and said to hang", async () => {
    const { id } = await detached({ args: ["sleep", "600"] });
    const { shim: own } = await inspect(id);
    process.kill(own.pid, "SIGSTOP");
    try {
      expect(await listed(id)).toMatchObject({ status: "running", pids: 1 });
      expect((await shimOutput("stats", id)).split("\n")[0]).toMatch(/^cpu/);
      const [document, paused] = await Promise.all([inspect(id), shim(["pause", id])]);
      const { status, answer, problem } = document;
      expect({ status, answer }).toEqual({ status: "running", answer: null });
      expect(problem).toContain("does not answer");
      expect(paused).toMatchObject({ code: 4, stdout: "" });
    } finally {
      process.kill(own.pid, "SIGCONT");
    }
  });
});

describe("shim run", () => {
  test("--no-tty, --log and --pid-file do what they say, and config.json stays as it is", async () => {
    const bundle = cleanup.use(makeBundle({ script: "tty; echo err >&2", terminal: true }));
    const { id, path } = bundle;
    const config = readFileSync(join(path, "config.json"), "utf8");
    const [log, pidFile] = [join(path, "../log.txt"), join(path, "../pid")];
    const flags = ["--no-tty", "--log", log, "--pid-file", pidFile];
    const temporary = join(path, "../tmp");
    mkdirSync(temporary);
    const words = ["run", "--id", id, "--bundle", path, ...flags];
    const result = await shim(words, undefined, { TMPDIR: temporary });
    expect(result).toEqual({ code: 0, stdout: "", stderr: "" });
    expect(readdirSync(temporary)).toEqual([]);
    expect(readFileSync(log, "utf8").split("\n").sort()).toEqual(["", "err", "not a tty"]);
    expect(Number(readFileSync(pidFile, "utf8"))).toBeGreaterThan(1);
    expect(readFileSync(join(path, "config.json"), "utf8")).toBe(config);
  });

  test("takes flags with one dash too, and refuses what cannot be together", async () => {
    const { id, path } = cleanup.use(makeBundle({ args: ["true"] }));
    const named = ["-id", id, "-bundle", path, "-no-tty"];
    expect(await shim([...named])).toEqual({ code: 0, stdout: "", stderr: "" });
    const refused = await shim([...named, "-timeout=5s", "--detach"]);
    expect(refused).toMatchObject({ code: 2, stdout: "" });
    expect(refused.stderr).toContain("--timeout or --detach");
  });

  test("--timeout kills what runs longer, with exit code 124 and nothing left", async () => {
    const { id, path } = cleanup.use(makeBundle({ args: ["sleep", "600"] }));
    const result = await shim(["run", "--id", id, "--bundle", path, "--timeout", "500ms"]);
    expect(result).toMatchObject({ code: 124, stdout: "" });
    expect(result.stderr).toContain("was killed");
    expect(existsSync(`/run/containerd/runc/default/${id}`)).toBe(false);
    expect(readdirSync(path).sort()).toEqual(["config.json", "rootfs"]);
  });
});
