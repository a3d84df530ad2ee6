/**
 * When a shim without a container ends by itself, because nobody will ask it to.
 *
 * A manager asks for the end of a shim (Shutdown) after the last Delete. It never does so when
 * - it died between `start` and Create, or between the last Delete and Shutdown: the containerd that comes
 *   after it connects to the empty shim, and asks it for nothing;
 * - it could not record the shim that it has started, as on a full disk: it removes the bundle, but may keep
 *   its connection for minutes;
 * - it removed the sandbox of a pod before the pod's containers (containerd 2.0 to 2.2);
 * - it took the shim for dead, and `delete` has cleaned up the container: the shim finds out (`lost-watch.ts`),
 *   and then is one without a container.
 */

/** What is looked at. */
export interface ShimUse {
  /** Whether there is no container, and none is being created. */
  readonly isEmpty: () => boolean;
  /** Events that no manager has taken yet keep a shim. */
  readonly hasEvents: () => boolean;
  readonly isConnected: () => boolean;
  readonly isCalled: () => boolean;
  /** How much clients have sent so far: while it does not change they are silent. */
  readonly received: () => number;
  readonly hasBundle: () => boolean;
  readonly stop: (reason: string) => void;
}

/** Milliseconds. */
export interface UnusedLimits {
  /**
   * How long a shim waits for its first container. A manager that starts a shim asks for that at once: a
   * containerd 1.6 that was killed in between connects again, and never asks for anything.
   */
  readonly firstMs: number;
  /** How often it checks meanwhile whether its bundle is still there. */
  readonly lookMs: number;
  /** How long it waits after its last container: whoever deleted that asks for the end, if at all, at once. */
  readonly emptiedMs: number;
  /** How long connected but silent clients keep it after that: they may have more containers of a pod. */
  readonly silentMs: number;
}

const LIMITS: UnusedLimits = {
  firstMs: 120_000,
  lookMs: 2000,
  emptiedMs: 5000,
  silentMs: 120_000,
};

/** What a shim without a container waits for, and with it who keeps it. */
type Stage =
  /** Its first container; only a call in flight keeps it for longer. */
  | "first"
  /** The first, once more, as it could not be created: a connected manager may ask again. */
  | "retry"
  /** The next one: a connected manager keeps it, as long as that says something. */
  | "next";

/** Asks for the end of the shim once, or never. */
export class UnusedWatch implements Disposable {
  readonly #shim: ShimUse;
  readonly #limits: UnusedLimits;
  #stage: Stage;
  #timer: ReturnType<typeof setTimeout> | undefined;
  readonly #bundleTimer: ReturnType<typeof setInterval>;
  #received = -1;
  #heardAtMs = 0;

  constructor(shim: ShimUse, limits = LIMITS) {
    this.#shim = shim;
    this.#limits = limits;
    this.#stage = shim.isEmpty() ? "first" : "next";
    this.#bundleTimer = setInterval(() => this.#lookForBundle(), limits.lookMs);
    this.#lookAfter(limits.firstMs);
  }

  /** There is a container, or was. */
  used(): void {
    this.#stage = "next";
  }

  /** The last container was deleted, or the first could not be created. */
  emptied(): void {
    if (this.#stage === "first") this.#stage = "retry";
    this.#received = -1;
    this.#lookAfter(this.#limits.emptiedMs);
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#timer);
    clearInterval(this.#bundleTimer);
  }

  #lookAfter(delayMs: number): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#look(), delayMs);
  }

  /** Comes again once the shim is {@link emptied}, if there is a container now. */
  #look(): void {
    if (!this.#shim.isEmpty()) return;
    if (!this.#isKept() && !this.#shim.hasEvents()) {
      this.#shim.stop("nobody uses it");
      return;
    }
    if (this.#stage === "retry") this.#stage = "first";
    this.#lookAfter(this.#stage === "next" ? this.#limits.emptiedMs : this.#limits.firstMs);
  }

  #isKept(): boolean {
    const isConnectionEnough =
      this.#stage === "retry" || (this.#stage === "next" && this.#isSomebodyHeard());
    return isConnectionEnough ? this.#shim.isConnected() : this.#shim.isCalled();
  }

  /** Whether clients have said something lately. */
  #isSomebodyHeard(): boolean {
    const nowMs = performance.now();
    const received = this.#shim.received();
    if (received !== this.#received) this.#heardAtMs = nowMs;
    this.#received = received;
    return nowMs - this.#heardAtMs < this.#limits.silentMs;
  }

  #lookForBundle(): void {
    if (this.#stage === "next") clearInterval(this.#bundleTimer);
    else if (this.#shim.isEmpty() && !this.#shim.hasBundle() && !this.#shim.isCalled())
      this.#shim.stop("its bundle was removed");
  }
}
