/** A shim with one container that is asked again and again; its memory and descriptors meanwhile. */

import { strict as assert } from "node:assert";
import { readdirSync, readFileSync } from "node:fs";
import { readMemory } from "../../scripts/bench/process-figures.ts";
import { EventsDefinition } from "../../src/gen/containerd/services/events/ttrpc/v1/events.ts";
import { mountService } from "../../src/rpc/service.ts";
import { listenBun } from "../../src/rpc/ttrpc/bun.ts";
import { TtrpcServer } from "../../src/rpc/ttrpc/server.ts";
import { ShimPlace } from "../integration/shim-place.ts";

const NO_STREAMS = { terminal: false, stdin: "", stdout: "", stderr: "" };
const EXIT_STATUSES = 200;
const AT_RANDOM = 25n;
const PROBE_INTERVAL_MS = 100;
/** How often memory is looked at. */
const LOOK_MS = 10;
/** As many calls at once as a manager with its tools may have. */
const CALLS_AT_ONCE = 8;

export interface Figures {
  readonly privateKb: number;
  readonly descriptors: number;
  readonly threads: number;
}

export class Soak implements AsyncDisposable {
  readonly #place: ShimPlace;
  /** Events would fill the shim's journal if nobody took them. */
  readonly #taker: TtrpcServer;
  readonly #shim: Awaited<ReturnType<ShimPlace["create"]>>;
  #execCount = 0;
  #peakKb = 0;
  readonly #programs = new Set<string>();
  readonly #timer = setInterval(() => this.#look(), LOOK_MS);

  private constructor(
    place: ShimPlace,
    shim: Awaited<ReturnType<ShimPlace["create"]>>,
    taker: TtrpcServer,
  ) {
    this.#taker = taker;
    this.#place = place;
    this.#shim = shim;
  }

  /** Starts the shim, with `env` in its environment, and its container. Throws what that throws. */
  static async start(env: Readonly<Record<string, string>>, executable?: string): Promise<Soak> {
    const place = new ShimPlace(env, executable);
    const taker = new TtrpcServer({
      services: [mountService(EventsDefinition, { forward: () => ({}) })],
    });
    listenBun(taker, { unix: place.ttrpc });
    try {
      const shim = await place.create("sleep 1000000");
      await shim.created;
      await shim.task.start({ id: shim.id, execId: "" });
      return new Soak(place, shim, taker);
    } catch (error) {
      taker.close();
      await place[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** The most private memory that was seen. */
  get peakKb(): number {
    return this.#peakKb;
  }

  /** How often its program was begun anew, as far as was seen. */
  get renewals(): number {
    return Math.max(this.#programs.size - 1, 0);
  }

  /** Right after a call, so that a shim that sleeps is awake. */
  async figures(): Promise<Figures> {
    await this.states(1);
    const { privateKb, threads } = readMemory(this.#shim.shimPid);
    const descriptors = readdirSync(`/proc/${this.#shim.shimPid}/fd`).length;
    return { privateKb, descriptors, threads };
  }

  /** Whole lives of execs, one after another, each with an exit status of its own. */
  async execs(count: number): Promise<void> {
    for (let index = 0; index < count; index++) await this.#exec();
  }

  /** State, as clients that poll ask for it. */
  async states(count: number): Promise<void> {
    const process = { id: this.#shim.id, execId: "" };
    for (let done = 0; done < count; done += CALLS_AT_ONCE) {
      const calls = Array.from({ length: Math.min(CALLS_AT_ONCE, count - done) }, () =>
        this.#shim.task.state(process),
      );
      for (const { pid } of await Promise.all(calls)) assert.ok(pid > 0, "the container runs");
    }
  }

  /** Probes as the kubelet runs them, ten in a second where the machine can; returns how many. */
  async probes(durationMs: number): Promise<number> {
    const endMs = performance.now() + durationMs;
    let count = 0;
    for (let nextMs = performance.now(); nextMs < endMs; nextMs += PROBE_INTERVAL_MS) {
      await this.#exec();
      count += 1;
      await Bun.sleep(Math.max(0, nextMs + PROBE_INTERVAL_MS - performance.now()));
      nextMs = Math.max(nextMs, performance.now() - PROBE_INTERVAL_MS);
    }
    return count;
  }

  async #exec(): Promise<void> {
    const number = this.#execCount++;
    const status = number % EXIT_STATUSES;
    const spec = { args: ["/bin/sh", "-c", `exit ${status}`], cwd: "/" };
    const exec = { id: this.#shim.id, execId: `probe-${number}` };
    const { task } = this.#shim;
    const value = Buffer.from(JSON.stringify(spec));
    await task.exec({ ...exec, ...NO_STREAMS, spec: { typeUrl: "", value } });
    const waited = task.wait(exec);
    await task.start(exec);
    assert.equal((await waited).exitStatus, status);
    assert.equal((await task.delete(exec)).exitStatus, status);
  }

  #look(): void {
    const { shimPid } = this.#shim;
    try {
      this.#peakKb = Math.max(this.#peakKb, readMemory(shimPid).privateKb);
      this.#programs.add(randomPlaceOf(shimPid));
    } catch {
      // It is exchanging its program at this instant.
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#timer);
    const process = { id: this.#shim.id, execId: "" };
    await this.#shim.task.kill({ ...process, signal: 9, all: true });
    await this.#shim.task.wait(process);
    await this.#shim.task.delete(process);
    this.#shim.client.close();
    this.#taker.close();
    await this.#place[Symbol.asyncDispose]();
  }
}

/** Where the kernel has put random bytes for the program: another place each time that one begins (getauxval(3)). */
function randomPlaceOf(pid: number): string {
  const entries = new BigUint64Array(new Uint8Array(readFileSync(`/proc/${pid}/auxv`)).buffer);
  const at = entries.findIndex((key, index) => index % 2 === 0 && key === AT_RANDOM);
  return String(entries[at + 1]);
}
