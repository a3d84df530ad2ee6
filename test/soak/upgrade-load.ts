/**
 * Shims under load whose program is exchanged again and again: each has a container that streams to its
 * stdout and one that is typed to on a terminal, and all are asked for State and for execs meanwhile. What
 * is lost, refused or out of order fails an assertion.
 */

import { strict as assert } from "node:assert";
import { createHash } from "node:crypto";
import { writeFileSync } from "node:fs";
import { TaskExit } from "../../src/gen/containerd/events/task.ts";
import type { Bundle } from "../fake/bundle.ts";
import { drain, FifoWriter, fifo, LiveShim } from "../integration/live-shim.ts";

/** Numbered lines for as long as nobody says stop, and how many there were. */
const TALK = `
  i=0
  until [ -e /stop ]; do seq $i $((i + 499)); i=$((i + 500)); sleep 0.02; done
  echo end $i`;
const ECHO = "stty raw -echo; echo ready; cat";
const STATE_EVERY_MS = 20;
const TYPE_EVERY_MS = 20;
const EXEC_EVERY_MS = 100;
const EXIT_STATUSES = 200;
/** Upgrades at a time: as many as a host has cores to spare. */
const UPGRADES_AT_ONCE = 2;

export interface LoadOptions {
  /** Each with two containers. */
  readonly shims: number;
  /** Of each shim. */
  readonly upgrades: number;
  readonly env?: Readonly<Record<string, string>>;
}

/** Times are in milliseconds. */
export interface LoadReport {
  readonly upgrades: number;
  /** How long calls were held up, shortest first. */
  readonly pauses: readonly number[];
  /** How long State took, shortest first. */
  readonly states: readonly number[];
  readonly execs: number;
  readonly streamedBytes: number;
  readonly typedLines: number;
}

/** Sums up what a container has said, to compare it with what it must have. */
class Stream {
  readonly done: Promise<void>;
  bytes = 0;
  readonly #hash = createHash("sha256");
  #tail = "";

  constructor(path: string) {
    const reader = Bun.spawn(["cat", path], { stdio: ["ignore", "pipe", "ignore"] });
    this.done = this.#follow(reader.stdout);
  }

