/** `-info`: what the runtime behind these options supports, for containerd to read. */

import { toEntries } from "../base/variables.ts";
import { toRuntimeOptions } from "../container/runtime-options.ts";
import { RuntimeInfo } from "../gen/containerd/types/introspection.ts";
import { Children } from "../linux/children.ts";
import { Poller } from "../linux/poller.ts";
import { type Deadlines, parseDeadlines } from "../runtime/deadlines.ts";
import { RuntimeError } from "../runtime/error.ts";
import { Runc } from "../runtime/runc.ts";
import type { RuntimeOptions } from "../runtime/runtime.ts";
import { decodeRuncOptions } from "../service/options.ts";
import { revision, runtimeName, version } from "../version.ts";
import type { Invocation } from "./invocation/invocation.ts";
import { decodeStdinOptions } from "./invocation/stdin-options.ts";
import { readInput, writeOutput } from "./invocation/stream.ts";

const FEATURES_TYPE = "types.containerd.io/opencontainers/runtime-spec/1/features/Features";

/** Reads options on stdin, writes RuntimeInfo to stdout, returns the exit code. */
export async function info(invocation: Invocation): Promise<number> {
  const any = decodeStdinOptions(readInput(0));
  const runtime = toRuntimeOptions(decodeRuncOptions(any), {
    namespace: invocation.namespace,
    bundle: "/",
    environment: toEntries(invocation.environment.variables),
  });
  const deadlines = parseDeadlines(invocation.environment.deadlines);
  const features = await readFeatures(runtime, deadlines);
  const answer = RuntimeInfo.encode({
    name: runtimeName,
    version: { version, revision },
    options: any,
    features: features === undefined ? undefined : { typeUrl: FEATURES_TYPE, value: features },
    annotations: new Map(),
  });
  writeOutput(1, answer.finish());
  return 0;
}

/** Undefined when the runtime is too old to tell its features. Throws RuntimeError when it is not there. */
async function readFeatures(
  options: RuntimeOptions,
  deadlines: Deadlines,
): Promise<Uint8Array | undefined> {
  using poller = new Poller();
  using children = new Children({ poller, reapStrays: false });
  try {
    const text = await new Runc(options, { children, deadlines }).features();
    JSON.parse(text);
    return Buffer.from(text);
  } catch (error) {
    if (error instanceof RuntimeError && error.kind === "runtimeNotFound") throw error;
    return undefined;
  }
}
