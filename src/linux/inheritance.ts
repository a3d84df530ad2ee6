/**
 * What a shim changes about itself and its children must not inherit: its OOM score, and that it does
 * without transparent huge pages. Runtimes, loggers and containers are to have both as the manager has
 * them.
 */

import { disablesHugePages, setHugePagesDisabled } from "./huge-pages.ts";
import { lendOomScore } from "./oom-score.ts";

/** What children are to have. Undefined leaves it as it is. */
export interface Inheritance {
  readonly oomScore: number | undefined;
  readonly hasHugePages: boolean | undefined;
}

/** For a process that has changed nothing about itself. */
export const plainInheritance: Inheritance = { oomScore: undefined, hasHugePages: undefined };

/**
 * Gives this process the attributes that its children are to have, until the result is disposed.
 *
 * A child takes the score from its parent when it is born, and the huge pages setting from the memory that
 * it shares with its parent until it executes its program; posix_spawn(3) returns after both. So a spawn
 * between the two calls gets them, without a race. What the kernel refuses stays as it is.
 */
export function lendInheritance({ oomScore, hasHugePages }: Inheritance): Disposable {
  using lent = new DisposableStack();
  if (oomScore !== undefined) lent.use(lendOomScore(oomScore));
  if (hasHugePages === true && disablesHugePages()) {
    setHugePagesDisabled(false);
    lent.defer(() => setHugePagesDisabled(true));
  }
  return lent.move();
}
