/**
 * A shim that is started and called the way containerd does: `start` in the bundle, an address for an
 * answer, ttrpc from then on.
 */

import { messageOf } from "../../base/error.ts";
import { toEntries } from "../../base/variables.ts";
import { parseSocketPath } from "../../bundle/address.ts";
import { TaskDefinition } from "../../gen/containerd/task/v3/task.ts";
import type { OwnedFd } from "../../linux/fd.ts";
import { openPidfd } from "../../linux/pidfd.ts";
import type { Poller } from "../../linux/poller.ts";
import { selfCommand } from "../../linux/self-command.ts";
import type { TaskClient } from "../../rpc/task-client.ts";
import { connectBun } from "../../rpc/ttrpc/bun.ts";
import type { TtrpcClient } from "../../rpc/ttrpc/client.ts";
import { createStub } from "../../rpc/ttrpc/stub.ts";
import { executableName } from "../../version.ts";
import { type Kernel, runCommand } from "../command-output.ts";
import { EXIT_FAILURE, Refusal } from "../refusal.ts";
import type { RunPlan } from "./run-plan.ts";

const END_TIMEOUT_MS = 10_000;
/** Variables of the caller's own shell; a shim would take them for its manager's. */
const MANAGER_VARIABLES: ReadonlySet<string> = new Set([
  "GRPC_ADDRESS",
  "MAX_SHIM_VERSION",
  "NAMESPACE",
  "TTRPC_ADDRESS",
]);

/** The connected shim of one container. Its owner calls {@link end} or {@link leave}. */
export class ShimProcess {
  readonly task: TaskClient;
  /** 0 if it is not known. */
  readonly pid: number;
  readonly #client: TtrpcClient;
  readonly #pidfd: OwnedFd | undefined;
  readonly #poller: Poller;
  readonly #plan: RunPlan;

  private constructor(options: {
    readonly client: TtrpcClient;
    readonly task: TaskClient;
    readonly pid: number;
    readonly poller: Poller;
    readonly plan: RunPlan;
  }) {
    this.#client = options.client;
    this.task = options.task;
    this.pid = options.pid;
    this.#poller = options.poller;
    this.#plan = options.plan;
    this.#pidfd = options.pid > 0 ? tryPidfd(options.pid) : undefined;
  }

  /** Starts a shim in the plan's bundle, or joins the one of its group. Throws a Refusal. */
  static async start(plan: RunPlan, kernel: Kernel): Promise<ShimProcess> {
    const path = await startShim(plan, kernel);
    try {
      const client = await connectBun({ unix: path });
      const task = createStub(client, TaskDefinition);
      const { shimPid } = await task.connect({ id: plan.id });
      return new ShimProcess({ client, task, pid: shimPid, poller: kernel.poller, plan });
    } catch (cause) {
      throw new Refusal(
        EXIT_FAILURE,
        `Cannot reach the shim at ${path}: ${messageOf(cause)}; try again with --debug`,
        { cause },
      );
    }
  }

  /** Lets the shim go on alone. */
  leave(): void {
    this.#client.close();
    this.#pidfd?.[Symbol.dispose]();
  }

  /**
   * Asks the shim to end, which it does when it has no container left, and waits until it has. False
   * if it is still there: it has other containers, or hangs. Never rejects.
   */
  async end(): Promise<boolean> {
    try {
      await this.task.shutdown({ id: this.#plan.id, now: false }, { timeoutMs: END_TIMEOUT_MS });
    } catch {
      // It has already closed the connection, or is dead: then there is nothing to ask for.
    }
    const hasEnded = this.#plan.isGrouped ? false : await this.#waitForEnd();
    this.leave();
    return hasEnded;
  }

  async #waitForEnd(): Promise<boolean> {
    const { promise, resolve } = Promise.withResolvers<boolean>();
    const timer = setTimeout(() => resolve(false), END_TIMEOUT_MS);
    // A process is gone when its pidfd says so; the connection is closed before its last file is.
    const watch =
      this.#pidfd &&
      this.#poller.watch(this.#pidfd.fd, { readable: true }, () => {
        watch?.[Symbol.dispose]();
        resolve(true);
      });
    if (watch === undefined) void this.#client.closed.then(() => resolve(true));
    const hasEnded = await promise;
    clearTimeout(timer);
    watch?.[Symbol.dispose]();
    return hasEnded;
  }
}

/** The path of the socket that `start` answers with. */
async function startShim(plan: RunPlan, kernel: Kernel): Promise<string> {
  const self = selfCommand();
  const { exit, text } = await runCommand(
    {
      path: self.path,
      argv: [
        ...self.argv,
        ...["-namespace", plan.namespace, "-id", plan.id],
        // No manager: nobody takes events.
        ...["-address", ""],
        ...(plan.isDebug ? ["-debug"] : []),
        "start",
      ],
      cwd: plan.bundle,
      env: toEntries(plan.variables, MANAGER_VARIABLES),
    },
    kernel,
  );
  const answer = text.trim();
  const path = exit.status === 0 ? parseSocketPath(answer) : undefined;
  if (path !== undefined) return path;
  const why = answer.replace(`${executableName}: `, "") || `exit status ${exit.status}`;
  throw new Refusal(EXIT_FAILURE, `Cannot start the shim: ${why.replaceAll("\n", " ")}`);
}

function tryPidfd(pid: number): OwnedFd | undefined {
  try {
    return openPidfd(pid);
  } catch {
    return undefined; // Already gone: the connection will tell.
  }
}
