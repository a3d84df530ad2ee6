/** What a manager asks for in the `stdout` field of the Task API: a path, or a URI whose scheme says what to do. */

import { ShimError } from "../base/error.ts";

/** Where the output of a process goes. The scheme of `stdout` decides for `stderr` too. */
export type Target =
  | { readonly kind: "path" }
  | { readonly kind: "file"; readonly path: string }
  | {
      readonly kind: "binary";
      readonly path: string;
      /** Keys and values in turn, as the logger gets them in its argv. */
      readonly args: readonly string[];
      /** Whether the logger must write a byte to be ready (binary-v2), or may just close. */
      readonly mustAnswer: boolean;
    };

/** The scheme of RFC 3986: needs its colon before any slash, so an absolute path has none. */
const SCHEME = /^([A-Za-z][A-Za-z0-9+.-]*):/;

/**
 * Reads `stdout`. A path without a scheme is taken as it is, with every character it has.
 * Throws ShimError invalidArgument: unknown scheme, no path, broken percent-encoding.
 */
export function parseTarget(stdout: string): Target {
  const scheme = SCHEME.exec(stdout)?.[1]?.toLowerCase();
  switch (scheme) {
    case undefined:
      return { kind: "path" };
    case "file":
      return { kind: "file", path: pathOf(stdout) };
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
  const query = /\?([^#]*)/.exec(uri)?.[1] ?? "";
  const values = new Map<string, string>();
  for (const [key, value] of new URLSearchParams(query)) {
    if (!values.has(key)) values.set(key, value);
  }
  return [...values].flat();
}
