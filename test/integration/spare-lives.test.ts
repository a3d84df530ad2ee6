/** Containers one after another in one process: each life is as if it were the first. */

import { afterAll, beforeAll, expect, test } from "bun:test";
import {
  cpSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { EventsDefinition } from "../../src/gen/containerd/services/events/ttrpc/v1/events.ts";
import { TaskDefinition } from "../../src/gen/containerd/task/v2/task.ts";
import { Options } from "../../src/gen/containerd/types/runc/options/oci.ts";
import { HandoffDefinition } from "../../src/gen/wedge/handoff/v1/handoff.ts";
import { makeFifo } from "../../src/linux/fifo.ts";
import { mountService } from "../../src/rpc/service.ts";
import { connectBun, listenBun } from "../../src/rpc/ttrpc/bun.ts";
import type { TtrpcClient } from "../../src/rpc/ttrpc/client.ts";
import { TtrpcServer } from "../../src/rpc/ttrpc/server.ts";
import { createStub } from "../../src/rpc/ttrpc/stub.ts";
import { readOr } from "../command/shim-process.ts";
import { buildExecutable, executable } from "../compiled.ts";
import { type Bundle, makeBundle } from "../fake/bundle.ts";
import { drain, until } from "./live-shim.ts";

const TIMEOUT_MS = 120_000;
const NAMESPACE = "lives";
/** More than one process has. */
const LIVES = 40;
const KILOBYTES_MAX = 12 * 1024;

beforeAll(buildExecutable, TIMEOUT_MS);

const directory = mkdtempSync(join(tmpdir(), "wedge-lives-"));
const eventsSocket = join(directory, "events.sock");
const topics: string[] = [];
const manager = new TtrpcServer({
  services: [
    mountService(EventsDefinition, {
      forward: ({ envelope }) => {
        topics.push(envelope?.topic ?? "");
        return {};
      },
    }),
  ],
});
listenBun(manager, { unix: eventsSocket });

afterAll(() => {
  manager.close();
  rmSync(directory, { recursive: true });
});

const env = {
  PATH: process.env["PATH"] ?? "",
  TTRPC_ADDRESS: eventsSocket,
  WEDGE_SPARE_SECONDS: "2",
  WEDGE_SLEEP_AFTER_SECONDS: "0",
};

async function command(
  { id, path: bundle }: Bundle,
  action: string,
  variables: Readonly<Record<string, string>> = {},
): Promise<Buffer> {
  const flags = ["-namespace", NAMESPACE, "-address", join(directory, "c.sock"), "-id", id];
  const place = action === "delete" ? ["-bundle", bundle] : [];
  const child = Bun.spawn([executable, ...flags, ...place, action], {
    ...{ cwd: bundle, env: { ...env, ...variables }, stdio: ["ignore", "pipe", "pipe"] },
  });
  const stdout = Buffer.from(await new Response(child.stdout).arrayBuffer());
  expect(await new Response(child.stderr).text()).toBe("");
  expect(await child.exited).toBe(0);
  return stdout;
}

/** Spares of the shims of this file. */
function spares(): readonly string[] {
  return readdirSync("/proc").filter(
    (pid) =>
      readOr(`/proc/${pid}/cmdline`, "") === "wedge\0spare\0" &&
      readOr(`/proc/${pid}/environ`, "").includes(`TTRPC_ADDRESS=${eventsSocket}\0`),
  );
}

interface LifeOptions {
  readonly script?: string;
  readonly variables?: Readonly<Record<string, string>>;
  /** While the container runs. */
  readonly during?: (pid: number, client: TtrpcClient) => Promise<void>;
}

/** What one life came to. */
async function live(number: number, options: LifeOptions = {}) {
  const { script = `echo "this is ${number}"; exit ${number}`, variables } = options;
  using bundle = makeBundle({ parent: directory, script });
  const { id, path } = bundle;
  topics.length = 0;
  const address = (await command(bundle, "start", variables)).toString();
  using client = await connectBun({ unix: address.slice("unix://".length) });
  const task = createStub(client, TaskDefinition);
  const stdout = join(path, "stdout");
  makeFifo(stdout, 0o700);
  const output = drain(stdout);
  const value = Options.encode({
    ...Options.decode(new Uint8Array(0)),
    root: join(directory, "runc"),
  }).finish();
  await task.create({
    ...{ id, bundle: path, rootfs: [], terminal: false, stdin: "", stdout, stderr: "" },
    ...{ checkpoint: "", parentCheckpoint: "" },
    options: { typeUrl: "containerd.runc.v1.Options", value },
  });
  await task.start({ id, execId: "" });
  const { shimPid } = await task.connect({ id });
  await options.during?.(shimPid, client);
  const { exitStatus } = await task.wait({ id, execId: "" });
  const kilobytes = Number(
    /^Anonymous:\s+(\d+)/m.exec(readFileSync(`/proc/${shimPid}/smaps_rollup`, "utf8"))?.[1],
  );
  const descriptors = readdirSync(`/proc/${shimPid}/fd`).length;
  await task.delete({ id, execId: "" });
  await task.shutdown({ id, now: false });
  // `delete`, which may come now, would take it for work that is left.
  const note = join(path, "address");
  const hasTraces = [note, address.slice("unix://".length)].some((each) => existsSync(each));
  // What comes after it is another's.
  writeFileSync(note, address);
  await until("the process has ended", () => !isRunning(shimPid));
  expect(existsSync(note)).toBe(true);
  rmSync(note);
  await command(bundle, "delete", variables);
  return { exitStatus, output: await output.text, shimPid, kilobytes, descriptors, hasTraces };
}

function isRunning(pid: number): boolean {
  try {
    return /^State:\t[^ZX]/m.test(readFileSync(`/proc/${pid}/status`, "utf8"));
  } catch {
    return false;
  }
}

test(
  "each has its own output, status, events and process, and none leaves anything to the next",
  async () => {
    const lives: Awaited<ReturnType<typeof live>>[] = [];
    for (let number = 0; number < LIVES; number++) {
      const life = await live(number);
      const output = `this is ${number}\n`;
      expect(life).toMatchObject({ exitStatus: number, output, hasTraces: false });
      expect(topics).toEqual(
        ["create", "start", "exit", "delete"].map((topic) => `/tasks/${topic}`),
      );
      lives.push(life);
    }
    expect(new Set(lives.map(({ shimPid }) => shimPid)).size).toBe(LIVES);
    // The engine lends a duplicate of its epoll instance now and then.
    const [{ descriptors: first = 0 } = {}] = lives;
    for (const { descriptors } of lives)
      expect(Math.abs(descriptors - first)).toBeLessThanOrEqual(1);
    expect(Math.max(...lives.map(({ kilobytes }) => kilobytes))).toBeLessThan(KILOBYTES_MAX);
    expect(readdirSync(join(directory, "runc", NAMESPACE))).toEqual([]);
  },
  TIMEOUT_MS,
);

test(
  "a shim that has slept is a spare afterwards",
  async () => {
    const isAsleep = (pid: number) =>
      readlinkSync(`/proc/${pid}/exe`).startsWith("/memfd:wedge-sleeper");
    const options: LifeOptions = {
      script: "while [ ! -e /end ]; do sleep 0.01; done",
      variables: { WEDGE_SLEEP_AFTER_SECONDS: "0.05", WEDGE_SPARE_SECONDS: "60" },
      during: async (pid) => {
        await until("it sleeps", () => isAsleep(pid));
        const [init = ""] = readOr(`/proc/${pid}/task/${pid}/children`, "").split(" ");
        writeFileSync(`/proc/${init}/root/end`, "");
      },
    };
    await live(0, options);
    await until("there is a spare", () => spares().length === 1);
    const [spare] = spares();
    const { shimPid } = await live(1, options);
    expect(String(shimPid)).toBe(spare ?? "");
    await until("it is a spare again", () => spares().length === 1);
    for (const pid of spares()) process.kill(Number(pid), "SIGTERM");
    await until("it has ended", () => spares().length === 0);
  },
  TIMEOUT_MS,
);

test(
  "a shim that goes on as another program is none",
  async () => {
    const other = join(directory, "containerd-shim-wedge-v2");
    cpSync(executable, other);
    const { exitStatus } = await live(0, {
      script: "while [ ! -e /end ]; do sleep 0.01; done; exit 3",
      during: async (pid, client) => {
        await createStub(client, HandoffDefinition).upgrade({ binary: other });
        expect(readlinkSync(`/proc/${pid}/exe`)).toBe(other);
        const [init = ""] = readOr(`/proc/${pid}/task/${pid}/children`, "").split(" ");
        writeFileSync(`/proc/${init}/root/end`, "");
      },
    });
    expect(exitStatus).toBe(3);
    await Bun.sleep(100);
    expect(spares()).toEqual([]);
  },
  TIMEOUT_MS,
);
