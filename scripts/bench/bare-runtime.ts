/** The runtime without a shim: the floor to which a shim adds its own share. */

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { openPidfd } from "../../src/linux/pidfd.ts";
import { waitUntilReady } from "../../src/linux/poll.ts";
import type { Bundle } from "../../test/fake/bundle.ts";
import type { Bench } from "./bench-run.ts";
import type { Peer } from "./peer.ts";

const END_LIMIT_MS = 30_000;

/** A container that is created and ended by commands only. */
export class BareContainer {
  readonly #bench: Bench;
  readonly #peer: Peer;
  readonly #bundle: Bundle;

  constructor(bench: Bench, peer: Peer, bundle: Bundle) {
    this.#bench = bench;
    this.#peer = peer;
    this.#bundle = bundle;
  }

  async create(): Promise<void> {
    const pidFile = join(this.#bundle.path, "init.pid");
    await this.#run("create", "--bundle", this.#bundle.path, "--pid-file", pidFile);
  }

  async start(): Promise<void> {
    await this.#run("start");
  }

  /** Waits until init has ended; blocks. */
  waitForExit(): void {
    const pid = Number(readFileSync(join(this.#bundle.path, "init.pid"), "utf8"));
    try {
      using pidfd = openPidfd(pid);
      if (pidfd !== undefined) waitUntilReady(pidfd.fd, "readable", END_LIMIT_MS);
    } catch {
      // It has ended already.
    }
  }

  async exec(args: readonly string[]): Promise<void> {
    await this.#run("exec", ...args);
  }

  async kill(signal: string): Promise<void> {
    await this.#run("kill", signal);
  }

  async pids(): Promise<void> {
    await this.#run("ps");
  }

  async delete(isForced = false): Promise<void> {
    await this.#run("delete", ...(isForced ? ["--force"] : []));
  }

  /** The command, its options, the container, and what a command takes after it. */
  async #run(command: string, ...rest: readonly string[]): Promise<void> {
    const takesTrailing = command === "exec" || command === "kill";
    const words = takesTrailing
      ? [command, this.#bundle.id, ...rest]
      : [command, ...rest, this.#bundle.id];
    const { cpu, runtimeRoot } = this.#bench;
    const child = cpu.within(this.#peer, () =>
      Bun.spawn([this.#peer.path, "--root", runtimeRoot, ...words], {
        cwd: this.#bundle.path,
        stdio: ["ignore", "ignore", "inherit"],
      }),
    );
    const code = await child.exited;
    if (code !== 0) throw new Error(`${this.#peer.name} ${words.join(" ")}: exit code ${code}`);
  }
}
