/** A runtime that hangs in any verb of any container when told to, and is real runc otherwise. */

import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";

/**
 * Any verb and any id among the arguments; the process that hangs says its number. With `after-` before
 * the verb it hangs when its work is done.
 */
const WRAPPER = `#!/bin/sh
late=
for verb in "$@"; do
  for id in "$@"; do
    if [ -e "DIRECTORY/hang-$verb-$id" ]; then
      echo $$ > "DIRECTORY/hung-$verb-$id"
      while [ -e "DIRECTORY/hang-$verb-$id" ]; do sleep 0.02; done
    fi
    [ ! -e "DIRECTORY/hang-after-$verb-$id" ] || late="after-$verb-$id"
  done
done
[ -n "$late" ] || exec runc "$@"
runc "$@"
status=$?
echo $$ > "DIRECTORY/hung-$late"
while [ -e "DIRECTORY/hang-$late" ]; do sleep 0.02; done
exit $status
`;

/** Who is looked for among the arguments of the runtime. */
interface Named {
  readonly id: string;
}

export class HangingRuntime implements Disposable {
  /** The executable. */
  readonly path: string;
  readonly #directory: string;
  readonly #hung = new Set<string>();

  /** Keeps its files in `directory`, which is not removed. */
  constructor(directory: string) {
    this.#directory = directory;
    this.path = join(directory, "wrapper");
    writeFileSync(this.path, WRAPPER.replaceAll("DIRECTORY", directory), { mode: 0o755 });
  }

  /** From now on it hangs in this verb of this container. */
  hang(verb: string, named: Named): void {
    writeFileSync(this.#order(verb, named), "");
  }

  /** Resolves when one of its processes hangs there, with that process's number. */
  async hung(verb: string, named: Named): Promise<number> {
    const file = this.#report(verb, named);
    while (!existsSync(file) || readFileSync(file, "utf8") === "") await Bun.sleep(5);
    this.#hung.add(file);
    return Number(readFileSync(file, "utf8"));
  }

  /** What hangs goes on. */
  release(verb: string, named: Named): void {
    rmSync(this.#order(verb, named));
  }

  /** It works again; a process that hangs is killed. */
  heal(verb: string, named: Named): void {
    const file = this.#report(verb, named);
    killIfThere(Number(readFileSync(file, "utf8")));
    this.#hung.delete(file);
    this.release(verb, named);
  }

  [Symbol.dispose](): void {
    for (const file of this.#hung) killIfThere(Number(readFileSync(file, "utf8")));
  }

  #order(verb: string, { id }: Named): string {
    return join(this.#directory, `hang-${verb}-${id}`);
  }

  #report(verb: string, { id }: Named): string {
    return join(this.#directory, `hung-${verb}-${id}`);
  }
}

function killIfThere(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch {
    // It has ended.
  }
}
