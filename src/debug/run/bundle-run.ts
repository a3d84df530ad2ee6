/** `shim run`: a bundle under a shim of its own, with this process in place of a manager. */

import { writeSync } from "node:fs";
import { Children } from "../../linux/children.ts";
import { Poller } from "../../linux/poller.ts";
import { SignalRelay } from "../stream/signal-relay.ts";
import type { Context } from "../verb.ts";
import { BundleTrace } from "./bundle-trace.ts";
import {
  createContainer,
  destroyContainer,
  isLost,
  type Run,
  startContainer,
} from "./container-life.ts";
import { deriveBundle, removeDerived } from "./derived-bundle.ts";
import { openDetachedStreams } from "./detached-streams.ts";
import { runForeground } from "./foreground.ts";
import type { RunOptions } from "./run-options.ts";
import { planRun, type RunPlan } from "./run-plan.ts";
import { ShimLog } from "./shim-log.ts";
import { ShimProcess } from "./shim-process.ts";

/** Returns the exit code. Throws a Refusal. */
export async function runBundle(
  options: RunOptions,
  { variables, output }: Context,
): Promise<number> {
  const warn = (message: string) => output.warn(message);
  const planned = planRun(options, variables);
  using signals = new SignalRelay();
  using poller = new Poller();
  using children = new Children({ poller, reapStrays: false });
  const kernel = { poller, children };
  const plan = withOwnBundle(planned);
  let isLeft = false;
  // Last: the log is in it.
  using _bundle = {
    [Symbol.dispose]: () => {
      if (!isLeft) removeDerived(plan.bundle);
    },
  };
  const trace = new BundleTrace(plan.bundle);
  using log = ShimLog.open(plan.bundle, poller, plan.isDebug);
  try {
    const shim = await ShimProcess.start(plan, kernel);
    const current = { plan, shim, kernel };
    try {
      if (!options.isDetached) return await runForeground(current, signals, warn);
      await runDetached(current);
      isLeft = true;
      return 0;
    } finally {
      if (isLeft) shim.leave();
      else if (!(await shim.end()) && !plan.isGrouped) {
        warn(`The shim (process ${shim.pid}) does not exit: look at what it does, then kill it`);
      }
    }
  } catch (error) {
    // Only a shim that died has more to say than the error.
    const isLoud = error instanceof Error && isLost(error.cause) && !plan.isDebug;
    if (isLoud) writeSync(2, log?.tail ?? "");
    throw error;
  } finally {
    if (!isLeft) trace.remove();
  }
}

/** The plan, over a bundle whose config.json is as the flags want it. */
function withOwnBundle(plan: RunPlan): RunPlan {
  const { bundle, changedConfig, isTerminal } = plan;
  if (changedConfig === undefined) return plan;
  return { ...plan, bundle: deriveBundle(bundle, changedConfig, { terminal: isTerminal }) };
}

/** Starts the container and says where it is. */
async function runDetached(current: Run): Promise<void> {
  try {
    const pid = await createContainer(current, openDetachedStreams(current.plan));
    await startContainer(current);
    writeSync(1, `${current.plan.id} ${pid}\n`);
  } catch (error) {
    await destroyContainer(current);
    throw error;
  }
}
