/** `io`: bytes through stdout, stdin and a terminal, what they cost the shim, and how fast one returns. */

import { O_NONBLOCK, O_RDONLY, O_RDWR, readFd, writeFd } from "../../../src/linux/fd.ts";
import { waitUntilReady } from "../../../src/linux/poll.ts";
import { type Bench, takeTurns } from "../bench-run.ts";
import type { Peer } from "../peer.ts";
import { Shim, StreamFifos } from "../shim.ts";

const MEBIBYTE = 1024 * 1024;
const GIBIBYTE = 1024 * MEBIBYTE;
const MEGABYTE = 1e6;
const BUFFER_BYTES = 64 * 1024;
const READY_LIMIT_MS = 30_000;
const ECHOES = 200;
const MICROSECONDS = 1000;
/** A terminal moves a fraction of what a pipe does. */
const TERMINAL_SHARE = 4;
const ROUNDS_MAX = 6;

/** The client's ends. */
interface Ends {
  readonly output: number;
  readonly input: number;
}

interface Stream {
  readonly name: string;
  readonly script: string;
  readonly terminal?: boolean;
  readonly bytes: number;
  /** Moves the bytes; blocks until the last one is through. */
  readonly move: (ends: Ends, bytes: number) => void;
}

export async function measureIo(bench: Bench): Promise<void> {
  const rounds = Math.min(bench.options.rounds, ROUNDS_MAX);
  const streams = streamsOf(bench.options.mebibytes);
  for await (const { peer, round } of takeTurns(bench, "io", { peers: bench.shims, rounds })) {
    for (const stream of streams) await measureStream(bench, peer, stream, round !== undefined);
    await measureEcho(bench, peer, false, round !== undefined);
    await measureEcho(bench, peer, true, round !== undefined);
  }
}

function streamsOf(mebibytes: number): readonly Stream[] {
  const bytes = mebibytes * MEBIBYTE;
  const terminalBytes = Math.ceil(mebibytes / TERMINAL_SHARE) * MEBIBYTE;
  const give = (count: number) =>
    `exec dd if=/dev/zero bs=64k count=${count / BUFFER_BYTES} 2>/dev/null`;
  return [
    { name: "stdout", script: give(bytes), bytes, move: drain },
    { name: "stdin", script: "exec cat >/dev/null", bytes, move: fill },
    {
      name: "terminal",
      script: give(terminalBytes),
      terminal: true,
      bytes: terminalBytes,
      move: drain,
    },
  ];
}

/** A container with streams, until disposal. */
async function runWithStreams(
  bench: Bench,
  peer: Peer,
  { script, terminal = false }: Pick<Stream, "script" | "terminal">,
): Promise<AsyncDisposable & { readonly ends: Ends }> {
  await using undo = new AsyncDisposableStack();
  const bundle = undo.use(bench.makeBundle(peer, { script, terminal }));
  const fifos = undo.use(new StreamFifos(bundle, "init", { stdin: true, terminal }));
  // For both directions, so that neither end waits for the shim to open the other.
  const input = fifos.open("stdin", O_RDWR | O_NONBLOCK).fd;
  fifos.openReaders();
  const output = fifos.open("stdout", O_RDONLY | O_NONBLOCK).fd;
  const shim = await Shim.run(bench, peer, bundle, fifos.streams);
  undo.defer(() => shim.end());
  const owned = undo.move();
  return { ends: { output, input }, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

async function measureStream(
  bench: Bench,
  peer: Peer,
  stream: Stream,
  counts: boolean,
): Promise<void> {
  const { name, bytes, move } = stream;
  await using scene = await runWithStreams(bench, peer, stream);
  const cpuBefore = bench.cpu.shimsMs(peer);
  const startedAtMs = performance.now();
  move(scene.ends, bytes);
  const ms = performance.now() - startedAtMs;
  const cpuMs = bench.cpu.shimsMs(peer) - cpuBefore;
  if (!counts) return;
  bench.figures.add("io", `${name}, rate`, "MB/s", peer, bytes / MEGABYTE / (ms / 1000));
  const cpuPerGibibyte = (cpuMs / 1000) * (GIBIBYTE / bytes);
  bench.figures.add("io", `${name}, CPU of the shim`, "s/GiB", peer, cpuPerGibibyte);
}

/** One byte's round trip. */
async function measureEcho(
  bench: Bench,
  peer: Peer,
  terminal: boolean,
  counts: boolean,
): Promise<void> {
  const setUp = terminal ? "stty raw -echo; " : "";
  const script = `${setUp}printf R; exec cat`;
  await using scene = await runWithStreams(bench, peer, { script, terminal });
  const { ends } = scene;
  drain(ends, 1);
  const name = terminal ? "terminal, echo" : "pipe, echo";
  for (let count = 0; count < ECHOES; count++) {
    const startedAtMs = performance.now();
    fill(ends, 1);
    drain(ends, 1);
    const ms = performance.now() - startedAtMs;
    if (counts) bench.figures.add("io", name, "µs", peer, ms * MICROSECONDS);
  }
}

function drain({ output }: Ends, bytes: number): void {
  const buffer = new Uint8Array(Math.min(BUFFER_BYTES, bytes));
  for (let left = bytes; left > 0; ) {
    const count = readFd(output, left < buffer.length ? buffer.subarray(0, left) : buffer);
    if (count === "again" || count === 0) wait(output, "readable");
    else left -= count;
  }
}

function fill({ input }: Ends, bytes: number): void {
  const buffer = new Uint8Array(Math.min(BUFFER_BYTES, bytes));
  for (let left = bytes; left > 0; ) {
    const count = writeFd(input, left < buffer.length ? buffer.subarray(0, left) : buffer);
    if (count === "again") wait(input, "writable");
    else left -= count;
  }
}

function wait(fd: number, interest: "readable" | "writable"): void {
  if (waitUntilReady(fd, interest, READY_LIMIT_MS)) return;
  throw new Error(`A stream is not ${interest} any more`);
}
