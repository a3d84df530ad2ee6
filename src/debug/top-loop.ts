/** The screen of `shim top`: drawn, redrawn, restored. */

import { readFd } from "../linux/fd.ts";
import { Poller } from "../linux/poller.ts";
import type { Output } from "./output/output.ts";
import { type Column, formatTable } from "./output/table.ts";
import { formatBytes, formatPercent } from "./output/units.ts";
import { OwnTerminal } from "./stream/own-terminal.ts";
import { look, type SortKey, type Usage, usageBetween } from "./top-rates.ts";

const STDIN = 0;
const KEY_BYTES = 64;
/** q, Q, Ctrl-C, Ctrl-D. */
const END_KEYS: ReadonlySet<number> = new Set([0x71, 0x51, 0x03, 0x04]);
const ALTERNATE_SCREEN = "\x1b[?1049h\x1b[?25l";
const OWN_SCREEN = "\x1b[?25h\x1b[?1049l";
const HOME = "\x1b[H";
const CLEAR_LINE = "\x1b[K";
const CLEAR_REST = "\x1b[J";

export interface TopOptions {
  readonly namespace: string | undefined;
  readonly sort: SortKey;
  readonly intervalMs: number;
  /** Undefined is forever, or once on a pipe. */
  readonly count: number | undefined;
  readonly isJson: boolean;
}

/** Returns when it has shown enough, or a key or a signal has ended it. */
export async function runTop(options: TopOptions, output: Output): Promise<void> {
  const isLive = output.isTerminal && !options.isJson && options.count !== 1;
  const count = options.count ?? (isLive ? Number.POSITIVE_INFINITY : 1);
  using end = new EndRequest(isLive);
  if (isLive) output.print(ALTERNATE_SCREEN);
  try {
    let before = look(options.namespace);
    for (let shown = 0; shown < count; shown++) {
      if (isLive && shown === 0) output.print(`${HOME}${CLEAR_REST}looking...`);
      if (await end.within(options.intervalMs)) return;
      const after = look(options.namespace);
      const usage = usageBetween(before, after, options.sort);
      before = after;
      if (options.isJson) output.printJson(usage);
      else if (isLive) output.print(drawScreen(usage, output));
      else output.print(formatTop(usage, output));
    }
  } finally {
    if (isLive) output.print(OWN_SCREEN);
  }
}

/** The table. */
export function formatTop(usage: readonly Usage[], frame: Pick<Output, "style" | "width">): string {
  return formatTable(COLUMNS, usage, { style: frame.style, width: frame.width });
}

/** Overwrites what was there, so that nothing flickers; what does not fit is left out. */
function drawScreen(usage: readonly Usage[], output: Output): string {
  const { height = Number.POSITIVE_INFINITY, style } = output;
  const shims = new Set(usage.map(({ shimPid }) => shimPid)).size;
  const memory = usage.reduce((sum, { shimPssBytes = 0 }) => sum + shimPssBytes, 0);
  const title = style.faint(
    `${usage.length} containers, ${shims} shims that use ${formatBytes(memory)}; q ends`,
  );
  const lines = [title, ...formatTop(usage, output).trimEnd().split("\n")];
  const fitting = lines.slice(0, height - 1).map((line) => `${line}${CLEAR_LINE}\r\n`);
  return HOME + fitting.join("") + CLEAR_REST;
}

const COLUMNS: readonly Column<Usage>[] = [
  { title: "NAMESPACE", text: ({ namespace }) => namespace, isCuttable: true },
  { title: "ID", text: ({ id }) => id, isCuttable: true },
  { title: "STATUS", text: ({ status }) => status },
  { title: "CPU", text: ({ cpu }) => formatPercent(cpu), align: "right" },
  { title: "MEMORY", text: ({ memoryBytes }) => formatBytes(memoryBytes), align: "right" },
  { title: "PIDS", text: ({ pids }) => String(pids ?? "-"), align: "right" },
  { title: "READ/S", text: ({ readRate }) => formatBytes(round(readRate)), align: "right" },
  { title: "WRITE/S", text: ({ writeRate }) => formatBytes(round(writeRate)), align: "right" },
  { title: "SHIM", text: ({ shimPid }) => String(shimPid), align: "right" },
  { title: "CPU", text: ({ shimCpu }) => formatPercent(shimCpu), align: "right" },
  { title: "MEMORY", text: ({ shimPssBytes }) => formatBytes(shimPssBytes), align: "right" },
];

function round(value: number | undefined): number | undefined {
  return value === undefined ? undefined : Math.round(value);
}

/** A key or a signal that asks for the end. Disposing restores the terminal. */
class EndRequest implements Disposable {
  readonly #requested = Promise.withResolvers<true>();
  readonly #owned = new DisposableStack();

  constructor(isLive: boolean) {
    const onSignal = () => this.#requested.resolve(true);
    for (const name of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
      process.on(name, onSignal);
      this.#owned.defer(() => process.off(name, onSignal));
    }
    const terminal = isLive ? OwnTerminal.open() : undefined;
    if (terminal === undefined) return;
    this.#owned.use(terminal);
    terminal.makeRaw();
    const poller = this.#owned.use(new Poller());
    const buffer = Buffer.alloc(KEY_BYTES);
    const watch = poller.watch(STDIN, { readable: true }, () => {
      const count = readFd(STDIN, buffer);
      if (count === "again") return;
      const keys = buffer.subarray(0, count);
      if (count === 0 || keys.some((key) => END_KEYS.has(key))) onSignal();
    });
    this.#owned.use(watch);
  }

  /** Waits this long; true when the end was asked for meanwhile. */
  async within(ms: number): Promise<boolean> {
    const { promise, resolve } = Promise.withResolvers<false>();
    const timer = setTimeout(() => resolve(false), ms);
    const isOver = await Promise.race([this.#requested.promise, promise]);
    clearTimeout(timer);
    return isOver;
  }

  [Symbol.dispose](): void {
    this.#owned[Symbol.dispose]();
  }
}
