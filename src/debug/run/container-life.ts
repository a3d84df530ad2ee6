/** The steps of a container's life that every way of running it shares, with errors for people. */

import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { hasReason, messageOf } from "../../base/error.ts";
import { Options } from "../../gen/containerd/types/runc/options/oci.ts";
import { SIGKILL } from "../../linux/signals.ts";
import { type Kernel, runCommand } from "../command-output.ts";
import { EXIT_FAILURE, Refusal } from "../refusal.ts";
import type { StreamPaths } from "../stream/container-streams.ts";
import type { RunPlan } from "./run-plan.ts";
import type { ShimProcess } from "./shim-process.ts";

const OPTIONS_TYPE = "containerd.runc.v1.Options";
/** The shim has deadlines of its own, and shorter ones; this is for one that hangs. */
const UNDO_TIMEOUT_MS = 20_000;

/** A run in progress. */
export interface Run {
  readonly plan: RunPlan;
  readonly shim: ShimProcess;
  readonly kernel: Kernel;
}

/** Returns the pid of the init process. Throws a Refusal. */
export async function createContainer(run: Run, paths: StreamPaths): Promise<number> {
  const { plan, shim } = run;
  const options = Options.encode({
    ...Options.decode(new Uint8Array(0)),
    binaryName: plan.runtime,
    root: plan.root,
  }).finish();
  try {
    const { pid } = await shim.task.create({
      id: plan.id,
      bundle: plan.bundle,
      rootfs: [],
      terminal: plan.isTerminal,
      ...paths,
      checkpoint: "",
      parentCheckpoint: "",
      options: { typeUrl: OPTIONS_TYPE, value: options },
    });
    if (plan.pidFile !== undefined) writeFileSync(plan.pidFile, String(pid));
    return pid;
  } catch (error) {
    throw failure(`Cannot create container ${plan.id}`, error);
  }
}

/** Throws a Refusal. */
export async function startContainer({ plan, shim }: Run): Promise<void> {
  try {
    await shim.task.start({ id: plan.id, execId: "" });
  } catch (error) {
    throw failure(`Cannot start container ${plan.id}`, error);
  }
}

/** Removes a container that has ended. Throws a Refusal. */
export async function deleteContainer({ plan, shim }: Run): Promise<void> {
  try {
    await shim.task.delete({ id: plan.id, execId: "" });
  } catch (error) {
    throw failure(`Cannot delete container ${plan.id}`, error);
  }
}

/** Removes whatever there is of a container, through the shim or past it. Never rejects. */
export async function destroyContainer(run: Run): Promise<void> {
  const { plan, shim } = run;
  const { id } = plan;
  const process = { id, execId: "" };
  const limit = { timeoutMs: UNDO_TIMEOUT_MS };
  const steps = [
    () => shim.task.kill({ ...process, signal: SIGKILL, all: true }, limit),
    () => shim.task.wait(process, limit),
    () => shim.task.delete(process, limit),
    () => deleteByRuntime(run),
  ];
  for (const step of steps) {
    try {
      await step();
    } catch {
      // It was not created, has already ended, or its shim is dead: the next step removes what is left.
    }
  }
}

/** For a container that its shim does not know of, or whose shim is gone. */
async function deleteByRuntime({ plan, kernel }: Run): Promise<void> {
  const root = join(plan.root, plan.namespace);
  if (!existsSync(join(root, plan.id))) return;
  await runCommand(
    {
      argv: [plan.runtime, "--root", root, "delete", "--force", plan.id],
      cwd: plan.bundle,
      env: [`PATH=${plan.variables["PATH"] ?? ""}`],
    },
    kernel,
  );
}

/** Whether a call failed because there is nobody to answer it. */
export function isLost(error: unknown): boolean {
  return hasReason(error, "unavailable");
}

/** The Refusal for a call's error. */
export function failure(what: string, error: unknown): Refusal {
  const why = isLost(error) ? "the shim has ended unexpectedly" : messageOf(error);
  return new Refusal(EXIT_FAILURE, `${what}: ${why}`, { cause: error });
}
