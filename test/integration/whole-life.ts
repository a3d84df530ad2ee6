/**
 * A shim's life with everything in it that it has to remember, step by step, and what clients and the
 * manager see of it: the same in every life, whatever happens to the shim.
 */

import { existsSync, readdirSync, readFileSync, renameSync, utimesSync } from "node:fs";
import { join } from "node:path";
import { TaskExecAdded, TaskExit, TaskPaused } from "../../src/gen/containerd/events/task.ts";
import { TaskDefinition } from "../../src/gen/containerd/task/v3/task.ts";
import { createStub, type Stub } from "../../src/rpc/ttrpc/stub.ts";
import { type Bundle, listMountsBelow } from "../fake/bundle.ts";
import {
  descriptorsOf,
  drain,
  FifoWriter,
  fifo,
  type LiveShim,
  type TakenEvent,
  until,
} from "./live-shim.ts";

type Task = Stub<typeof TaskDefinition>;

type Step = readonly [name: string, run: () => Promise<unknown>];

const KILLED = { signal: 9, all: false };
const NO_BYTES = new Uint8Array(0);
const LINES = 3000;
/** More than a pipe holds. */
const TYPED = Array.from({ length: 40 }, (_, at) => `${at} ${"x".repeat(2000)}\n`);

function checksum(text: string): string {
  return `${text.length} ${Bun.hash(text).toString(16)}`;
}

/** A request that does not come in one piece. */
const LARGE = Array.from({ length: 4 }, () => "x".repeat(100_000));

/** A client that calls, and leaves before it is answered. */
async function callAndLeave(shim: LiveShim, call: (task: Task) => Promise<unknown>): Promise<void> {
  const client = await shim.connect();
  const called = call(createStub(client, TaskDefinition)).catch(() => {});
  // The request is with the kernel by now.
  client.close();
  await called;
}

/** The status that State answers, or the error. */
async function statusOf(shim: LiveShim, id: string, execId = ""): Promise<unknown> {
  return await shim.task.state({ id, execId }).then(({ status }) => status, String);
}

/** The status that Wait answers, or the error. */
async function exitOf(shim: LiveShim, id: string, execId = ""): Promise<number | string> {
  return await shim.task.wait({ id, execId }).then(({ exitStatus }) => exitStatus, String);
}

/** Until the manager has been told so often; asks nothing of the shim, which has its work to do. */
async function untilTold(shim: LiveShim, topic: string, count: number): Promise<void> {
  const countTold = () => shim.events.filter((event) => event.topic === `/tasks/${topic}`).length;
  await until(`${topic} is told`, () => countTold() >= count);
}

