/**
 * The method table that every server mounts, whatever the protocol.
 *
 * A generated service definition and an object that implements it become a
 * {@link MountedService}: by method name, how a call runs, how its request is decoded and how
 * its response is encoded. Nothing here knows about frames, sockets or HTTP.
 */

import type { BinaryWriter } from "@bufbuild/protobuf/wire";
import { assert } from "../base/assert.ts";
import { ShimError } from "../base/error.ts";

/** A generated message type, as far as a call needs it. */
export interface Codec<Message> {
  encode(message: Message): BinaryWriter;
  decode(input: Uint8Array): Message;
}

/** One method of a generated service definition. */
export interface MethodDefinition<Request = unknown, Response = unknown> {
  readonly name: string;
  readonly requestType: Codec<Request>;
  readonly requestStream: boolean;
  readonly responseType: Codec<Response>;
  readonly responseStream: boolean;
}

/** A generated service definition. The keys of `methods` are the names in our code. */
export interface ServiceDefinition {
  readonly fullName: string;
  readonly methods: Readonly<Record<string, MethodDefinition>>;
}

export type RequestOf<M extends MethodDefinition> = ReturnType<M["requestType"]["decode"]>;
export type ResponseOf<M extends MethodDefinition> = ReturnType<M["responseType"]["decode"]>;

/** Values by lower-case key, in the order in which they were sent. */
export type Metadata = ReadonlyMap<string, readonly string[]>;

/** Who is on the other end, as reported by the kernel at accept; a transport may not know. */
export interface Peer {
  readonly pid?: number;
  readonly uid?: number;
  readonly gid?: number;
}

/** What a handler learns about the call it serves, besides the request. */
export interface CallContext {
  readonly service: string;
  readonly method: string;
  /** Aborted when the caller has gone, the deadline has passed or the server gives up waiting. */
  readonly signal: AbortSignal;
  /** When the caller stops waiting, in milliseconds as `performance.now` counts them. */
  readonly deadlineMs: number | undefined;
  readonly metadata: Metadata;
  readonly peer: Peer;
  /** The call was taken by a previous program of this process, which has handed it over. */
  readonly isResumed?: boolean;
}

type Awaitable<T> = T | Promise<T>;

/** The function that serves one method; an answer that is not a promise is sent without delay. */
export type Handler<M extends MethodDefinition> = M["requestStream"] extends true
  ? M["responseStream"] extends true
    ? (requests: AsyncIterable<RequestOf<M>>, context: CallContext) => AsyncIterable<ResponseOf<M>>
    : (requests: AsyncIterable<RequestOf<M>>, context: CallContext) => Awaitable<ResponseOf<M>>
  : M["responseStream"] extends true
    ? (request: RequestOf<M>, context: CallContext) => AsyncIterable<ResponseOf<M>>
    : (request: RequestOf<M>, context: CallContext) => Awaitable<ResponseOf<M>>;

/** An object with a handler for every method of a service. */
export type Implementation<S extends ServiceDefinition> = {
  readonly [K in keyof S["methods"]]: Handler<S["methods"][K]>;
};

export type MethodKind = "unary" | "clientStream" | "serverStream" | "bidiStream";

/** One method as a server runs it: types erased, bytes at both ends. */
export interface Method {
  readonly kind: MethodKind;
  /** Throws `internal` when the bytes are not such a message. */
  decodeRequest(bytes: Uint8Array): unknown;
  /** Throws `internal` when the value is not such a message. */
  encodeResponse(message: unknown): Uint8Array;
  /** `input` is a decoded request, or an async iterable of them. Returns what the handler does. */
  invoke(input: unknown, context: CallContext): unknown;
}

export interface MountedService {
  readonly fullName: string;
  readonly methods: ReadonlyMap<string, Method>;
}

/** Methods by name, by full service name. */
export type ServiceTable = ReadonlyMap<string, ReadonlyMap<string, Method>>;

/**
 * Binds an implementation to a service definition. The methods keep their object as `this`.
 * Throws a `TypeError` when a handler is missing, which the compiler has refused already.
 */
