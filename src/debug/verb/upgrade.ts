/** `shim upgrade`: switches running shims to a new program. */

import { resolve } from "node:path";
import type { CommandUnknownOpts } from "@commander-js/extra-typings";
import { hasReason, messageOf } from "../../base/error.ts";
import { HandoffDefinition } from "../../gen/wedge/handoff/v1/handoff.ts";
import { createStub } from "../../rpc/ttrpc/stub.ts";
import { callFailure, connectShim } from "../connection.ts";
import { findShims, type HostShim } from "../host/shims.ts";
import { findTarget } from "../host/target.ts";
import { EXIT_FAILURE, usageError } from "../refusal.ts";
import { type Context, newVerb } from "../verb.ts";

const MICROSECONDS_PER_MILLISECOND = 1000;
/** The self test of the new program and the wait for a quiet instant have limits of their own, below this. */
const UPGRADE_TIMEOUT_MS = 60_000;
const BUSY_LIMIT_MS = 3000;
const BUSY_LOOK_MS = 100;

const TEXT = {
  summary: "switch running shims to a new executable",
  description: `Switches the shim of a container, or every wedge shim on this host, to a new executable in the same
process: containers, clients, open calls and streams do not notice. The new executable is first tested
beside the shim; if it fails, the shim stays as it was.

Without --binary it is the file now at the path from which the shim was started.`,
  examples: [
    {
      line: "shim upgrade --all",
      what: "after installing a new version over the old one",
    },
    { line: "shim upgrade web --binary /opt/wedge/containerd-shim-wedge-v2", what: "another file" },
  ],
};

interface Upgraded {
  readonly namespace: string;
  readonly id: string;
  readonly shimPid: number;
  readonly version: string;
  readonly revision: string;
  readonly pauseMs: number;
}

export function upgrade(context: Context): CommandUnknownOpts {
  return newVerb("upgrade", TEXT)
    .argument("[container]", "see shim help names")
    .option("-n, --namespace <name>", "only in this namespace")
    .option("-a, --all", "every wedge shim on this host")
    .option("--binary <path>", "the new executable")
    .option("--json", "a list of objects")
    .action(async (word, { namespace, all, binary, json }) => {
      if ((word === undefined) === (all !== true)) {
        throw usageError("Name a container, or give --all");
      }
      const path = binary === undefined ? "" : resolve(binary);
      const shims = word === undefined ? everyWedge(namespace) : [shimOf(word, namespace)];
      const done: Upgraded[] = [];
      for (const shim of shims) {
        try {
          const upgraded = await upgradeShim(shim, path);
          done.push(upgraded);
          if (!json) context.output.print(lineOf(upgraded));
        } catch (error) {
          if (word !== undefined) throw error;
          // The others are not affected.
          context.exitCode = EXIT_FAILURE;
          context.output.warn(messageOf(error));
        }
      }
      if (json) context.output.printJson(done);
    });
}

function everyWedge(namespace: string | undefined): readonly HostShim[] {
  return findShims().shims.filter(
    (shim) => shim.kind === "wedge" && (namespace === undefined || shim.namespace === namespace),
  );
}

function shimOf(word: string, namespace: string | undefined): HostShim {
  return findTarget(findShims(), word, { namespace }).shim;
}

/** Throws a Refusal. */
async function upgradeShim(shim: HostShim, binary: string): Promise<Upgraded> {
  const { namespace, id, process } = shim;
  using connection = await connectShim(shim);
  const handoff = createStub(connection.client, HandoffDefinition);
  try {
    const answer = await untilItIsFree(() =>
      handoff.upgrade({ binary }, { timeoutMs: UPGRADE_TIMEOUT_MS }),
    );
    const pauseMs = Number(answer.pauseMicroseconds) / MICROSECONDS_PER_MILLISECOND;
    const { version, revision } = answer;
    return { namespace, id, shimPid: process.pid, version, revision, pauseMs };
  } catch (error) {
    throw callFailure(`Cannot upgrade the shim of ${id} (process ${process.pid})`, error);
  }
}

/** A shim that is just renewing itself answers `aborted`, and is free in a moment. */
async function untilItIsFree<T>(call: () => Promise<T>): Promise<T> {
  const deadline = performance.now() + BUSY_LIMIT_MS;
  for (;;) {
    try {
      return await call();
    } catch (error) {
      if (!hasReason(error, "aborted") || performance.now() > deadline) throw error;
      await Bun.sleep(BUSY_LOOK_MS);
    }
  }
}

function lineOf({ namespace, id, shimPid, version, pauseMs }: Upgraded): string {
  return `${namespace}/${id}: process ${shimPid} is wedge ${version} now, paused ${Math.round(pauseMs)} ms\n`;
}
