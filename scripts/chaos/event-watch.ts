/** A client that prints events for as long as the test lasts, across restarts of containerd. */

import type { Client } from "../../test/e2e/client.ts";
import { type Containerd, USER_IMAGE } from "../../test/e2e/containerd.ts";
import { poll } from "../../test/e2e/poll.ts";
import { parseEvents, type SeenEvent } from "./event-order.ts";

const RETRY_MS = 100;
/** A run by hand may take a night. */
const LIMIT_MS = 24 * 60 * 60_000;

export class EventWatch implements AsyncDisposable {
  readonly #daemon: Containerd;
  #client: Client;
  /** What clients before the present one have printed. */
  #before = "";
  #isClosed = false;
  readonly #following: Promise<void>;

  private constructor(daemon: Containerd, client: Client) {
    this.#daemon = daemon;
    this.#client = client;
    this.#following = this.#follow();
  }

  /** Misses no event after it has resolved, except those that a killed containerd passed on to nobody. */
  static async open(daemon: Containerd): Promise<EventWatch> {
    return new EventWatch(daemon, await daemon.events({ limitMs: LIMIT_MS }));
  }

  /** Forgets what it has seen, and waits until it sees what happens: its client may have begun just now. */
  async beginAnew(): Promise<void> {
    this.#before = "";
    this.#client.stdout = "";
    await poll("events are printed", async () => {
      const label = `seen=${performance.now()}`;
      await this.#daemon.call(["images", "label", USER_IMAGE, label]);
      return this.#client.stdout.includes("/images/update");
    });
  }

  seen(): SeenEvent[] {
    return parseEvents(this.#before + this.#client.stdout);
  }

  async #follow(): Promise<void> {
    for (;;) {
      // It has ended with its containerd, or with the watch: how does not matter.
      await this.#client.finish();
      if (this.#isClosed) return;
      await Bun.sleep(RETRY_MS);
      this.#before += `${this.#client.stdout}\n`;
      this.#client = this.#daemon.open(["events"], { limitMs: LIMIT_MS });
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosed = true;
    this.#client.kill("SIGKILL");
    await this.#following;
  }
}