  async #follow(stream: ReadableStream<Uint8Array>): Promise<void> {
    for await (const chunk of stream) {
      this.bytes += chunk.length;
      this.#hash.update(chunk);
      this.#tail = `${this.#tail}${Buffer.from(chunk).toString()}`.slice(-100);
    }
  }

  /** When it has ended: every line is there once. */
  check(): void {
    const count = Number(/end (\d+)\n$/.exec(this.#tail)?.[1]);
    const lines = Array.from({ length: count }, (_, at) => `${at}\n`).join("");
    const expected = createHash("sha256").update(`${lines}end ${count}\n`).digest("hex");
    assert.equal(this.#hash.digest("hex"), expected, `all of ${count} lines`);
  }
}

/** One shim with its load. */
class Loaded implements AsyncDisposable {
  readonly pauses: number[] = [];
  readonly states: number[] = [];
  execs = 0;
  typed = 0;
  readonly shim: LiveShim;
  readonly #talker: Bundle;
  readonly #echo: Bundle;
  readonly #owned: AsyncDisposableStack;
  readonly #stream: Stream;
  readonly #screen: { readonly text: Promise<string> };
  readonly #keyboard: FifoWriter;
  readonly #ends: readonly Promise<{ readonly exitStatus: number }>[];
  readonly #pids: readonly number[];

  private constructor(
    shim: LiveShim,
    bundles: { readonly talker: Bundle; readonly echo: Bundle },
    parts: {
      readonly stream: Stream;
      readonly screen: { readonly text: Promise<string> };
      readonly keyboard: FifoWriter;
      readonly pids: readonly number[];
    },
    owned: AsyncDisposableStack,
  ) {
    this.shim = shim;
    this.#talker = bundles.talker;
    this.#echo = bundles.echo;
    this.#stream = parts.stream;
    this.#screen = parts.screen;
    this.#keyboard = parts.keyboard;
    this.#pids = parts.pids;
    this.#owned = owned;
    this.#ends = [bundles.talker, bundles.echo].map(({ id }) => shim.task.wait({ id, execId: "" }));
  }

  static async start(env: Readonly<Record<string, string>>): Promise<Loaded> {
    await using undo = new AsyncDisposableStack();
    const shim = undo.use(await LiveShim.start({ env }));
    const talker = undo.use(shim.bundle({ script: TALK }));
    const echo = undo.use(shim.bundle({ script: ECHO, terminal: true }));
    const [talk, typeIn, typeOut] = [
      fifo(shim, "talk"),
      fifo(shim, "type-in"),
      fifo(shim, "type-out"),
    ];
    const stream = new Stream(talk);
    const screen = drain(typeOut);
    const pids = [
      await shim.create(talker, { stdout: talk }),
      await shim.create(echo, { terminal: true, stdin: typeIn, stdout: typeOut }),
    ];
    for (const { id } of [talker, echo]) await shim.task.start({ id, execId: "" });
    const keyboard = undo.use(new FifoWriter(typeIn));
    const parts = { stream, screen, keyboard, pids };
    return new Loaded(shim, { talker, echo }, parts, undo.move());
  }

  get streamedBytes(): number {
    return this.#stream.bytes;
  }

  async upgrade(): Promise<void> {
    const { pauseMicroseconds } = await this.shim.handoff.upgrade({ binary: "" });
    this.pauses.push(Number(pauseMicroseconds) / 1000);
  }

  /** Of both containers in turn; every answer must be what it was before. */
  async state(): Promise<void> {
    const at = this.states.length % 2;
    const { id } = [this.#talker, this.#echo][at] ?? this.#talker;
    const startedAt = performance.now();
    const { pid, status } = await this.shim.task.state({ id, execId: "" });
    this.states.push(performance.now() - startedAt);
    assert.deepEqual({ pid, status }, { pid: this.#pids[at], status: 2 });
  }

  async type(): Promise<void> {
    await this.#keyboard.write(`typed ${this.typed++}\n`);
  }

  /** The whole life of one. */
  async exec(): Promise<void> {
    const number = this.execs++;
    const { id } = this.#talker;
    const execId = `e${number}`;
    const exitStatus = number % EXIT_STATUSES;
    const stdout = fifo(this.shim, `${execId}-out`);
    const said = drain(stdout);
    const script = `echo said ${number}; exit ${exitStatus}`;
    const pid = await this.shim.exec(id, execId, ["sh", "-c", script], { stdout });
    assert.equal((await this.shim.task.wait({ id, execId })).exitStatus, exitStatus);
    assert.equal(await said.text, `said ${number}\n`);
    const deleted = await this.shim.task.delete({ id, execId });
    assert.deepEqual({ pid: deleted.pid, exitStatus: deleted.exitStatus }, { pid, exitStatus });
  }

  /** Ends both containers and looks at all that they and the shim have said. */
  async finish(): Promise<void> {
    const { task } = this.shim;
    const [talker = 0] = this.#pids;
    writeFileSync(`/proc/${talker}/root/stop`, "");
    await task.kill({ id: this.#echo.id, execId: "", signal: 9, all: false });
    const statuses = (await Promise.all(this.#ends)).map(({ exitStatus }) => exitStatus);
    assert.deepEqual(statuses, [0, 137]);
    for (const { id } of [this.#talker, this.#echo]) await task.delete({ id, execId: "" });
    await this.#stream.done;
    this.#stream.check();
    const lines = Array.from({ length: this.typed }, (_, at) => `typed ${at}\n`).join("");
    assert.equal(await this.#screen.text, `ready\n${lines}`);
    this.#checkEvents();
  }

  /** Each exit was told once. */
  #checkEvents(): void {
    const exits = this.shim.events
      .filter(({ topic }) => topic === "/tasks/exit")
      .map(({ value }) => TaskExit.decode(value).id);
    assert.equal(new Set(exits).size, exits.length, "each exit is told once");
    const missing = Array.from({ length: this.execs }, (_, at) => `e${at}`).filter(
      (id) => !exits.includes(id),
    );
    assert.deepEqual(missing, []);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#owned.disposeAsync();
  }
}

/** Calls `step` at this pace until `isOver`; one that takes longer is not overtaken. */
async function paced(
  everyMs: number,
  isOver: () => boolean,
  step: (turn: number) => Promise<void>,
) {
  for (let turn = 0; !isOver(); turn++) {
    const nextAt = performance.now() + everyMs;
    await step(turn);
    await Bun.sleep(Math.max(0, nextAt - performance.now()));
  }
}

/** Exchanges the program of every shim, some at a time, as often as it is to be. */
async function upgradeAll(loaded: readonly Loaded[], rounds: number): Promise<void> {
  const waiting = Array.from({ length: rounds }, () => loaded).flat();
  const place = async () => {
    for (let next = waiting.shift(); next !== undefined; next = waiting.shift())
      await next.upgrade();
  };
  await Promise.all(Array.from({ length: Math.min(UPGRADES_AT_ONCE, loaded.length) }, place));
}

/** Runs it all. Throws AssertionError for what went wrong, and what a call that failed throws. */
export async function runUpgradeLoad(options: LoadOptions): Promise<LoadReport> {
  await using owned = new AsyncDisposableStack();
  const loaded: Loaded[] = [];
  for (let at = 0; at < options.shims; at++)
    loaded.push(owned.use(await Loaded.start(options.env ?? {})));
  // Nothing typed before the terminal is raw.
  await Bun.sleep(500);
  let isOver = false;
  const over = () => isOver;
  const work = [
    ...loaded.map((each) => paced(STATE_EVERY_MS, over, () => each.state())),
    ...loaded.map((each) => paced(TYPE_EVERY_MS, over, () => each.type())),
    paced(EXEC_EVERY_MS, over, async (turn) => await loaded[turn % loaded.length]?.exec()),
  ];
  const upgrading = upgradeAll(loaded, options.upgrades);
  // Whatever fails first ends the run.
  await Promise.race([upgrading, ...work]);
  await upgrading;
  isOver = true;
  await Promise.all(work);
  for (const each of loaded) await each.finish();
  const sorted = (list: readonly number[]) => [...list].sort((a, b) => a - b);
  const sum = (list: readonly number[]) => list.reduce((total, count) => total + count, 0);
  return {
    upgrades: options.shims * options.upgrades,
    pauses: sorted(loaded.flatMap(({ pauses }) => pauses)),
    states: sorted(loaded.flatMap(({ states }) => states)),
    execs: sum(loaded.map(({ execs }) => execs)),
    streamedBytes: sum(loaded.map(({ streamedBytes }) => streamedBytes)),
    typedLines: sum(loaded.map(({ typed }) => typed)),
  };
}

/** Some of a sorted list, for people: "p50 3.1 ms, p99 5.0 ms, longest 7.2 ms". */
export function describeTimes(sorted: readonly number[]): string {
  const at = (share: number) =>
    sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))];
  const text = (ms: number | undefined) => `${(ms ?? 0).toFixed(1)} ms`;
  return `p50 ${text(at(0.5))}, p99 ${text(at(0.99))}, longest ${text(sorted.at(-1))}`;
}
