/** The targets by name. */

import { frameTarget } from "./target/frame.ts";
import { handoffTarget } from "./target/handoff.ts";
import { deadlinesTarget, journalTarget, logRecordTarget } from "./target/record.ts";
import { requestTarget } from "./target/request.ts";
import { serverTarget } from "./target/server.ts";
import { optionsTarget, startTarget } from "./target/start.ts";
import {
  flagsTarget,
  mountInfoTarget,
  mountTarget,
  runtimeLogTarget,
  specTarget,
  uriTarget,
} from "./target/text.ts";
import type { FuzzTarget } from "./target.ts";

const all: readonly FuzzTarget[] = [
  frameTarget,
  serverTarget,
  requestTarget,
  handoffTarget,
  startTarget,
  optionsTarget,
  specTarget,
  mountTarget,
  mountInfoTarget,
  uriTarget,
  flagsTarget,
  runtimeLogTarget,
  journalTarget,
  deadlinesTarget,
  logRecordTarget,
];

export const fuzzTargets: ReadonlyMap<string, FuzzTarget> = new Map(
  all.map((target) => [target.name, target]),
);
