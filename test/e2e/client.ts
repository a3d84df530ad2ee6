/** One run of a client program: piped, or on a terminal. Both end within a limit, or are killed. */

import { poll } from "./poll.ts";
import { childOf } from "./sandbox.ts";

const LIMIT_MS = 60_000;
/** What a client has written to its terminal has been read when nothing has come for so long. */
const DRY_AFTER_MS = 50;

export interface ClientOptions {
  /** What it reads: nothing (the default), bytes, a file, or a pipe that the test writes to. */
  readonly stdin?: "ignore" | "pipe" | Uint8Array | Bun.BunFile;
  /** Killed after this, milliseconds; 60 s unless given. */
  readonly limitMs?: number;
  /** Given each piece of stdout, which is then not kept. */
  readonly onStdout?: (chunk: Uint8Array) => void;
  /** The same for stderr. */
  readonly onStderr?: (chunk: Uint8Array) => void;
}

export interface TerminalOptions {
  readonly columns?: number;
  readonly rows?: number;
  readonly limitMs?: number;
}

/** How a client ended. */
export interface ClientResult {
  /** Its exit code, or 128 + signal. */
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Kills what has not ended in time, and remembers that it did. */
class Limit {
  passed = false;
  readonly #timer: ReturnType<typeof setTimeout>;

  constructor(limitMs: number, kill: () => void) {
    this.#timer = setTimeout(() => {
      this.passed = true;
      kill();
    }, limitMs);
  }

  clear(): void {
    clearTimeout(this.#timer);
  }
}

/** A client with pipes for its streams. */
export class Client {
  readonly exited: Promise<number>;
  /** What has come so far. */
  stdout = "";
  stderr = "";
  readonly #argv: readonly string[];
  readonly #process: Bun.Subprocess<ClientOptions["stdin"], "pipe", "pipe">;
  readonly #ended: Promise<unknown>;
  readonly #limit: Limit;
  readonly #detail: () => string;

  constructor(
    argv: readonly string[],
    env: Record<string, string>,
    options: ClientOptions,
    detail: () => string,
  ) {
    this.#argv = argv;
    this.#detail = detail;
    const stdin = options.stdin ?? "ignore";
    this.#process = Bun.spawn([...argv], { stdin, stdout: "pipe", stderr: "pipe", env });
    this.exited = this.#process.exited;
    this.#limit = new Limit(options.limitMs ?? LIMIT_MS, () => this.kill("SIGKILL"));
    const decoders = [new TextDecoder(), new TextDecoder()] as const;
    this.#ended = Promise.all([
      consume(this.#process.stdout, (chunk) => {
        if (options.onStdout !== undefined) options.onStdout(chunk);
        else this.stdout += decoders[0].decode(chunk, { stream: true });
      }),
      consume(this.#process.stderr, (chunk) => {
        if (options.onStderr !== undefined) options.onStderr(chunk);
        else this.stderr += decoders[1].decode(chunk, { stream: true });
      }),
      this.exited,
    ]);
  }

  /** Writes to its stdin, which must be a pipe. */
  async write(text: string): Promise<void> {
    const { stdin } = this.#process;
    if (typeof stdin !== "object") throw new Error("Cannot write to a client: stdin is no pipe");
    stdin.write(text);
    await stdin.flush();
  }

  /** Ends its stdin, which must be a pipe. */
  async end(): Promise<void> {
    const { stdin } = this.#process;
    if (typeof stdin !== "object") throw new Error("Cannot end a client's input: stdin is no pipe");
    await stdin.end();
  }

  /** Signals the program itself, not what entered the namespaces for it. */
  kill(signal: NodeJS.Signals): void {
    signalProgram(this.#process.pid, signal);
  }

  /** Waits until stdout holds a match. */
  async waitFor(pattern: RegExp): Promise<void> {
    const detail = () => `\nstdout: ${this.stdout}\nstderr: ${this.stderr}${this.#detail()}`;
    await poll(`${pattern} on stdout`, () => pattern.test(this.stdout), { detail });
  }

  /** Waits for its end. Throws when it had to be killed at the limit. */
  async finish(): Promise<ClientResult> {
    await this.#ended;
    this.#limit.clear();
    const code = await this.exited;
    const { stdout, stderr } = this;
    if (this.#limit.passed) {
      throw new Error(
        `${this.#argv.slice(6).join(" ")} did not end in time\n${stderr}${stdout}${this.#detail()}`,
      );
    }
    return { code, stdout, stderr };
  }
}

