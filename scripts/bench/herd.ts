/** Many running containers of one peer, each with a shim of its own or all in one pod. */

import type { Bundle } from "../../test/fake/bundle.ts";
import type { Bench } from "./bench-run.ts";
import type { Peer } from "./peer.ts";
import { Shim } from "./shim.ts";

/** Containers that are started, or ended, at the same time. */
const AT_ONCE = 8;
/** By which all shims recognise the containers of a pod. */
const POD_ANNOTATION = "io.kubernetes.cri.sandbox-id";

export class Herd implements AsyncDisposable {
  readonly #bench: Bench;
  readonly #peer: Peer;
  readonly #isPod: boolean;
  readonly #members: { readonly shim: Shim; readonly bundle: Bundle }[] = [];

  constructor(bench: Bench, peer: Peer, { isPod = false } = {}) {
    this.#bench = bench;
    this.#peer = peer;
    this.#isPod = isPod;
  }

  get shims(): readonly Shim[] {
    return this.#members.map(({ shim }) => shim);
  }

  /** The processes that hold them: one each, or one in all. */
  get pids(): readonly number[] {
    return [...new Set(this.shims.map(({ pid }) => pid))];
  }

  /** Starts containers until there are `count`. */
  async growTo(count: number): Promise<void> {
    // The first of a pod makes its shim.
    if (this.#isPod && this.#members.length === 0 && count > 0) await this.#add();
    let missing = count - this.#members.length;
    const start = async () => {
      while (missing-- > 0) await this.#add();
    };
    await Promise.all(Array.from({ length: AT_ONCE }, start));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const end = async () => {
      // The oldest is the last to go: its bundle is the shim's working directory.
      for (let last = this.#members.pop(); last !== undefined; last = this.#members.pop()) {
        await last.shim.end({ endsShim: !this.#isPod || this.#members.length === 0 });
        last.bundle[Symbol.dispose]();
      }
    };
    await Promise.all(Array.from({ length: this.#isPod ? 1 : AT_ONCE }, end));
  }

  async #add(): Promise<void> {
    const annotations = this.#isPod ? { [POD_ANNOTATION]: `pod-${this.#peer.name}` } : {};
    const bundle = this.#bench.makeBundle(this.#peer, {
      args: ["sleep", "1000000"],
      annotations,
    });
    const shim = await Shim.run(this.#bench, this.#peer, bundle);
    this.#members.push({ shim, bundle });
  }
}
