/** A service with a method of each kind, described as generated code describes one. */

import { ShimError } from "../../../src/base/error.ts";
import { KeyValue } from "../../../src/gen/ttrpc/request.ts";
import type { CallContext, Implementation } from "../../../src/rpc/service.ts";

export const ChatDefinition = {
  name: "Chat",
  fullName: "test.Chat",
  methods: {
    echo: {
      name: "Echo",
      requestType: KeyValue,
      requestStream: false,
      responseType: KeyValue,
      responseStream: false,
    },
    wait: {
      name: "Wait",
      requestType: KeyValue,
      requestStream: false,
      responseType: KeyValue,
      responseStream: false,
    },
    count: {
      name: "Count",
      requestType: KeyValue,
      requestStream: false,
      responseType: KeyValue,
      responseStream: true,
    },
    join: {
      name: "Join",
      requestType: KeyValue,
      requestStream: true,
      responseType: KeyValue,
      responseStream: false,
    },
    talk: {
      name: "Talk",
      requestType: KeyValue,
      requestStream: true,
      responseType: KeyValue,
      responseStream: true,
    },
  },
} as const;

export type ChatImplementation = Implementation<typeof ChatDefinition>;

export function word(value: string): KeyValue {
  return { key: "", value };
}

/** A gate per name: `wait` calls stay until the test opens theirs, or they are canceled. */
export class Chat implements ChatImplementation {
  readonly waiting = new Map<string, () => void>();
  readonly canceled: string[] = [];
  readonly contexts: CallContext[] = [];
  /** Resolvers of those who wait for `waiting` or `canceled` to change. */
  readonly #watchers: (() => void)[] = [];
  /** Messages that `count` has given out, of all calls. */
  counted = 0;
  countsBegun = 0;
  /** Counted by the `finally` of `count`. */
  countsEnded = 0;

  echo(request: KeyValue, context: CallContext): KeyValue {
    this.contexts.push(context);
    if (request.key === "fail") throw new ShimError("notFound", `Cannot find ${request.value}`);
    if (request.key === "grow") return word("x".repeat(Number(request.value)));
    return request;
  }

  wait(request: KeyValue, { signal }: CallContext): Promise<KeyValue> {
    return new Promise((resolve, reject) => {
      this.waiting.set(request.value, () => resolve(request));
      signal.addEventListener("abort", () => {
        this.canceled.push(request.value);
        this.#changed();
        reject(signal.reason);
      });
      this.#changed();
    });
  }

  async *count(request: KeyValue): AsyncGenerator<KeyValue> {
    this.countsBegun += 1;
    this.#changed();
    try {
      for (let index = 0; index < Number(request.value); index += 1) {
        this.counted += 1;
        yield word(request.key.length > 0 ? request.key : String(index));
      }
      if (request.key === "fail") throw new ShimError("aborted", "Cannot go on");
    } finally {
      this.countsEnded += 1;
      this.#changed();
    }
  }

  async join(requests: AsyncIterable<KeyValue>): Promise<KeyValue> {
    const words: string[] = [];
    for await (const request of requests) words.push(request.value);
    return word(words.join("+"));
  }

  async *talk(requests: AsyncIterable<KeyValue>): AsyncGenerator<KeyValue> {
    for await (const request of requests) {
      if (request.key === "stall") {
        this.waiting.set("stall", () => {});
        this.#changed();
        await new Promise(() => {});
      }
      yield word(request.value.toUpperCase());
    }
    yield word("BYE");
  }

  /** Resolves once `condition` holds; looked at whenever a handler begins, ends or is canceled. */
  async until(condition: () => boolean): Promise<void> {
    while (!condition()) await new Promise<void>((resolve) => this.#watchers.push(resolve));
  }

  #changed(): void {
    for (const wake of this.#watchers.splice(0)) wake();
  }
}
