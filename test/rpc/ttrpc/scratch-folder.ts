/** A folder for one test, gone afterwards. */

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

export class ScratchFolder implements Disposable {
  readonly path = mkdtempSync(join(tmpdir(), "wedge-rpc-"));

  /** The path of a socket in the folder. */
  socket(name = "s"): string {
    return join(this.path, name);
  }

  [Symbol.dispose](): void {
    rmSync(this.path, { recursive: true, force: true });
  }
}