/** A container with pipes, whose init ends by itself. */
function pipedLife(shim: LiveShim, bundle: Bundle): readonly Step[] {
  const { task } = shim;
  const { id } = bundle;
  const init = { id, execId: "" };
  const paths = ["in", "out", "err"].map((name) => fifo(shim, `piped-${name}`));
  const [stdin = "", stdout = "", stderr = ""] = paths;
  const [said, complained] = [drain(stdout), drain(stderr)];
  const [execIn, execOut] = [fifo(shim, "exec-in"), fifo(shim, "exec-out")];
  const answered = drain(execOut);
  const ends: Promise<number | string>[] = [];
  let writer: FifoWriter | undefined;
  let execWriter: FifoWriter | undefined;
  return [
    ["create", async () => (await shim.create(bundle, { stdin, stdout, stderr })) > 0],
    ["wait", async () => ends.push(exitOf(shim, id))],
    ["start", async () => (await task.start(init)).pid > 0],
    [
      "write",
      async () => {
        writer = new FifoWriter(stdin);
        for (const line of TYPED.slice(0, 20)) await writer.write(line);
      },
    ],
    [
      "add exec",
      () => shim.addExec(id, "e", ["sh", "-c", "cat; exit 7"], { stdin: execIn, stdout: execOut }),
    ],
    ["wait for exec", async () => ends.push(exitOf(shim, id, "e"))],
    ["start exec", async () => (await task.start({ id, execId: "e" })).pid > 0],
    [
      "write to exec",
      async () => {
        execWriter = new FifoWriter(execIn);
        for (const line of TYPED) await execWriter.write(line);
        execWriter[Symbol.dispose]();
      },
    ],
    ["close input of exec", () => task.closeIO({ id, execId: "e", stdin: true })],
    ["exit of exec", async () => await ends[1]],
    ["output of exec", async () => checksum(await answered.text)],
    ["delete exec", async () => (await task.delete({ id, execId: "e" })).exitStatus],
    ["pause", () => task.pause({ id })],
    ["state", () => statusOf(shim, id)],
    ["resume", () => task.resume({ id })],
    ["pause, unanswered", () => callAndLeave(shim, (other) => other.pause({ id }))],
    ["until it is paused", () => untilTold(shim, "paused", 2)],
    ["state of what is paused", () => statusOf(shim, id)],
    ["resume, unanswered", () => callAndLeave(shim, (other) => other.resume({ id }))],
    ["until it is resumed", () => untilTold(shim, "resumed", 2)],
    ["state of what is resumed", () => statusOf(shim, id)],
    [
      "update",
      () =>
        task.update({
          id,
          resources: { typeUrl: "", value: Buffer.from('{"pids":{"limit":100}}') },
          annotations: new Map(),
        }),
    ],
    ["pids", async () => (await task.pids({ id })).processes.length],
    ["stats", async () => (await task.stats({ id })).stats?.typeUrl],
    ["no such exec", () => statusOf(shim, id, "none")],
    // Nothing but its end happens then.
    ["add exec that ends by itself", () => shim.addExec(id, "s", ["sleep", "0.3"])],
    ["start it", async () => (await task.start({ id, execId: "s" })).pid > 0],
    ["end of it", () => exitOf(shim, id, "s")],
    ["delete what has ended", async () => (await task.delete({ id, execId: "s" })).exitStatus],
    ["add exec to be killed", () => shim.addExec(id, "k", ["sh", "-c", "sleep 1000", ...LARGE])],
    ["start it, unanswered", () => callAndLeave(shim, (other) => other.start({ id, execId: "k" }))],
    ["until it runs", () => untilTold(shim, "exec-started", 3)],
    ["state of it", () => statusOf(shim, id, "k")],
    ["kill it", () => task.kill({ id, execId: "k", ...KILLED })],
    ["exit of what was killed", () => exitOf(shim, id, "k")],
    ["delete it", async () => (await task.delete({ id, execId: "k" })).exitStatus],
    [
      "several calls",
      async () => {
        const execs = logTargets(shim).map(async ({ execId, uri, path }) => {
          await shim.exec(id, execId, ["sh", "-c", "seq 2000; exit 5"], { stdout: uri });
          const { exitStatus } = await task.wait({ id, execId });
          await task.delete({ id, execId });
          return [exitStatus, checksum(readFileSync(path, "utf8"))];
        });
        const states = Array.from({ length: 5 }, () => statusOf(shim, id));
        return await Promise.all([...execs, ...states]);
      },
    ],
    [
      "write to the end",
      async () => {
        for (const line of TYPED.slice(20)) await writer?.write(line);
        writer?.[Symbol.dispose]();
      },
    ],
    ["close input", () => task.closeIO({ ...init, stdin: true })],
    ["exit", async () => await ends[0]],
    ["delete", async () => (await task.delete(init)).exitStatus],
    ["output", async () => checksum(await said.text)],
    ["error output", async () => checksum(await complained.text)],
  ];
}

/** A container with a terminal, which is killed. */
function terminalLife(shim: LiveShim, bundle: Bundle): readonly Step[] {
  const { task } = shim;
  const { id } = bundle;
  const init = { id, execId: "" };
  const [stdin, stdout] = [fifo(shim, "keys"), fifo(shim, "screen")];
  const shown = drain(stdout);
  const ends: Promise<number | string>[] = [];
  let keyboard: FifoWriter | undefined;
  const heard = (word: string) => () =>
    until(word, () => existsSync(join(bundle.rootfs, word))).then(() => word);
  return [
    [
      "create terminal",
      async () => (await shim.create(bundle, { terminal: true, stdin, stdout })) > 0,
    ],
    ["resize", () => task.resizePty({ ...init, width: 77, height: 33 })],
    ["start terminal", async () => (await task.start(init)).pid > 0],
    ["wait for terminal", async () => ends.push(exitOf(shim, id))],
    ["until it listens", heard("ready")],
    [
      "type",
      async () => {
        keyboard = new FifoWriter(stdin);
        for (const line of TYPED) await keyboard.write(line.slice(0, 500));
        await keyboard.write("\nend\n");
        return await heard("read")();
      },
    ],
    ["resize again", () => task.resizePty({ ...init, width: 99, height: 44 })],
    [
      "enter",
      async () => {
        await keyboard?.write("\n");
        keyboard?.[Symbol.dispose]();
        return await heard("sized")();
      },
    ],
    ["kill terminal", () => task.kill({ ...init, ...KILLED })],
    ["exit of terminal", async () => await ends[0]],
    ["screen", async () => checksum(await shown.text)],
    ["delete terminal", async () => (await task.delete(init)).exitStatus],
    ["after all", () => statusOf(shim, id)],
  ];
}

