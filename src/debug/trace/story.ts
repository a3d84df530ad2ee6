/**
 * What a shim did, put together from the records of its trace: spans with a beginning and an end, in
 * lanes, and moments. The outputs for people and programs are made from this.
 */

import { TaskExecStarted, TaskExit, TaskStart } from "../../gen/containerd/events/task.ts";
import type { TraceRecord } from "../../gen/wedge/trace/v1/trace.ts";

/** Something that took time. Times are microseconds since the epoch. */
export interface Span {
  readonly lane: string;
  readonly kind: "call" | "runtime" | "process";
  readonly name: string;
  readonly startUs: number;
  /** Undefined while it is open. */
  endUs: number | undefined;
  /** Its outcome: "exit 0", "NotFound: ..."; "" for nothing to report. */
  outcome: string;
  isFailure: boolean;
  readonly details: Record<string, unknown>;
}

/** Something that happened. */
export interface Moment {
  readonly lane: string;
  readonly name: string;
  readonly atUs: number;
  readonly details: Record<string, unknown>;
}

/** What is reported for a record when it comes: for ends, with the span that they end. */
export type Step =
  | { readonly kind: "began"; readonly span: Span }
  | { readonly kind: "ended"; readonly span: Span }
  | { readonly kind: "moment"; readonly moment: Moment }
  | { readonly kind: "lost"; readonly count: bigint }
  | { readonly kind: "watching"; readonly shimPid: number; readonly namespace: string };

/** Turns bytes of requests, answers and events into values; see `wire/message-json.ts`. */
export interface Reader {
  request(service: string, method: string, bytes: Uint8Array): unknown;
  response(service: string, method: string, bytes: Uint8Array): unknown;
  event(typeUrl: string, value: Uint8Array): unknown;
}

const SHIM_LANE = "shim";
const EVENT_LANE = "events";

export class Story {
  readonly spans: Span[] = [];
  readonly moments: Moment[] = [];
  readonly #reader: Reader;
  readonly #calls = new Map<bigint, { readonly span: Span; service: string; method: string }>();
  readonly #runtime = new Map<number, Span>();
  readonly #processes = new Map<number, Span>();

  constructor(reader: Reader) {
    this.#reader = reader;
  }

  /** Takes the next record; undefined for a kind that this program does not know. */
  take(record: TraceRecord): Step | undefined {
    const atUs = Number(record.atUs);
    if (record.watching !== undefined) return { kind: "watching", ...record.watching };
    if (record.lost !== undefined) return { kind: "lost", count: record.lost };
    if (record.callBegan !== undefined) return this.#beginCall(record.callBegan, atUs);
    if (record.callEnded !== undefined) return this.#endCall(record.callEnded, atUs);
    if (record.runtimeBegan !== undefined) return this.#beginRuntime(record.runtimeBegan, atUs);
    if (record.runtimeEnded !== undefined) return this.#endRuntime(record.runtimeEnded, atUs);
    return record.event === undefined ? undefined : this.#event(record.event, atUs);
  }

  #begin(span: Omit<Span, "endUs" | "outcome" | "isFailure">): Span {
    const begun = { ...span, endUs: undefined, outcome: "", isFailure: false };
    this.spans.push(begun);
    return begun;
  }

  #beginCall(began: NonNullable<TraceRecord["callBegan"]>, atUs: number): Step {
    const { key, service, method, peerPid, request } = began;
    const details = { peerPid, request: this.#reader.request(service, method, request) };
    const name = service.endsWith(".Task") ? method : `${service}/${method}`;
    const span = this.#begin({ lane: SHIM_LANE, kind: "call", name, startUs: atUs, details });
    this.#calls.set(key, { span, service, method });
    return { kind: "began", span };
  }

  #endCall(ended: NonNullable<TraceRecord["callEnded"]>, atUs: number): Step | undefined {
    const call = this.#calls.get(ended.key);
    if (call === undefined) return undefined;
    this.#calls.delete(ended.key);
    const { span, service, method } = call;
    span.endUs = atUs;
    span.isFailure = ended.code !== 0;
    span.outcome = ended.code === 0 ? "" : ended.message;
    span.details["response"] = this.#reader.response(service, method, ended.response);
    return { kind: "ended", span };
  }

  #beginRuntime({ pid, verb, id }: NonNullable<TraceRecord["runtimeBegan"]>, atUs: number): Step {
    const lane = `runtime ${verb} ${pid}`;
    const name = `runtime ${verb}`;
    const span = this.#begin({ lane, kind: "runtime", name, startUs: atUs, details: { pid, id } });
    this.#runtime.set(pid, span);
    return { kind: "began", span };
  }

  #endRuntime(ended: NonNullable<TraceRecord["runtimeEnded"]>, atUs: number): Step | undefined {
    const span = this.#runtime.get(ended.pid);
    if (span === undefined) return undefined;
    this.#runtime.delete(ended.pid);
    span.endUs = atUs;
    span.isFailure = ended.exitStatus !== 0;
    const end = ended.exitStatus === undefined ? "given up" : `exit ${ended.exitStatus}`;
    span.outcome = ended.error === "" ? end : `${end}: ${ended.error}`;
    return { kind: "ended", span };
  }

  #event({ topic, event }: NonNullable<TraceRecord["event"]>, atUs: number): Step {
    const { typeUrl = "", value = new Uint8Array(0) } = event ?? {};
    this.#followProcess(topic, value, atUs);
    const details = { event: this.#reader.event(typeUrl, value) };
    const moment = { lane: EVENT_LANE, name: topic, atUs, details };
    this.moments.push(moment);
    return { kind: "moment", moment };
  }

  /** The lives of the container's processes, from its events. */
  #followProcess(topic: string, value: Uint8Array, atUs: number): void {
    switch (topic) {
      case "/tasks/start": {
        const { containerId, pid } = TaskStart.decode(value);
        this.#beginProcess(containerId, pid, atUs);
        return;
      }
      case "/tasks/exec-started": {
        const { execId, pid } = TaskExecStarted.decode(value);
        this.#beginProcess(execId, pid, atUs);
        return;
      }
      case "/tasks/exit": {
        const { pid, exitStatus } = TaskExit.decode(value);
        const span = this.#processes.get(pid);
        if (span === undefined) return;
        this.#processes.delete(pid);
        span.endUs = atUs;
        span.outcome = `exit ${exitStatus}`;
        span.isFailure = exitStatus !== 0;
      }
    }
  }

  #beginProcess(id: string, pid: number, atUs: number): void {
    const lane = `process ${pid}`;
    const span = this.#begin({ lane, kind: "process", name: id, startUs: atUs, details: { pid } });
    this.#processes.set(pid, span);
  }
}
