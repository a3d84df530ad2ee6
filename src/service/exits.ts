/**
 * From the exit of a process to its TaskExit: the order that clients rely on.
 *
 * - TaskExit of a process follows its start event, however early the process died: following begins
 *   after the event of its creation was published, and waits for a Start in flight to be settled.
 * - The exit of init is the last one of a container: it waits for every exec that runs or is being
 *   started. Only init's exit waits, never an exec's.
 * - TaskOOM precedes TaskExit, of an exec too: a look for OOM kills comes before.
 * - Output precedes TaskExit: a client has a moment to read what it has not read, or would lose it.
 * - The exit is recorded in the bundle before it is told, so it outlives this process.
 * - Each container is followed on its own: a runtime that hangs for one delays no other.
 */

import { messageOf } from "../base/error.ts";
import type { Inventory } from "../base/inventory.ts";
import type { Logger } from "../base/log.ts";
import type { Container } from "../container/container.ts";
import type { ExecProcess } from "../container/exec-process.ts";
import { saveExitRecord } from "../container/exit-record.ts";
import { type TaskEvent, taskExit } from "../event/task-event.ts";
import { toTimestamp } from "../event/timestamp.ts";
import type { Exit } from "../linux/children.ts";

/**
 * How long starts in flight may go on once init has ended: the runtime's last steps and hooks, but not
 * the whole deadline of one that hangs. The exit waits for them.
 */
const START_PATIENCE_MS = 5000;

/** Takes an event about the task in `bundle`; returns at once. */
export type Publish = (event: TaskEvent, bundle: string) => void;

/** By SIGKILL; a shell passes it on for its child. */
const KILLED_STATUS = 137;

export interface ExitsOptions {
  readonly publish: Publish;
  readonly log: Logger;
}

/** Follows processes to their end. */
export class Exits {
  readonly #publish: Publish;
  readonly #log: Logger;
  /** Ends that have been seen and not yet told, but for those that wait for others. */
  #telling = 0;

  constructor(options: ExitsOptions) {
    this.#publish = options.publish;
    this.#log = options.log;
  }

  /**
   * Follows the init of `container`. To be called once, when init exists and the event that told so
   * has been published. Returns at once.
   */
  followInit(container: Container): void {
    this.#untilInitEnds(container).catch((error) => {
      this.#log.error("Following init failed", { id: container.id, error: messageOf(error) });
    });
  }

  /**
   * Follows an exec that has started, when its start event has been published; `active` is released
   * when its exit has been told. Returns at once.
   */
  followExec(container: Container, exec: ExecProcess, active: Disposable): void {
    this.#untilExecEnds(container, exec, active).catch((error) => {
      this.#log.error("Following an exec failed", { id: container.id, error: messageOf(error) });
    });
  }

  /**
   * Follows again what was followed before `container` was handed over. What had begun to be done at
   * init's end is done from its beginning: each of its steps may be done twice.
   */
  followRestored(container: Container): void {
    for (const exec of container.execs) {
      if (exec.child === undefined || exec.termination !== undefined) continue;
      this.followExec(container, exec, container.continueExec());
    }
    const { init } = container;
    if (init.child !== undefined && init.termination === undefined) this.followInit(container);
  }

  /** Adds to `inventory` what is being done at an end: it cannot be handed over. */
  inspect(inventory: Inventory): void {
    if (this.#telling > 0) inventory.addObstacle("the end of a container is being told");
  }

  async #untilExecEnds(container: Container, exec: ExecProcess, active: Disposable): Promise<void> {
    using _active = active;
    const exit = await exec.child?.exited;
    if (exit === undefined) return;
    if (exit.status === KILLED_STATUS) container.lookForOom();
    await exec.outputRead(this.#log);
    exec.recordTermination(exit);
    this.#tell(container, exec.id, exit);
  }

  async #untilInitEnds(container: Container): Promise<void> {
    const { init } = container;
    const exit = await init.child?.exited;
    if (exit === undefined) return;
    const patience = setTimeout(() => container.abortStarts(), START_PATIENCE_MS);
    await init.startSettled();
    if (container.killsRestOnExit) await this.#busyWith(this.#killRest(container));
    await container.execsEnded();
    clearTimeout(patience);
    await this.#busyWith(this.#endInit(container, exit));
  }

  async #endInit(container: Container, exit: Exit): Promise<void> {
    const { init } = container;
    await container.lookForLastOom();
    this.#record(container, exit);
    await init.outputRead(this.#log);
    const thawed = init.recordTermination(exit);
    this.#tell(container, init.id, exit);
    await thawed;
  }

  async #busyWith(step: Promise<void>): Promise<void> {
    this.#telling++;
    try {
      await step;
    } finally {
      this.#telling--;
    }
  }

  async #killRest(container: Container): Promise<void> {
    try {
      await container.init.killRest();
    } catch (error) {
      // Often nothing is left to be killed; what we know of is killed all the same.
      this.#log.debug("Kill of init's leftovers", { id: container.id, error: messageOf(error) });
    }
    container.killExecs();
  }

  #record(container: Container, exit: Exit): void {
    try {
      saveExitRecord(container.bundle.path, {
        pid: exit.pid,
        exitStatus: exit.status,
        signal: exit.signal,
        exitedAt: new Date(exit.atMs),
        oomKilled: container.wasOomKilled,
      });
    } catch (error) {
      this.#log.warn("Exit not recorded", { id: container.id, error: messageOf(error) });
    }
  }

  #tell(container: Container, id: string, exit: Exit): void {
    this.#publish(
      taskExit({
        containerId: container.id,
        id,
        pid: exit.pid,
        exitStatus: exit.status,
        exitedAt: toTimestamp(exit.atMs),
      }),
      container.bundle.path,
    );
  }
}
