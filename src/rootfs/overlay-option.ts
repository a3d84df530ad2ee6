/**
 * The layers in an overlay mount's data, and the ways to make them shorter. Pure.
 *
 * `lowerdir=a:b::c` names layers a and b and the data-only layer c; a colon or backslash inside a
 * path carries a backslash (the kernel's overlayfs documentation).
 */

import { posix } from "node:path";

const LOWERDIR = "lowerdir=";

/** Data of an overlay mount with its layers taken apart. */
export interface OverlayLayers {
  /** Topmost first. */
  readonly lower: readonly string[];
  /** Layers that hold only file contents that others point to. */
  readonly dataOnly: readonly string[];
  /** Every other option. */
  readonly rest: readonly string[];
}

/** Takes the last `lowerdir` apart, as the kernel does; undefined when there is none. */
export function splitLayers(data: readonly string[]): OverlayLayers | undefined {
  const option = data.findLast((each) => each.startsWith(LOWERDIR));
  if (option === undefined) return undefined;
  const lower: string[] = [];
  const dataOnly: string[] = [];
  let isDataOnly = false;
  for (const part of splitPath(option.slice(LOWERDIR.length))) {
    if (part === "") isDataOnly = true;
    else (isDataOnly ? dataOnly : lower).push(part);
  }
  return { lower, dataOnly, rest: data.filter((each) => !each.startsWith(LOWERDIR)) };
}

/** The `lowerdir` option for these layers. */
export function joinLayers(lower: readonly string[], dataOnly: readonly string[]): string {
  const escaped = (path: string) => path.replaceAll(/[\\:]/g, "\\$&");
  return LOWERDIR + [lower.map(escaped).join(":"), ...dataOnly.map(escaped)].join("::");
}

/** Splits at colons without a backslash before them, and removes the backslashes. */
function splitPath(text: string): string[] {
  const parts: string[] = [];
  let part = "";
  for (let index = 0; index < text.length; index++) {
    const character = text.charAt(index);
    if (character === "\\" && index + 1 < text.length) part += text.charAt(++index);
    else if (character === ":") {
      parts.push(part);
      part = "";
    } else part += character;
  }
  parts.push(part);
  return parts;
}

/** The deepest directory above all of `paths`; undefined when that is the root, or a path is relative. */
export function commonDirectory(paths: readonly string[]): string | undefined {
  const [first, ...others] = paths;
  if (first === undefined || !paths.every((path) => path.startsWith("/"))) return undefined;
  let directory = posix.dirname(posix.normalize(first));
  for (const other of others) {
    const path = posix.normalize(other);
    while (directory !== "/" && !path.startsWith(`${directory}/`)) {
      directory = posix.dirname(directory);
    }
  }
  return directory === "/" ? undefined : directory;
}

/** Data with the layers relative to `directory`, which the caller must be in when the kernel reads it. */
export interface CompactData {
  readonly directory: string;
  readonly data: readonly string[];
}

/** Shortens the layers' paths by the directory they share; undefined when they share none. */
export function compactLayers(layers: OverlayLayers): CompactData | undefined {
  const directory = commonDirectory([...layers.lower, ...layers.dataOnly]);
  if (directory === undefined) return undefined;
  const relative = (path: string) => posix.relative(directory, path);
  const lowerdir = joinLayers(layers.lower.map(relative), layers.dataOnly.map(relative));
  return { directory, data: [...layers.rest, lowerdir] };
}
