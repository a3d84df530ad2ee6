/** A daemon inside of a sandbox: started, watched through its log, and ended by signals of its own. */

import { closeSync, openSync, readFileSync } from "node:fs";
import { poll } from "./poll.ts";
import { childOf, type Sandbox } from "./sandbox.ts";

const START_LIMIT_MS = 60_000;
const TAIL_LINES = 25;

export interface DaemonCommand {
  readonly argv: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  /** The file, as the inside knows it, that what it says is appended to. */
  readonly log: string;
  /** What it logs once it serves. */
  readonly served: string;
}

export class DaemonProcess {
  readonly #process: Bun.Subprocess;
  readonly #pid: number;

  private constructor(outer: Bun.Subprocess, pid: number) {
    this.#process = outer;
    this.#pid = pid;
  }

  /** Starts a daemon and waits until it serves. */
  static async start(sandbox: Sandbox, command: DaemonCommand): Promise<DaemonProcess> {
    const path = sandbox.path(command.log);
    // Appended to: what an earlier daemon wrote stays.
    const log = openSync(path, "a");
    const before = readFileSync(path, "utf8").length;
    const { env } = command;
    const outer = Bun.spawn(sandbox.enter(command.argv), {
      ...{ stdin: "ignore", stdout: log, stderr: log, env },
    });
    closeSync(log);
    const detail = () => logTail(path);
    await poll(`${command.argv[0]} is started`, () => childOf(outer.pid) !== undefined, { detail });
    const daemon = new DaemonProcess(outer, childOf(outer.pid) ?? 0);
    const served = () => {
      if (outer.exitCode !== null) throw new Error(`${command.argv[0]} has ended${detail()}`);
      return readFileSync(path, "utf8").slice(before).includes(command.served);
    };
    await poll(`${command.argv[0]} serves`, served, { limitMs: START_LIMIT_MS, detail });
    return daemon;
  }

  /** Stops the daemon where it is: the kernel accepts connections for it, and nobody answers. */
  freeze(): void {
    process.kill(this.#pid, "SIGSTOP");
  }

  /** Undoes {@link freeze}. */
  thaw(): void {
    process.kill(this.#pid, "SIGCONT");
    // nsenter stops together with what it has started, but is not continued with it.
    this.#process.kill("SIGCONT");
  }

  /** Signals the daemon alone, and waits until it is gone. */
  async end(signal: NodeJS.Signals): Promise<void> {
    process.kill(this.#pid, signal);
    await this.#process.exited;
  }
}

/** The last lines of a log, for messages. */
export function logTail(path: string): string {
  const lines = readFileSync(path, "utf8").trim().split("\n").slice(-TAIL_LINES);
  return `\n--- end of ${path.split("/").at(-1)}:\n${lines.join("\n")}`;
}
