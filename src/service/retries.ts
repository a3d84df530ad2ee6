/**
 * Calls that change something, each carried out once however often its client has to ask.
 *
 * A client whose deadline passes, or whose connection breaks, does not know how its call ended, and asks
 * again. While the first call is still in flight, the second joins it. If it ended with nobody there to be
 * told, its answer is kept for whoever repeats the request. Whether an answer that was sent is also kept
 * depends on the method: if it is not, the same request again is a new one, and is judged as such.
 *
 * Only successes are kept: what has failed may be tried again. Everything is plain data except the calls
 * in flight. There is no timer: what is too old is dropped when somebody looks.
 */

import type { Codec } from "../rpc/service.ts";

/** Longer than any client keeps trying. */
const KEPT_MS = 10 * 60_000;
const KEPT_MAX = 64;

/** What all requests have in common: a container, and one of its processes ("" is init). */
export interface ProcessRequest {
  readonly id: string;
  readonly execId: string;
}

/** An answer that may be asked for again. */
export interface KeptAnswer<Answer> {
  readonly process: ProcessRequest;
  /** Of the request, which may be large. */
  readonly digest: string;
  readonly answer: Answer;
  /** Since it was given, milliseconds. */
  readonly ageMs: number;
}

export interface RetriesOptions<Request> {
  /** Whether two requests are the same. */
  readonly codec: Codec<Request>;
  readonly keyOf: (request: Request) => ProcessRequest;
  /** Which answers are kept: those that nobody took, or all. */
  readonly keeps: "untaken" | "all";
  /** Milliseconds by a clock that nobody sets; `performance.now` by default. */
  readonly now?: () => number;
}

/** `atMs` is by {@link RetriesOptions.now}. */
type DatedAnswer<Answer> = Omit<KeptAnswer<Answer>, "ageMs"> & { readonly atMs: number };

interface RunningCall<Request, Answer> {
  readonly request: Request;
  readonly callers: AbortSignal[];
  readonly answer: Promise<Answer>;
}

/** The calls of one method. */
export class Retries<Request, Answer> {
  readonly #options: RetriesOptions<Request>;
  readonly #now: () => number;
  readonly #running = new Map<string, RunningCall<Request, Answer>>();
  readonly #kept = new Map<string, DatedAnswer<Answer>>();

  constructor(options: RetriesOptions<Request>) {
    this.#options = options;
    this.#now = options.now ?? (() => performance.now());
  }

  /** Answers as the same request was answered, or by carrying it out. `caller` aborts when its client has gone. */
  async run(
    request: Request,
    caller: AbortSignal,
    carryOut: () => Promise<Answer>,
  ): Promise<Answer> {
    const { keyOf, keeps } = this.#options;
    const process = keyOf(request);
    const key = keyText(process);
    const running = this.#running.get(key);
    if (running !== undefined && this.#digest(running.request) === this.#digest(request)) {
      running.callers.push(caller);
      return await running.answer;
    }
    const kept = this.find(process);
    if (kept !== undefined && kept.digest === this.#digest(request)) {
      if (keeps === "untaken" && !caller.aborted) this.#kept.delete(key);
      return kept.answer;
    }
    const call = { request, callers: [caller], answer: carryOut() };
    // A call that is refused because another runs must not take that one's place.
    if (running === undefined) this.#running.set(key, call);
    try {
      const answer = await call.answer;
      const isTaken = call.callers.some(({ aborted }) => !aborted);
      if (keeps === "all" || !isTaken) this.#keep(process, request, answer);
      return answer;
    } finally {
      if (this.#running.get(key) === call) this.#running.delete(key);
    }
  }

  /** The answer that waits for its client, if there is one. */
  find(process: ProcessRequest): Omit<KeptAnswer<Answer>, "ageMs"> | undefined {
    const kept = this.#kept.get(keyText(process));
    if (kept === undefined || this.#now() - kept.atMs < KEPT_MS) return kept;
    this.#kept.delete(keyText(process));
    return undefined;
  }

  /** Resolves when no such call is in flight any more. */
  async settled(process: ProcessRequest): Promise<void> {
    const running = this.#running.get(keyText(process));
    if (running === undefined) return;
    try {
      await running.answer;
    } catch {
      // Its own callers hear of it.
    }
  }

  /** Resolves when all calls that are now in flight have ended. */
  async idle(): Promise<void> {
    await Promise.allSettled([...this.#running.values()].map(({ answer }) => answer));
  }

  /** Forgets what was kept about a process: what is asked from now on is about something else. */
  forget(process: ProcessRequest): void {
    this.#kept.delete(keyText(process));
  }

  /** Forgets what was kept about a container and all its processes. */
  forgetContainer(id: string): void {
    for (const [key, { process }] of this.#kept) if (process.id === id) this.#kept.delete(key);
  }

  /** Whether any call is in flight, its client gone or not. */
  get isBusy(): boolean {
    return this.#running.size > 0;
  }

  /** Everything kept, oldest first. */
  get kept(): readonly KeptAnswer<Answer>[] {
    return [...this.#kept.values()].map(({ atMs, ...one }) => ({
      ...one,
      ageMs: this.#now() - atMs,
    }));
  }

  /** Takes over what a predecessor has kept. */
  restore(kept: readonly KeptAnswer<Answer>[]): void {
    for (const { ageMs, ...one } of kept) {
      this.#kept.set(keyText(one.process), { ...one, atMs: this.#now() - ageMs });
    }
  }

  #keep({ id, execId }: ProcessRequest, request: Request, answer: Answer): void {
    const [oldest] = this.#kept.keys();
    if (oldest !== undefined && this.#kept.size >= KEPT_MAX) this.#kept.delete(oldest);
    const process = { id, execId };
    const digest = this.#digest(request);
    this.#kept.set(keyText(process), { process, digest, answer, atMs: this.#now() });
  }

  #digest(request: Request): string {
    const hash = new Bun.CryptoHasher("sha256");
    return hash.update(this.#options.codec.encode(request).finish()).digest("base64");
  }
}

/** Neither id can contain the separator: both are checked on arrival. */
function keyText({ id, execId }: ProcessRequest): string {
  return `${id}/${execId}`;
}
