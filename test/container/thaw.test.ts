import { expect, test } from "bun:test";
import { silentLogger } from "../../src/base/log.ts";
import { thaw } from "../../src/container/thaw.ts";
import { type FailureKind, RuntimeError } from "../../src/runtime/error.ts";
import type { Runtime } from "../../src/runtime/runtime.ts";

test.each<[kind: FailureKind, warnings: readonly string[]]>([
  ["containerNotFound", []],
  ["notPaused", []],
  ["canceled", ["Cannot thaw a container"]],
  ["other", ["Cannot thaw a container"]],
])(
  "a thaw that fails as %s is warned of where something may be frozen still",
  async (kind, expected) => {
    const failure = new RuntimeError({ verb: "resume", kind, runtimeMessage: "words" });
    const runtime: Pick<Runtime, "resume"> = { resume: () => Promise.reject(failure) };
    const warnings: string[] = [];
    const log = { ...silentLogger, warn: (message: string) => void warnings.push(message) };
    await thaw(runtime, "c", { log });
    expect(warnings).toEqual([...expected]);
  },
);
