/** What a client says of the process of an exec, and what the process then is, over real runc. */

import { afterAll, beforeAll, expect, test } from "bun:test";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { buildExecutable } from "../compiled.ts";
import { drain, fifo, LiveShim, until } from "./live-shim.ts";

let shim: LiveShim;
beforeAll(async () => {
  await buildExecutable();
  shim = await LiveShim.start();
});
afterAll(async () => await shim[Symbol.asyncDispose]());

/** Runs an exec of this process to its end; what it wrote. */
async function run(id: string, execId: string, spec: string, terminal: boolean): Promise<string> {
  const stdout = fifo(shim, `${id}-${execId}`);
  const { text } = drain(stdout);
  const io = { terminal, stdin: "", stdout, stderr: "" };
  await shim.task.exec({ id, execId, spec: { typeUrl: "", value: Buffer.from(spec) }, ...io });
  await shim.task.start({ id, execId });
  await shim.task.wait({ id, execId });
  await shim.task.delete({ id, execId });
  return await text;
}

test("a limit that is none reaches the runtime as it was written", async () => {
  using bundle = shim.bundle({ args: ["sleep", "1000"] });
  await shim.create(bundle);
  await shim.task.start({ id: bundle.id, execId: "" });
  const unlimited = "18446744073709551615";
  const limits = `[{"type":"RLIMIT_CPU","soft":${unlimited},"hard":${unlimited}}]`;
  const command = `"args":["sh","-c","ulimit -t"],"cwd":"/","env":["PATH=/bin"]`;
  const spec = (terminal: boolean) =>
    `{"terminal":${terminal},"user":{"uid":0,"gid":0},${command},"rlimits":${limits}}`;
  expect(await run(bundle.id, "same", spec(false), false)).toBe("unlimited\n");
  // What the request says of the terminal wins over the process.
  expect(await run(bundle.id, "other", spec(false), true)).toBe("unlimited\r\n");
  await shim.remove(bundle.id);
}, 60_000);

test("an exec that is named as init's file is does not take its place", async () => {
  using bundle = shim.bundle({ args: ["sleep", "1000"] });
  const pid = await shim.create(bundle);
  await shim.task.start({ id: bundle.id, execId: "" });
  const noted = () => readFileSync(join(bundle.path, "init.pid"), "utf8").trim();
  await shim.exec(bundle.id, "init", ["true"]);
  expect(noted()).toBe(String(pid));
  await shim.task.wait({ id: bundle.id, execId: "init" });
  await shim.task.delete({ id: bundle.id, execId: "init" });
  expect(noted()).toBe(String(pid));
  await shim.remove(bundle.id);
}, 60_000);

test.each([false, true])(
  "a logging program is told the exec's id, terminal: %p",
  async (terminal) => {
    using bundle = shim.bundle({ args: ["sleep", "1000"] });
    const told = join(bundle.path, "told");
    const program = join(bundle.path, "logger");
    const script = `echo "$CONTAINER_ID $CONTAINER_NAMESPACE" > ${told}.part\nmv ${told}.part ${told}`;
    writeFileSync(program, `#!/bin/sh\n${script}\nexec 5>&-\ncat <&3 > /dev/null\n`, {
      mode: 0o755,
    });
    await shim.create(bundle);
    const process = { id: bundle.id, execId: "" };
    await shim.task.start(process);
    const exec = { id: bundle.id, execId: `of-${bundle.id}` };
    await shim.addExec(bundle.id, exec.execId, ["true"], {
      terminal,
      stdout: `binary://${program}`,
    });
    await shim.task.start(exec);
    await until("the logging program runs", () => existsSync(told));
    expect(readFileSync(told, "utf8")).toBe(`${exec.execId} live\n`);
    await shim.task.wait(exec);
    await shim.task.delete(exec);
    await shim.remove(bundle.id);
  },
  60_000,
);
