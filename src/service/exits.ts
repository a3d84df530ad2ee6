/**
 * From the exit of a process to its TaskExit: the order that clients rely on.
 *
 * - TaskExit of a process follows its start event, however early the process died: following begins
 *   after the event of its creation was published, and waits for a Start in flight to settle.
 * - The exit of init is the last one of a container: it waits for every exec that runs or is being
 *   started. Only init's exit waits, never an exec's.
 * - TaskOOM precedes TaskExit, an exec's too: OOM kills are looked for first.
 * - State reports at once that a process has stopped. Wait and TaskExit do when its client has read what
 *   it wrote, or has had a moment to: many clients stop reading when they hear of the end.
 * - The exit is recorded in the bundle before it is reported, so it outlives this process.
 * - Each container is followed on its own: a runtime that hangs for one delays no other.
 */

import { ActiveCount } from "../base/active-count.ts";
import { messageOf } from "../base/error.ts";
import type { Inventory } from "../base/inventory.ts";
import type { Logger } from "../base/log.ts";
import { KILLED_STATUS, saveExitRecord } from "../bundle/exit-record.ts";
import type { Container } from "../container/container.ts";
import type { ExecProcess } from "../container/exec-process.ts";
import type { TaskProcess } from "../container/process.ts";
import { type TaskEvent, taskExit } from "../event/task-event.ts";
import { toTimestamp } from "../event/timestamp.ts";
import type { Exit } from "../linux/children.ts";

/**
 * How long starts in flight may go on once init has ended: long enough for the runtime's last steps and
 * hooks, but not the whole deadline of one that hangs. The exit waits for them.
 */
const START_PATIENCE_MS = 5000;

/** Takes an event about the task in `bundle`; returns at once. */
export type Publish = (event: TaskEvent, bundle: string) => void;

export interface ExitsOptions {
  readonly publish: Publish;
  readonly log: Logger;
}

/** Follows processes to their end. */
export class Exits {
  readonly #publish: Publish;
  readonly #log: Logger;
  /** Steps at an end that another program could not carry on. */
  #telling = 0;
  /** Ends that have been seen and not yet reported. */
  readonly #ending = new ActiveCount();

  constructor(options: ExitsOptions) {
    this.#publish = options.publish;
    this.#log = options.log;
  }

  /**
   * Follows the init of `container`. To be called once, when init exists and the event of its creation
   * has been published. Returns at once.
   */
  followInit(container: Container): void {
    this.#untilInitEnds(container).catch((error) => {
      this.#log.error("Following init failed", { id: container.id, error: messageOf(error) });
    });
  }

  /**
   * Follows an exec that has started, when its start event has been published; `active` is released
   * when its end has been recorded. Returns at once.
   */
  followExec(container: Container, exec: ExecProcess, active: Disposable): void {
    this.#untilExecEnds(container, exec, active).catch((error) => {
      this.#log.error("Following an exec failed", { id: container.id, error: messageOf(error) });
    });
  }

  /**
   * Follows again what was followed before `container` was handed over. Steps that had begun at init's end
   * are done from the beginning: each of them may be done twice.
   */
  followRestored(container: Container): void {
    for (const exec of container.execs) {
      if (exec.child === undefined || exec.isEndTold) continue;
      this.followExec(container, exec, container.continueExec());
    }
    const { init } = container;
    if (init.child !== undefined && !init.isEndTold) this.followInit(container);
  }

  /** Reports all ends that have been seen and still wait for clients to read. Resolves when that is done. */
  async hurry(containers: Iterable<Container>): Promise<void> {
    for (const container of containers) container.hurry();
    await this.#ending.idle();
  }

  /** Adds to `inventory` what is being done at an end: it cannot be handed over. */
  inspect(inventory: Inventory): void {
    if (this.#telling > 0) inventory.addObstacle("the end of a container is being told");
  }

  async #untilExecEnds(container: Container, exec: ExecProcess, active: Disposable): Promise<void> {
    using _active = active;
    const exit = await exec.child?.exited;
    if (exit === undefined) return;
    using _ending = this.#ending.enter();
    const exitMs = performance.now();
    if (exit.status === KILLED_STATUS) container.lookForOom();
    exec.recordTermination(exit);
    active[Symbol.dispose]();
    await exec.outputRead(exitMs, this.#log);
    this.#tell(container, exec, exit);
  }

  async #untilInitEnds(container: Container): Promise<void> {
    const { init } = container;
    const exit = await init.child?.exited;
    if (exit === undefined) return;
    using _ending = this.#ending.enter();
    const exitMs = performance.now();
    // Whoever deletes init no longer waits for the readers of its execs either.
    void init.hurried.then(() => container.hurry());
    const patience = setTimeout(() => container.abortStarts(), START_PATIENCE_MS);
    await init.startSettled();
    if (!init.hasOwnPidNamespace) await this.#busyWith(this.#killRest(container));
    await container.execsEnded();
    clearTimeout(patience);
    await this.#busyWith(this.#countLastOom(container));
    this.#record(container, exit);
    const thawed = this.#busyWith(init.recordTermination(exit));
    await init.outputRead(exitMs, this.#log);
    await container.execsTold();
    this.#tell(container, init, exit);
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

  async #countLastOom(container: Container): Promise<void> {
    try {
      await container.lookForLastOom();
    } catch (error) {
      // The exit is true all the same.
      const details = { id: container.id, error: messageOf(error) };
      this.#log.warn("Cannot tell whether memory ran out", details);
    }
  }

  async #killRest(container: Container): Promise<void> {
    try {
      await container.init.killRest();
    } catch (error) {
      // Often nothing is left to kill; what we know of is killed all the same.
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

  /** In one turn: what continues when the end is announced finds the event published. */
  #tell(container: Container, process: TaskProcess, exit: Exit): void {
    process.announceTermination();
    this.#publish(
      taskExit({
        containerId: container.id,
        id: process.id,
        pid: exit.pid,
        exitStatus: exit.status,
        exitedAt: toTimestamp(exit.atMs),
      }),
      container.bundle.path,
    );
  }
}
