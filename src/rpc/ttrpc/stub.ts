/** A client with one typed function per method of a generated service definition. */

import { ShimError } from "../../base/error.ts";
import {
  type Codec,
  decodeMessage,
  encodeMessage,
  kindOf,
  type MethodDefinition,
  type RequestOf,
  type ResponseOf,
  type ServiceDefinition,
} from "../service.ts";
import type { CallOptions, CallTarget, TtrpcClient } from "./client.ts";
import type { ClientStream } from "./client-stream.ts";

/** The function that calls one method. */
export type Call<M extends MethodDefinition> = M["requestStream"] extends true
  ? M["responseStream"] extends true
    ? (requests: AsyncIterable<RequestOf<M>>, options?: CallOptions) => AsyncIterable<ResponseOf<M>>
    : (requests: AsyncIterable<RequestOf<M>>, options?: CallOptions) => Promise<ResponseOf<M>>
  : M["responseStream"] extends true
    ? (request: RequestOf<M>, options?: CallOptions) => AsyncIterable<ResponseOf<M>>
    : (request: RequestOf<M>, options?: CallOptions) => Promise<ResponseOf<M>>;

/** The methods of a service, by their names in the definition. */
export type Stub<S extends ServiceDefinition> = {
  readonly [K in keyof S["methods"]]: Call<S["methods"][K]>;
};

/**
 * Makes the functions that call a service over `client`. They fail as `TtrpcClient.call` does;
 * a stream that is not read to its end must be left by `break` or `return`.
 */
export function createStub<S extends ServiceDefinition>(
  client: TtrpcClient,
  definition: S,
): Stub<S>;
export function createStub(client: TtrpcClient, definition: ServiceDefinition): object {
  const service = definition.fullName;
  return Object.fromEntries(
    Object.entries(definition.methods).map(([key, method]) => [
      key,
      bindCall(client, { service, method: method.name }, method),
    ]),
  );
}

function bindCall(client: TtrpcClient, target: CallTarget, method: MethodDefinition): unknown {
  const kind = kindOf(method);
  switch (kind) {
    case "unary":
      return async (request: unknown, options?: CallOptions) => {
        const payload = encodeMessage(method.requestType, request);
        return decodeMessage(method.responseType, await client.call(target, payload, options));
      };
    case "serverStream":
      return (request: unknown, options?: CallOptions) => {
        const payload = encodeMessage(method.requestType, request);
        const stream = client.stream(target, kind, payload, options);
        return decodeEach(stream, method.responseType);
      };
    case "clientStream":
      return async (requests: AsyncIterable<unknown>, options?: CallOptions) => {
        const stream = client.stream(target, kind, undefined, options);
        void sendEach(stream, requests, method.requestType);
        return await readOne(stream, method.responseType);
      };
    case "bidiStream":
      return (requests: AsyncIterable<unknown>, options?: CallOptions) => {
        const stream = client.stream(target, kind, undefined, options);
        void sendEach(stream, requests, method.requestType);
        return decodeEach(stream, method.responseType);
      };
  }
}

/** Never rejects: what goes wrong here reaches the reader of the stream. */
async function sendEach<T>(
  stream: ClientStream,
  requests: AsyncIterable<T>,
  codec: Codec<T>,
): Promise<void> {
  try {
    for await (const request of requests) await stream.send(encodeMessage(codec, request));
    await stream.closeSend();
  } catch (error) {
    await stream.abandon(error instanceof Error ? error : new Error(String(error)));
  }
}

async function readOne<T>(stream: ClientStream, codec: Codec<T>): Promise<T> {
  const { done, value } = await stream.next();
  if (done) throw new ShimError("internal", "Cannot read answer: the stream ended without one");
  return decodeMessage(codec, value);
}

async function* decodeEach<T>(stream: ClientStream, codec: Codec<T>): AsyncGenerator<T> {
  for await (const bytes of stream) yield decodeMessage(codec, bytes);
}
