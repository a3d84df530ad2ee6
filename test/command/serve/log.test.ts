import { describe, expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { guardProcess } from "../../../src/command/serve/guard.ts";
import { createLogger, lostLine } from "../../../src/command/serve/log.ts";
import { O_APPEND, O_CREAT, O_WRONLY, openFd } from "../../../src/linux/fd.ts";
import { LogSink } from "../../../src/linux/log-sink.ts";

/** A log into a file, and the records that have arrived there. */
function openTestLog(isDebug: boolean) {
  const stack = new DisposableStack();
  const directory = mkdtempSync(join(tmpdir(), "wedge-"));
  stack.defer(() => rmSync(directory, { recursive: true }));
  const path = join(directory, "log");
  const fd = stack.use(openFd(path, O_WRONLY | O_CREAT | O_APPEND, 0o600));
  const sink = stack.use(LogSink.open(fd.fd, lostLine));
  const log = createLogger({ sink, isDebug, fields: { shim: "a" }, loadDelayMs: 60_000 });
  const records = (): readonly Record<string, unknown>[] =>
    readFileSync(path, "utf8")
      .split("\n")
      .filter((line) => line !== "")
      .map((line) => JSON.parse(line));
  return { log, records, [Symbol.dispose]: () => stack.dispose() };
}

describe("createLogger()", () => {
  test.each(["pino", "no pino"])("records wait, and are written in order with %s", async (how) => {
    using opened = openTestLog(false);
    const { log, records } = opened;
    const before = Date.now();
    log.info("first", { count: 1 });
    log.warn("second");
    const after = Date.now();
    expect(records()).toEqual([]);
    if (how === "pino") await log.load();
    else log.flush();
    expect(records()).toMatchObject([
      { level: "info", shim: "a", count: 1, msg: "first" },
      { level: "warn", shim: "a", msg: "second" },
    ]);
    for (const { time } of records()) {
      expect(Date.parse(String(time))).toBeGreaterThanOrEqual(before);
      expect(Date.parse(String(time))).toBeLessThanOrEqual(after);
    }
  });

  test("what comes after pino is written at once, and nothing twice", async () => {
    using opened = openTestLog(false);
    opened.log.info("first");
    await opened.log.load();
    opened.log.error("second");
    opened.log.flush();
    expect(opened.records().map(({ msg }) => msg)).toEqual(["first", "second"]);
  });

  test.each([
    [false, ["info"]],
    [true, ["debug", "info"]],
  ])("debug records are written where that is asked for: %p", async (isDebug, levels) => {
    using opened = openTestLog(isDebug);
    opened.log.debug("a step");
    opened.log.info("a fact");
    await opened.log.load();
    opened.log.debug("a step");
    opened.log.info("a fact");
    expect(opened.records().map(({ level }) => level)).toEqual([...levels, ...levels]);
  });

  test("more records than are kept before pino are counted", () => {
    using opened = openTestLog(false);
    for (let index = 0; index < 300; index++) opened.log.info(`record ${index}`);
    opened.log.flush();
    const texts = opened.records().map(({ msg }) => msg);
    expect(texts).toHaveLength(257);
    expect(texts.slice(-2)).toEqual(["record 255", "44 lines of the log were dropped here"]);
  });

  test.each(["pino", "no pino"])("errors, bigints and circles do no harm with %s", async (how) => {
    using opened = openTestLog(false);
    const circle: Record<string, unknown> = {};
    circle["self"] = circle;
    const error = new Error("Cannot do it", { cause: new Error("no room") });
    opened.log.error("failed", { error, size: 5n });
    opened.log.error("circle", { circle });
    if (how === "pino") await opened.log.load();
    else opened.log.flush();
    expect(opened.records()).toMatchObject([
      { error: "Cannot do it; caused by: no room", size: "5", msg: "failed" },
      { msg: "circle" },
    ]);
  });
});

describe("guardProcess()", () => {
  test("a process goes on after an exception and a rejection that nobody took, and dumps on SIGUSR1", async () => {
    const script = `
      import { guardProcess } from ${JSON.stringify(join(import.meta.dir, "../../../src/command/serve/guard.ts"))};
      const print = (level) => (message) => process.stdout.write(level + " " + message + "\\n");
      const log = { debug: print("debug"), info: print("info"), warn: print("warn"), error: print("error") };
      guardProcess({ log, dump: () => ["state"] });
      setInterval(() => {}, 1000);
      setTimeout(() => {
        setTimeout(() => {
          process.on("SIGUSR1", () => setTimeout(() => process.exit(7)));
          process.kill(process.pid, "SIGUSR1");
        });
        Promise.reject(new Error("rejected"));
      }, 10);
      setTimeout(() => { throw new Error("thrown"); });
    `;
    const child = Bun.spawn([process.execPath, "-e", script], { stdout: "pipe", stderr: "pipe" });
    const text = await new Response(child.stdout).text();
    expect(await child.exited).toBe(7);
    expect(text.split("\n").slice(0, -1)).toEqual([
      "error Uncaught exception",
      "error Unhandled rejection",
      "info === BEGIN shim dump ===",
      "info state",
      "info === END shim dump ===",
    ]);
  });

  test("disposing takes its handlers away", () => {
    const log = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} };
    const before = process.listenerCount("SIGUSR1");
    const guard = guardProcess({ log, dump: () => [] });
    expect(process.listenerCount("SIGUSR1")).toBe(before + 1);
    guard[Symbol.dispose]();
    expect(process.listenerCount("SIGUSR1")).toBe(before);
    expect(process.listenerCount("uncaughtException")).toBe(0);
  });
});
