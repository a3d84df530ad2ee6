/**
 * What `start` and containerd say to each other: what is on stdin, and the form of the answer.
 *
 * Four generations of containerd are served by one executable. Up to 2.2 stdin is an `Any` with the
 * runtime options, or nothing, and the rest is in flags and variables; from 2.3 all of it is in one
 * `BootstrapParams`. An `Any` can be decoded as one, so it counts only if it names this very task.
 */

import { messageOf, ShimError } from "../../base/error.ts";
import { addressOf } from "../../bundle/address-file.ts";
import type { RuncOptions } from "../../container/options.ts";
import {
  BootstrapParams,
  BootstrapResult,
  LogLevel,
} from "../../gen/containerd/runtime/bootstrap/v1/bootstrap.ts";
import { Any } from "../../gen/google/protobuf/any.ts";
import { decodeRuncOptions, isRuncOptions } from "../../service/options.ts";
import { type Environment, PROTOCOL_VARIABLE } from "../invocation/environment.ts";
import type { Invocation } from "../invocation/invocation.ts";

/** What `start` is asked for, in whichever form it was said. */
export interface StartRequest {
  readonly id: string;
  readonly namespace: string;
  readonly isDebug: boolean;
  /** Where containerd takes events. */
  readonly ttrpcAddress: string;
  readonly grpcAddress: string;
  /** "" where containerd names none. */
  readonly socketDirectory: string;
  readonly options: RuncOptions;
  /** Whether it came as BootstrapParams: then the answer is a BootstrapResult. */
  readonly isBootstrap: boolean;
}

/** Throws ShimError `invalidArgument` for input that is neither message, or that is about another task. */
export function decodeStartRequest(input: Uint8Array, invocation: Invocation): StartRequest {
  const { id, namespace, isDebug, address, environment } = invocation;
  const params = input.length === 0 ? undefined : decodeParams(input, invocation);
  const base = {
    id,
    namespace,
    ttrpcAddress: params?.containerdTtrpcAddress || environment.ttrpcAddress,
    grpcAddress: params?.containerdGrpcAddress || address || environment.grpcAddress,
    socketDirectory: socketDirectoryOf(params),
    isBootstrap: params !== undefined,
  };
  if (params === undefined) return { ...base, isDebug, options: decodeOptions(input) };
  const extensions = params.extensions.map(({ value }) => value);
  return {
    ...base,
    isDebug: isDebug || params.logLevel <= LogLevel.DEBUG,
    // Extensions of other types are for other shims.
    options: decodeRuncOptions(extensions.find((any) => any !== undefined && isRuncOptions(any))),
  };
}

function decodeParams(
  input: Uint8Array,
  { id, namespace }: Invocation,
): BootstrapParams | undefined {
  let params: BootstrapParams;
  try {
    params = BootstrapParams.decode(input);
  } catch {
    return undefined; // The older form; decoding that will tell what is wrong with it.
  }
  if (params.instanceId === id && params.namespace === namespace) return params;
  // No Any has these fields.
  if (params.containerdVersion === "" && params.containerdGrpcAddress === "") return undefined;
  throw new ShimError(
    "invalidArgument",
    `Cannot use the bootstrap parameters on stdin: they are for task ${params.instanceId} of namespace ` +
      `${params.namespace}, the flags for task ${id} of namespace ${namespace}`,
  );
}

function socketDirectoryOf(params: BootstrapParams | undefined): string {
  const directory = params?.socketDir ?? "";
  if (directory === "" || directory.startsWith("/")) return directory;
  throw new ShimError(
    "invalidArgument",
    `Cannot use the socket directory ${JSON.stringify(directory)}: it is not an absolute path`,
  );
}

function decodeOptions(input: Uint8Array): RuncOptions {
  if (input.length === 0) return decodeRuncOptions(undefined);
  let any: Any;
  try {
    any = Any.decode(input);
  } catch (cause) {
    const message = `Cannot decode the runtime options on stdin: ${messageOf(cause)}`;
    throw new ShimError("invalidArgument", message, { cause });
  }
  if (any.typeUrl === "") {
    const message = `Cannot decode the runtime options on stdin: ${input.length} bytes without a type`;
    throw new ShimError("invalidArgument", message);
  }
  return decodeRuncOptions(any);
}

/** The forms of the answer, oldest first. */
export type Dialect = "plain" | "json2" | "json3" | "protobuf";

/** What decides the answer's form. */
export interface Manager {
  readonly isBootstrap: boolean;
  /** The namespace of the flags. */
  readonly namespace: string;
  readonly environment: Environment;
  /** Whether the parent is containerd 2 or later. Asked only where nothing else decides. */
  readonly isContainerd2: () => boolean;
}

/**
 * The newest form that the manager is certain to understand.
 *
 * Every containerd takes a plain address; 1.6 takes nothing else, and is known by not setting what
 * later ones always set. 1.7 refuses version 3 and cannot be told from 2.0 to 2.2 by what it says
 * (both say that they take at most 2, which is not true of 2.0 to 2.2).
 */
export function chooseDialect(manager: Manager): Dialect {
  const { isBootstrap, namespace, environment, isContainerd2 } = manager;
  if (isBootstrap) return "protobuf";
  const { maxShimVersion } = environment;
  if (maxShimVersion === undefined || maxShimVersion < 2) return "plain";
  if (environment.namespace !== namespace) return "plain";
  return maxShimVersion >= 3 || isContainerd2() ? "json3" : "json2";
}

/** The protocol that containerd is told to use; the shim serves either. */
export type Protocol = "ttrpc" | "grpc";

/** Throws ShimError `invalidArgument` for an unknown protocol. */
export function parseProtocol(text: string): Protocol {
  if (text === "" || text === "ttrpc") return "ttrpc";
  if (text === "grpc") return "grpc";
  throw new ShimError(
    "invalidArgument",
    `Cannot use ${PROTOCOL_VARIABLE}=${text}: set it to ttrpc or grpc, or not at all`,
  );
}

/**
 * The answer of `start`: that the shim listens at the unix socket `path`. Throws ShimError
 * `failedPrecondition` when that containerd cannot call shims over gRPC.
 */
export function encodeAnswer(dialect: Dialect, path: string, protocol: Protocol): Uint8Array {
  if (protocol === "grpc") return encodeGrpcAnswer(dialect, path);
  const address = addressOf(path);
  switch (dialect) {
    case "plain":
      return Buffer.from(address);
    case "json2":
      return Buffer.from(JSON.stringify({ version: 2, address, protocol }));
    case "json3":
      return Buffer.from(JSON.stringify({ version: 3, address, protocol }));
    case "protobuf":
      return BootstrapResult.encode({
        version: 3,
        address,
        protocol,
        capabilities: [],
        metadata: new Map(),
      }).finish();
  }
}

/** For gRPC containerd takes a path without a scheme. */
function encodeGrpcAnswer(dialect: Dialect, path: string): Uint8Array {
  const refuse = (reason: string) =>
    new ShimError("failedPrecondition", `Cannot offer gRPC: ${reason}; unset ${PROTOCOL_VARIABLE}`);
  switch (dialect) {
    case "plain":
      throw refuse("this containerd is older than 1.7 and calls shims over ttrpc alone");
    case "json2":
      return Buffer.from(JSON.stringify({ version: 2, address: path, protocol: "grpc" }));
    case "json3":
    case "protobuf":
      // It waits for the connection to leave the state READY, which a new one has not reached yet.
      throw refuse("containerd 2 takes a gRPC connection that is new for one that has ended");
  }
}