/** An exec whose output goes to a file, and one with a logger. */
function logTargets(shim: LiveShim) {
  const [file, logged] = [join(shim.path, "file.log"), join(shim.path, "logger.log")];
  const logger = `exec 5>&-; cat <&3 > ${logged}`;
  return [
    { execId: "p", path: file, uri: `file://${file}` },
    { execId: "q", path: logged, uri: `binary:///bin/sh?-c=${encodeURIComponent(logger)}` },
  ];
}

const PIPED_SCRIPT = `seq ${LINES}; seq ${LINES} >&2; cat; echo done; exit 3`;
/** Raw, but for the ends of lines: nothing of what is typed is shown by the terminal itself. */
const TERMINAL_SCRIPT = [
  "stty -echo -onlcr; stty size; seq 500; echo > /ready",
  'while read -r x && [ "$x" != end ]; do echo "$x"; done',
  "echo > /read; read -r x; stty size; echo > /sized; sleep 1000",
].join("; ");

export interface WholeLifeOptions {
  /** Told the step that clients are at. */
  readonly onStep?: (name: string) => void;
  /** Whether the manager is away while the terminal's container ends. */
  readonly isManagerAway?: boolean;
}

/** Lives it in `shim`. The result is the same for every life. */
export async function liveWhole(
  shim: LiveShim,
  { onStep = () => {}, isManagerAway = false }: WholeLifeOptions = {},
): Promise<readonly unknown[]> {
  // Cgroups of the host have these names: no other life may have them.
  const own = crypto.randomUUID().slice(0, 8);
  using piped = shim.bundle({ id: `piped-${own}`, script: PIPED_SCRIPT });
  const terminalOptions = { script: TERMINAL_SCRIPT, terminal: true };
  using terminal = shim.bundle({ id: `terminal-${own}`, ...terminalOptions });
  const manager = join(shim.path, "events.sock");
  // One that has just come would be given time.
  utimesSync(manager, 0, 0);
  const seen: unknown[] = [];
  for (const [name, run] of [...pipedLife(shim, piped), ...terminalLife(shim, terminal)]) {
    onStep(name);
    if (isManagerAway && name === "kill terminal") renameSync(manager, `${manager}.away`);
    const outcome = await run().catch((cause) => {
      throw new Error(`${name}: ${cause}`, { cause });
    });
    seen.push([name, outcome]);
  }
  if (isManagerAway) renameSync(`${manager}.away`, manager);
  await until("the end is told", () =>
    shim.events.some((event) => readEvent(event).join() === `${terminal.id},/tasks/delete`),
  );
  return [
    ...seen,
    ...told(shim).map((line) => JSON.parse(JSON.stringify(line).replaceAll(`-${own}`, ""))),
    ["descriptors", await leftDescriptors(shim)],
    ["children", readFileSync(`/proc/${shim.pid}/task/${shim.pid}/children`, "utf8").trim()],
    ["mounts", listMountsBelow(shim.path)],
    ["runtime", readdirSync(join(shim.path, "runc/live"))],
  ];
}

/** What an event is about, a container or an exec of it, and what it says. */
function readEvent({ topic, value }: TakenEvent): readonly [about: string, said: string] {
  if (topic === "/tasks/exit") {
    const { containerId, id, exitStatus } = TaskExit.decode(value);
    return [id === containerId ? id : `${containerId}/${id}`, `${topic} ${exitStatus}`];
  }
  // The first field, and where it is of an exec the second, are the same in all.
  const { containerId, execId } = TaskExecAdded.decode(topic.includes("exec") ? value : NO_BYTES);
  if (containerId !== "") return [`${containerId}/${execId}`, topic];
  return [TaskPaused.decode(value).containerId, topic];
}

/** What the manager was told of each, in order; of those that lived side by side it may differ. */
function told(shim: LiveShim): readonly unknown[] {
  const events = shim.events.map(readEvent);
  const byAbout = Map.groupBy(events, ([about]) => about);
  const exits = events.flatMap(([about, said]) => (said.includes("exit") ? [about] : []));
  return [
    ...[...byAbout].map(([about, its]) => [about, its.map(([, said]) => said)]).sort(),
    ["the last exits", exits.slice(-2)],
  ];
}

/** What the shim holds of containers and of clients that have gone, when it has come to rest. */
async function leftDescriptors(shim: LiveShim): Promise<readonly string[]> {
  let held: readonly string[] = [];
  for (let looks = 0; looks < 500; looks++) {
    const names = [...descriptorsOf(shim.pid).values()];
    held = names.filter((name) => /pipe:|pidfd|inotify/.test(name) || name.startsWith(shim.path));
    // Where it listens, this client, and the manager.
    const sockets = names.filter((name) => name.startsWith("socket:"));
    if (held.length === 0 && sockets.length <= 3) break;
    if (sockets.length > 3) held = [...held, ...sockets];
    await Bun.sleep(20);
  }
  return held;
}
