/**
 * The answer of `start`: where the shim listens, over which protocol, and in which of the forms that the
 * four generations of containerd understand.
 */

import { ShimError } from "../../base/error.ts";
import { addressOf } from "../../bundle/address-file.ts";
import { BootstrapResult } from "../../gen/containerd/runtime/bootstrap/v1/bootstrap.ts";
import { type Environment, PROTOCOL_VARIABLE } from "../invocation/environment.ts";

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
