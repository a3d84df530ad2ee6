/**
 * What `start` is asked for: the flags, the variables and what containerd says on stdin, as one value.
 *
 * Up to containerd 2.2 stdin is an `Any` with the runtime options, or nothing, and the rest is in flags and
 * variables; from 2.3 all of it is in one `BootstrapParams`. An `Any` can be decoded as one, so it counts
 * only if it names this very task.
 */

import { ShimError } from "../../base/error.ts";
import type { RuncOptions } from "../../container/options.ts";
import { BootstrapParams, LogLevel } from "../../gen/containerd/runtime/bootstrap/v1/bootstrap.ts";
import { decodeRuncOptions, isRuncOptions } from "../../service/options.ts";
import type { Invocation } from "../invocation/invocation.ts";
import { decodeStdinOptions } from "../invocation/stdin-options.ts";

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
  if (params === undefined) {
    return { ...base, isDebug, options: decodeRuncOptions(decodeStdinOptions(input)) };
  }
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