export function mountService<S extends ServiceDefinition>(
  definition: S,
  implementation: Implementation<S>,
): MountedService;
export function mountService(
  definition: ServiceDefinition,
  implementation: object,
): MountedService {
  const methods = new Map<string, Method>();
  for (const [key, method] of Object.entries(definition.methods)) {
    const handler: unknown = Reflect.get(implementation, key);
    if (typeof handler !== "function") {
      throw new TypeError(`Cannot mount ${definition.fullName}: no handler named ${key}`);
    }
    methods.set(method.name, {
      kind: kindOf(method),
      decodeRequest: (bytes) => decodeMessage(method.requestType, bytes),
      encodeResponse: (message) => encodeMessage(method.responseType, message),
      invoke: (input, context) => handler.call(implementation, input, context),
    });
  }
  return { fullName: definition.fullName, methods };
}

/**
 * A service that is loaded with its first call, so that having it costs nothing. Until then the names with
 * their kinds stand in for the definition; a name that it does not have is refused at that point.
 */
export function mountLazily(
  fullName: string,
  kinds: Readonly<Record<string, "unary" | "serverStream">>,
  load: () => Promise<MountedService>,
): MountedService {
  let loaded: Promise<MountedService> | undefined;
  const find = async (name: string): Promise<Method> => {
    loaded ??= load();
    const method = (await loaded).methods.get(name);
    if (method !== undefined) return method;
    throw new ShimError("unimplemented", `Cannot find method: ${fullName}/${name}`);
  };
  const answer = async (name: string, bytes: Uint8Array, context: CallContext) => {
    const method = await find(name);
    return method.encodeResponse(await method.invoke(method.decodeRequest(bytes), context));
  };
  const answers = async function* (name: string, bytes: Uint8Array, context: CallContext) {
    const method = await find(name);
    const output = method.invoke(method.decodeRequest(bytes), context);
    assert(isAsyncIterable(output), "the loaded method answers with a stream");
    for await (const message of output) yield method.encodeResponse(message);
  };
  const methods = Object.entries(kinds).map(([name, kind]): [string, Method] => [
    name,
    {
      kind,
      decodeRequest: (bytes) => bytes,
      encodeResponse: asBytes,
      invoke: (input, context) =>
        (kind === "unary" ? answer : answers)(name, asBytes(input), context),
    },
  ]);
  return { fullName, methods: new Map(methods) };
}

function asBytes(value: unknown): Uint8Array {
  assert(value instanceof Uint8Array, "a lazy service passes bytes on");
  return value;
}

/** Whether a handler's output is a stream of messages. */
export function isAsyncIterable(value: unknown): value is AsyncIterable<unknown> {
  return typeof value === "object" && value !== null && Symbol.asyncIterator in value;
}

/** Builds the table of a server. Throws a `TypeError` when a service is mounted twice. */
export function serviceTable(services: readonly MountedService[]): ServiceTable {
  const table = new Map<string, ReadonlyMap<string, Method>>();
  for (const { fullName, methods } of services) {
    if (table.has(fullName)) throw new TypeError(`Cannot mount ${fullName}: it is mounted already`);
    table.set(fullName, methods);
  }
  return table;
}

/** Finds a method, or throws `unimplemented`: peers negotiate versions by that answer. */
export function findMethod(table: ServiceTable, service: string, method: string): Method {
  const methods = table.get(service);
  if (methods === undefined)
    throw new ShimError("unimplemented", `Cannot find service: ${service}`);
  const found = methods.get(method);
  if (found === undefined)
    throw new ShimError("unimplemented", `Cannot find method: ${service}/${method}`);
  return found;
}

/** How many messages flow in each direction. */
export function kindOf(method: MethodDefinition): MethodKind {
  if (method.requestStream) return method.responseStream ? "bidiStream" : "clientStream";
  return method.responseStream ? "serverStream" : "unary";
}

/** Throws `internal` when the bytes are not such a message. */
export function decodeMessage<T>(codec: Codec<T>, bytes: Uint8Array): T {
  try {
    return codec.decode(bytes);
  } catch (cause) {
    throw new ShimError("internal", `Cannot decode message: ${bytes.length} malformed bytes`, {
      cause,
    });
  }
}

/** Throws `internal` when a field holds what its type cannot. */
export function encodeMessage<T>(codec: Codec<T>, message: T): Uint8Array {
  try {
    return codec.encode(message).finish();
  } catch (cause) {
    throw new ShimError("internal", "Cannot encode message: a field has a value of a wrong type", {
      cause,
    });
  }
}