/** A client whose stdin, stdout and stderr are a terminal. */
export class Terminal {
  readonly exited: Promise<number>;
  #output = "";
  readonly #terminal: Bun.Terminal;
  readonly #process: Bun.Subprocess;
  readonly #limit: Limit;
  readonly #detail: () => string;

  constructor(
    argv: readonly string[],
    env: Record<string, string>,
    { columns = 80, rows = 24, limitMs = LIMIT_MS }: TerminalOptions,
    detail: () => string,
  ) {
    const decoder = new TextDecoder();
    this.#detail = detail;
    this.#terminal = new Bun.Terminal({
      cols: columns,
      rows,
      data: (_terminal, chunk) => {
        this.#output += decoder.decode(chunk, { stream: true });
      },
    });
    // A window change signals only the foreground group of a controlling terminal, which Bun does not set.
    const leader = ["setsid", "--ctty", ...argv];
    this.#process = Bun.spawn(leader, { terminal: this.#terminal, env });
    this.exited = this.#process.exited;
    this.#limit = new Limit(limitMs, () => this.kill("SIGKILL"));
  }

  /** All that came out, with plain line ends: `ctr` leaves the output processing of its terminal on. */
  get output(): string {
    return this.#output.replaceAll(/\r+\n/g, "\n");
  }

  /** Types. */
  type(text: string): void {
    this.#terminal.write(text);
  }

  /** Changes the window's size, which sends SIGWINCH to the client. */
  resize(columns: number, rows: number): void {
    this.#terminal.resize(columns, rows);
    // The kernel tells the terminal's foreground group alone, and `nsenter` may stand in front of the client.
    this.kill("SIGWINCH");
  }

  kill(signal: NodeJS.Signals): void {
    signalProgram(this.#process.pid, signal);
  }

  /** Waits until the output after `from` characters holds a match; returns it. */
  async waitFor(pattern: RegExp, from = 0): Promise<RegExpExecArray> {
    let match: RegExpExecArray | null = null;
    const found = () => {
      match = pattern.exec(this.output.slice(from));
      return match !== null;
    };
    const detail = () => `\noutput: ${JSON.stringify(this.output)}${this.#detail()}`;
    await poll(`${pattern} on the terminal`, found, { detail });
    if (match === null) throw new Error("A match was lost");
    return match;
  }

  /** Waits for its end; returns the exit code. Throws when it had to be killed at the limit. */
  async finish(): Promise<number> {
    const code = await this.exited;
    this.#limit.clear();
    await this.#dry();
    this.#terminal.close();
    if (this.#limit.passed) {
      throw new Error(
        `A client did not end in time\noutput: ${JSON.stringify(this.output)}${this.#detail()}`,
      );
    }
    return code;
  }

  /** What was written before the end is still to be read then, and nothing tells of its last byte. */
  async #dry(): Promise<void> {
    let length = -1;
    while (length !== this.#output.length) {
      length = this.#output.length;
      await Bun.sleep(DRY_AFTER_MS);
    }
  }
}

async function consume(
  stream: ReadableStream<Uint8Array>,
  onChunk: (chunk: Uint8Array) => void,
): Promise<void> {
  for await (const chunk of stream) onChunk(chunk);
}

/** `nsenter` waits for the program and ends or stops as it did, so only the program is signalled. */
function signalProgram(pid: number, signal: NodeJS.Signals): void {
  const target = childOf(pid) ?? pid;
  try {
    process.kill(target, signal);
    if (signal === "SIGCONT") process.kill(pid, signal);
  } catch {
    // It ended meanwhile.
  }
}
