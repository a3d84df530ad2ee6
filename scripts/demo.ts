/**
 * `npm run demo`: what wedge does, in a few seconds and with no manager.
 *
 * Makes a busybox bundle, runs it through `shim`, asks the shim for the container's state while it runs,
 * and shows output and exit status. Nothing is left afterwards.
 */

import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { TaskDefinition } from "../src/gen/containerd/task/v2/task.ts";
import { Status } from "../src/gen/containerd/types/task/task.ts";
import { connectBun } from "../src/rpc/ttrpc/bun.ts";
import { createStub } from "../src/rpc/ttrpc/stub.ts";
import { makeBundle } from "../test/fake/bundle.ts";

const SHIM = join(import.meta.dirname, "../dist/shim");
const EXIT_STATUS = 7;
const START_LIMIT_MS = 20_000;

const SCRIPT = `
echo "Hello from inside: I am process $$ of $(hostname), my init is wedge's child"
sleep 1.5
echo "and now I end with status ${EXIT_STATUS}"
exit ${EXIT_STATUS}`;

function say(text: string): void {
  console.log(text);
}

/** The shim's address, as soon as it has one: `start` writes it into the bundle. */
async function findAddress(bundle: string): Promise<string> {
  const file = join(bundle, "address");
  const deadline = Date.now() + START_LIMIT_MS;
  while (!existsSync(file)) {
    if (Date.now() > deadline) throw new Error(`No shim has started: ${file} is missing`);
    await Bun.sleep(10);
  }
  return readFileSync(file, "utf8").replace(/^unix:\/\//, "");
}

/** Asks until the container runs; the answer is what containerd would get. */
async function showState(bundle: string, id: string): Promise<void> {
  using client = await connectBun({ unix: await findAddress(bundle) });
  const task = createStub(client, TaskDefinition);
  const deadline = Date.now() + START_LIMIT_MS;
  for (;;) {
    const state = await task.state({ id, execId: "" }).catch(() => undefined);
    if (state?.status === Status.RUNNING) {
      const { shimPid } = await task.connect({ id });
      say(
        `   state: RUNNING, pid ${state.pid}, served by shim process ${shimPid} (ttrpc, Task.State)`,
      );
      return;
    }
    if (Date.now() > deadline) throw new Error("The container does not run");
    await Bun.sleep(20);
  }
}

async function demo(): Promise<void> {
  using bundle = makeBundle({ script: SCRIPT });
  say(`1. An OCI bundle of busybox: ${bundle.path}`);
  say(`2. dist/shim --id ${bundle.id} --bundle ${bundle.path}`);
  const child = Bun.spawn([SHIM, "--id", bundle.id, "--bundle", bundle.path], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const output = new Response(child.stdout).text();
  await showState(bundle.path, bundle.id);
  const lines = (await output).trimEnd().split("\n");
  for (const line of lines) say(`   output: ${line}`);
  const code = await child.exited;
  say(`3. The container has ended with exit status ${code}`);
  if (code !== EXIT_STATUS) throw new Error(`Exit status ${EXIT_STATUS} was expected`);
  say("Everything is cleaned up. Next: README.md tells how containerd and Docker use wedge.");
}

await demo();
