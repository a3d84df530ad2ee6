/** Small files of which none need be there: the kernel's, a bundle's, another program's. */

import { readFileSync } from "node:fs";

/** The text of the file; undefined when it cannot be read: it, or what it tells of, is gone, or another user's. */
export function readText(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return undefined;
  }
}
