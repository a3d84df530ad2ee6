/** `shim call` and `shim trace` against a real container, wedge's own and under a shim that is not wedge. */

import { afterAll, describe, expect, test } from "bun:test";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { makeBundle } from "../fake/bundle.ts";

const SHIM = join(import.meta.dirname, "../../dist/shim");
const directory = mkdtempSync(join(tmpdir(), "wedge-follow-"));
const bundle = makeBundle({ args: ["sleep", "600"] });

afterAll(async () => {
  await shim("delete", "--force", bundle.id);
  bundle[Symbol.dispose]();
  rmSync(directory, { recursive: true, force: true });
});

async function shim(...args: string[]) {
  const child = Bun.spawn([SHIM, ...args], { stdio: ["ignore", "pipe", "pipe"] });
  const [stdout, stderr, code] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ]);
  return { stdout, stderr, code };
}

/** A trace that runs, read as it comes. */
class Tracer {
  text = "";
  readonly #process: Bun.Subprocess<"ignore", "pipe", "inherit">;
  readonly #chunks: AsyncIterator<Uint8Array>;
  readonly #decoder = new TextDecoder();

  constructor(...args: string[]) {
    this.#process = Bun.spawn([SHIM, "trace", ...args], { stdio: ["ignore", "pipe", "inherit"] });
    this.#chunks = this.#process.stdout[Symbol.asyncIterator]();
  }

  /** Reads until the text has a match, or to its end. */
  async until(pattern: RegExp): Promise<void> {
    while (!pattern.test(this.text)) {
      const { value, done } = await this.#chunks.next();
      if (done) break;
      this.text += this.#decoder.decode(value, { stream: true });
    }
    expect(this.text).toMatch(pattern);
  }

  async end(signal?: NodeJS.Signals): Promise<number> {
    if (signal !== undefined) this.#process.kill(signal);
    const end = async () => {
      for (;;) {
        const { value, done } = await this.#chunks.next();
        if (done) return;
        this.text += this.#decoder.decode(value, { stream: true });
      }
    };
    await end();
    return await this.#process.exited;
  }
}

describe("shim call and shim trace", () => {
  test("a call answers in JSON, an error in one line with an exit code of its own", async () => {
    const { id, path } = bundle;
    expect(await shim("run", "--id", id, "--bundle", path, "--detach")).toMatchObject({ code: 0 });
    const state = await shim("call", id, "State");
    expect(JSON.parse(state.stdout)).toMatchObject({ id, status: "RUNNING", bundle: path });
    const lost = await shim("call", id, "Task/State", '{"id": "no-such"}');
    expect(lost).toMatchObject({ code: 3, stdout: "" });
    expect(lost.stderr).toMatch(
      /^shim: containerd\.task\.v\d\.Task\/State: container not created\n$/,
    );
    expect(await shim("call", id, "NoSuch")).toMatchObject({ code: 2 });
    expect(await shim("call", id, "State", "{")).toMatchObject({ code: 2 });
    const late = await shim("call", id, "Wait", "--timeout", "100ms");
    expect(late).toMatchObject({ code: 4, stdout: "" });
    expect(late.stderr).toContain("does not answer within 0.1 s");
    expect((await shim("call", id, "--list")).stdout).toContain(
      "\n  Kill {id, execId, signal, all}\n",
    );
  });

  test("a trace tells of calls, runtime processes and events, and writes its files", async () => {
    const { id } = bundle;
    const [timeline, picture] = [join(directory, "t.json"), join(directory, "t.svg")];
    const files = ["--output", timeline, "--svg", picture];
    const tracer = new Tracer(id, ...files);
    await tracer.until(/^watching shim \d+, namespace default$/m);
    await shim("call", id, "Pause");
    await tracer.until(/< Pause .* ms$/m);
    await shim("call", id, "Resume");
    await tracer.until(/< Resume .* ms$/m);
    expect(await tracer.end("SIGINT")).toBe(0);
    const steps = tracer.text.split("\n").map((line) => line.slice(line.indexOf("  ") + 2));
    const order = ["> Pause", "+ runtime pause", "- runtime pause", "* /tasks/paused", "< Pause"];
    const places = order.map((start) => steps.findIndex((step) => step.startsWith(start)));
    expect(places).toEqual(places.toSorted((a, b) => a - b));
    expect(places).not.toContain(-1);
    expect(JSON.parse(readFileSync(timeline, "utf8")).traceEvents.length).toBeGreaterThan(5);
    expect(readFileSync(picture, "utf8")).toContain("runtime pause");
  });

  test("a trace ends with its shim", async () => {
    const other = makeBundle({ args: ["sleep", "600"] });
    const started = await shim("run", "--id", other.id, "--bundle", other.path, "--detach");
    expect(started.code).toBe(0);
    const tracer = new Tracer(other.id, "--json");
    await tracer.until(/"watching"/);
    await shim("delete", "--force", other.id);
    expect(await tracer.end()).toBe(0);
    for (const line of tracer.text.trim().split("\n"))
      expect(JSON.parse(line)).toHaveProperty("kind");
    expect(existsSync(join(other.path, "address"))).toBe(false);
    other[Symbol.dispose]();
  });
});
