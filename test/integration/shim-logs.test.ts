/** `shim logs` of a real container whose output goes to a file. */

import { afterAll, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { makeBundle } from "../fake/bundle.ts";

const SHIM = join(import.meta.dirname, "../../dist/shim");
const directory = mkdtempSync(join(tmpdir(), "wedge-logs-"));
const cleanup = new AsyncDisposableStack();
afterAll(async () => {
  await cleanup.disposeAsync();
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

/** A container that runs on, detached, with its output in `log` when that is given. */
async function start(script: string, log?: string): Promise<string> {
  const bundle = cleanup.use(makeBundle({ script }));
  const { id, path } = bundle;
  cleanup.defer(() => shim("delete", "--force", id).then(() => {}));
  const flags = log === undefined ? [] : ["--log", log];
  const run = await shim("run", "--id", id, "--bundle", path, "--detach", ...flags);
  expect(run).toMatchObject({ code: 0 });
  return id;
}

describe("shim logs", () => {
  test("shows what is there, follows what comes, and ends with the process", async () => {
    const script = "seq 5; until [ -e /go ]; do sleep 0.05; done; echo six; printf seven";
    const id = await start(script, join(directory, "log"));
    const follower = Bun.spawn([SHIM, "logs", id, "-f", "--tail", "2"], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    let text = "";
    const decoder = new TextDecoder();
    for await (const chunk of follower.stdout) {
      text += decoder.decode(chunk, { stream: true });
      if (text === "4\n5\n") await shim("exec", id, "--", "touch", "/go");
    }
    expect(await follower.exited).toBe(0);
    expect(text).toBe("4\n5\nsix\nseven");
    expect((await shim("logs", id)).stdout).toBe("1\n2\n3\n4\n5\nsix\nseven");
  });

  test("says where output goes that is in no file", async () => {
    const id = await start("sleep 600");
    const refused = await shim("logs", id);
    expect(refused).toMatchObject({ code: 2, stdout: "" });
    expect(refused.stderr).toContain("goes to no file: it is discarded");
  });
});
