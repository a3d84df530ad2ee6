/** What a manager asks for in the `stdout` field of the Task API: a path, or a URI whose scheme says what to do. */

import { ShimError } from "../base/error.ts";
import type { LogFileOptions } from "./log-file.ts";

/** Where the output of a process goes. The scheme of `stdout` decides for `stderr` too. */
export type Target =
  | { readonly kind: "path" }
  | {
      readonly kind: "file";
      readonly path: string;
      /** Undefined where the query asks for nothing: the bytes as they come, in one file. */
      readonly log: LogFileOptions | undefined;
    }
  | {
      readonly kind: "binary";
      readonly path: string;
      /** Keys and values in turn, as the logger gets them in its argv. */
      readonly args: readonly string[];
      /** Whether the logger must write a byte to be ready (binary-v2), or may just close. */
      readonly mustAnswer: boolean;
    };

const LOG_FORMATS = ["raw", "cri", "json"] as const;
const SIZE_UNITS: ReadonlyMap<string, number> = new Map([
  ["", 1],
  ["k", 1024],
  ["m", 1024 ** 2],
  ["g", 1024 ** 3],
]);
/** What a kubelet keeps. */
const MAX_FILES = 5;
const MAX_FILES_MAX = 1000;

/** The scheme of RFC 3986: needs its colon before any slash, so an absolute path has none. */
const SCHEME = /^([A-Za-z][A-Za-z0-9+.-]*):/;

/**
 * Reads `stdout`. A path without a scheme is taken literally, with every character it has.
 * Throws ShimError invalidArgument: unknown scheme, no path, broken percent-encoding.
 */
export function parseTarget(stdout: string): Target {
  const scheme = SCHEME.exec(stdout)?.[1]?.toLowerCase();
  switch (scheme) {
    case undefined:
      return { kind: "path" };
    case "file":
      return { kind: "file", path: pathOf(stdout), log: logOptionsOf(stdout) };
    case "binary":
    case "binary-v2":
      return {
        kind: "binary",
        path: pathOf(stdout),
        args: argsOf(stdout),
        mustAnswer: scheme === "binary-v2",
      };
    default:
      throw new ShimError("invalidArgument", `unknown STDIO scheme ${scheme}`);
  }
}

function pathOf(uri: string): string {
  // A host part ("file://host/path") has no meaning here and is skipped, as the stock shim does.
  const encoded = /^[^:]+:(?:\/\/[^/?#]*)?([^?#]*)/.exec(uri)?.[1] ?? "";
  let path: string;
  try {
    path = decodeURIComponent(encoded);
  } catch (cause) {
    throw new ShimError("invalidArgument", `unable to parse stdout uri: ${uri}`, { cause });
  }
  if (!path.startsWith("/")) {
    throw new ShimError("invalidArgument", `No absolute path in stdout uri: ${uri}`);
  }
  return path;
}

/** The first value of each key, in order. A key alone has the value "". */
function argsOf(uri: string): string[] {
  return [...queryOf(uri)].flat();
}

function queryOf(uri: string): ReadonlyMap<string, string> {
  const query = /\?([^#]*)/.exec(uri)?.[1] ?? "";
  const values = new Map<string, string>();
  for (const [key, value] of new URLSearchParams(query)) {
    if (!values.has(key)) values.set(key, value);
  }
  return values;
}

/** `format`, `max-size` and `max-files`; other keys are ignored, as the stock shim ignores all of them. */
function logOptionsOf(uri: string): LogFileOptions | undefined {
  const query = queryOf(uri);
  const format = query.get("format");
  const maxSize = query.get("max-size");
  const maxFiles = query.get("max-files");
  if (format === undefined && maxSize === undefined && maxFiles === undefined) return undefined;
  const refuse = (key: string, wanted: string) =>
    new ShimError(
      "invalidArgument",
      `Cannot use ${key}=${query.get(key)} of stdout uri: it takes ${wanted}`,
    );
  const form = LOG_FORMATS.find((name) => name === (format ?? "raw"));
  if (form === undefined) throw refuse("format", LOG_FORMATS.join(", "));
  const maxBytes = maxSize === undefined ? undefined : parseSize(maxSize);
  if (maxBytes === 0) throw refuse("max-size", "a number of bytes, or one with k, m or g");
  const count = maxFiles === undefined ? MAX_FILES : Number(maxFiles);
  if (!Number.isInteger(count) || count < 1 || count > MAX_FILES_MAX) {
    throw refuse("max-files", `a number from 1 to ${MAX_FILES_MAX}`);
  }
  if (maxBytes === undefined && maxFiles !== undefined) {
    throw new ShimError("invalidArgument", "Cannot use max-files of stdout uri without max-size");
  }
  return { format: form, maxBytes, maxFiles: count };
}

/** Bytes; 0 for what is not a size. */
function parseSize(text: string): number {
  const [, amount = "", unit = ""] = /^(\d+)([kmg]?)b?$/i.exec(text) ?? [];
  const size = Number(amount) * (SIZE_UNITS.get(unit.toLowerCase()) ?? 0);
  return Number.isSafeInteger(size) ? size : 0;
}
