/**
 * A shim's whole life with its program exchanged at every await point at which it may be.
 *
 * Nothing stands between the test and what is shipped: it is a real shim over a real runtime, whose mover
 * alone is another one (`eager-mover.ts`), and every exchange is a real execve(2), so what a program forgets
 * is gone. After each callback of the event loop that mover takes a snapshot between any two rounds of
 * continuations: where it has an obstacle the snapshot is refused and counted, where it has none the program
 * may be left, and some life leaves it there. Lives differ in how many quiet points each program passes by,
 * so that together they leave at the first, the second, the third point after everything that happens, while
 * calls are held back or not, and by way of the sleeper; none may come out otherwise than without.
 */

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { buildExecutable } from "../compiled.ts";
import { type EagerPlan, PLAN_VARIABLE, type PointRecord } from "../handoff/eager-plan.ts";
import { buildVariant } from "../soak/variant.ts";
import { LiveShim } from "./live-shim.ts";
import { liveWhole } from "./whole-life.ts";

const TIMEOUT_MS = 240_000;
/** Lives at a time: most of one is waiting for the runtime. */
const SIDE_BY_SIDE = 3;
const LIFE_LIMIT_MS = 60_000;
/** Of some fifty steps: in others nothing is left to be done, or the next has begun when it is done. */
const STEPS_MIN = 25;
/** Different instants at which a program was left. */
const POINTS_MIN = 200;
const hasCompiler = Bun.which("cc") !== null;

type Plan = Pick<EagerPlan, "mode" | "after" | "skip">;

const PLANS: readonly Plan[] = [
  ...plansOf("free", "anything", [0, 1, 3, { seed: 1 }]),
  ...plansOf("free", "descriptor", [0, 1, 2]),
  ...plansOf("held", "anything", [0, 2, { seed: 2 }]),
  ...plansOf("sleep", "anything", [0, 2, { seed: 3 }]),
  ...plansOf("sleep", "descriptor", [0, 1, 2]),
];

function plansOf(mode: Plan["mode"], after: Plan["after"], skips: readonly Plan["skip"][]) {
  return skips.map((skip): Plan => ({ mode, after, skip }));
}

/** What stands against an exchange at some point of this life. */
const OBSTACLES: readonly string[] = [
  "a call is at work",
  "a process is being changed",
  "a process is being created",
  "a process is being paused",
  "a process is being started",
  "an event is being sent",
  "an orphan is expected",
  "containerd.task.v3.Task/Create is at work",
  "containerd.task.v3.Task/Delete is at work",
  "containerd.task.v3.Task/Pause is at work",
  "containerd.task.v3.Task/Start is at work",
  "containerd.task.v3.Task/Update is at work",
  "descriptor N is waited for",
  "process N is waited for",
  "streams are being opened",
];

const directory = mkdtempSync(join(tmpdir(), "wedge-await-"));
let executable = "";
let plain: readonly unknown[] = [];

beforeAll(async () => {
  await buildExecutable();
  executable = buildVariant(join(directory, "eager"), {
    file: "src/command/serve/open-mover.ts",
    from: "return new Mover({",
    to: "return new EagerMover({",
    head: 'import { EagerMover } from "../../../test/handoff/eager-mover.ts";\n',
    additions: ["test/handoff/eager-mover.ts", "test/handoff/eager-plan.ts"],
  });
  await using shim = await LiveShim.start();
  plain = await liveWhole(shim);
}, TIMEOUT_MS);

afterAll(() => rmSync(directory, { recursive: true, force: true }));

interface Life {
  readonly plan: string;
  /** By clients and the manager. */
  readonly seen: readonly unknown[];
  /** What the shim has told of its await points. */
  readonly records: readonly PointRecord[];
}

/** Lives by `plan`, with files in `place`. What makes it fail is what is seen of it. */
async function liveBy(plan: Plan, place: string): Promise<Life> {
  mkdirSync(place);
  const whole: EagerPlan = { ...plan, directory: place, exchanges: 0, alone: 0 };
  let step = "begin";
  const onStep = (name: string) => {
    step = name;
    writeFileSync(join(place, "step"), name);
  };
  onStep(step);
  const isManagerAway = typeof plan.skip !== "number";
  await using shim = await LiveShim.start({
    executable,
    // The usual mover does nothing by itself.
    env: {
      [PLAN_VARIABLE]: JSON.stringify(whole),
      WEDGE_SLEEP_AFTER_SECONDS: "0",
      WEDGE_MEMORY_CEILING_MB: "0",
    },
  });
  const late = Promise.withResolvers<readonly unknown[]>();
  const timer = setTimeout(() => late.resolve([`no end of: ${step}`]), LIFE_LIMIT_MS);
  const lived = liveWhole(shim, { onStep, isManagerAway }).catch((error) => [String(error)]);
  const seen = await Promise.race([lived, late.promise]);
  clearTimeout(timer);
  const lines = readFileSync(join(place, "points"), "utf8").trimEnd().split("\n");
  const records = lines.map((line): PointRecord => JSON.parse(line));
  return { plan: JSON.stringify(plan), seen, records };
}

/** Lives all plans, some at a time. */
async function liveAll(): Promise<readonly Life[]> {
  const plans = PLANS.filter(({ mode }) => mode !== "sleep" || hasCompiler);
  const waiting = [...plans.entries()];
  const lives: Life[] = [];
  const place = async () => {
    for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
      const [at, plan] = next;
      lives.push(await liveBy(plan, join(directory, String(at))));
    }
  };
  await Promise.all(Array.from({ length: SIDE_BY_SIDE }, place));
  return lives;
}

describe("a life that is handed over at its await points", () => {
  test(
    "is the same as one that is not",
    async () => {
      const lives = await liveAll();
      for (const { plan, seen, records } of lives) {
        expect([plan, ...seen]).toEqual([plan, ...plain]);
        expect([plan, ...records.flatMap(({ failure }) => failure ?? [])]).toEqual([plan]);
      }
      const records = lives.flatMap((life) => life.records);
      const refused = new Set(records.flatMap((record) => Object.keys(record.refused)));
      expect(OBSTACLES.filter((obstacle) => !refused.has(obstacle))).toEqual([]);
      // And each goes away: programs were left all along, at many points of many steps.
      const steps = new Set(records.map(({ step }) => step));
      const points = new Set(records.map(({ step, turn, round }) => `${step} ${turn} ${round}`));
      expect(steps.size).toBeGreaterThan(STEPS_MIN);
      expect(points.size).toBeGreaterThan(POINTS_MIN);
    },
    TIMEOUT_MS,
  );
});
