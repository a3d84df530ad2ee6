/** The OCI process of an exec: that of the container's own init, with another command. Pure but for reading. */

import { messageOf } from "../base/error.ts";
import { parseExactly } from "../base/exact-json.ts";
import { member } from "../base/json.ts";
import { readText } from "../linux/text-file.ts";
import type { Target } from "./host/target.ts";
import { EXIT_FAILURE, Refusal, usageError } from "./refusal.ts";

/** What may differ from init. */
export interface ExecRequest {
  readonly args: readonly string[];
  readonly isTerminal: boolean;
  /** `NAME=value`; replace those of the same name. */
  readonly env: readonly string[];
  /** Undefined for init's. */
  readonly cwd: string | undefined;
  /** "UID[:GID]"; undefined for init's. */
  readonly user: string | undefined;
}

/** The JSON of the process. Throws a Refusal when the bundle cannot be read. */
export function execProcess({ shim, bundle, id }: Target, request: ExecRequest): string {
  const path = bundle === undefined ? undefined : `${shim.root}${bundle.path}/config.json`;
  const text = path === undefined ? undefined : readText(path);
  if (text === undefined) {
    throw new Refusal(
      EXIT_FAILURE,
      `Cannot exec in ${id}: its config.json cannot be read${path === undefined ? "" : ` at ${path}`}, so its user and limits are not known`,
    );
  }
  return JSON.stringify(deriveProcess(parseProcess(text), request));
}

type ProcessDocument = Readonly<Record<string, unknown>>;

/** Everything that the request does not name stays init's: capabilities, limits, labels. */
export function deriveProcess(own: ProcessDocument, request: ExecRequest): ProcessDocument {
  const { args, isTerminal, cwd, user } = request;
  // The size of init's terminal is not ours.
  const { consoleSize: _, ...rest } = own;
  return {
    ...rest,
    args,
    terminal: isTerminal,
    env: mergeEnv(toStrings(own["env"]), request.env),
    ...(cwd === undefined ? {} : { cwd }),
    ...(user === undefined ? {} : { user: parseUser(user) }),
  };
}

function parseProcess(text: string): ProcessDocument {
  try {
    return { ...Object(member(parseExactly(text), "process")) };
  } catch (cause) {
    throw new Refusal(EXIT_FAILURE, `Cannot read config.json: ${messageOf(cause)}`, { cause });
  }
}

function mergeEnv(own: readonly string[], added: readonly string[]): readonly string[] {
  const nameOf = (entry: string) => entry.split("=", 1)[0] ?? "";
  const replaced = new Set(added.map(nameOf));
  return [...own.filter((entry) => !replaced.has(nameOf(entry))), ...added];
}

function parseUser(text: string): { readonly uid: number; readonly gid: number } {
  const [, uid = "", gid = "0"] = /^(\d+)(?::(\d+))?$/.exec(text) ?? [];
  if (uid !== "") return { uid: Number(uid), gid: Number(gid) };
  throw usageError(`No such user: ${text}; give --user as UID or UID:GID`);
}

function toStrings(value: unknown): readonly string[] {
  return Array.isArray(value) ? value.filter((entry) => typeof entry === "string") : [];
}
