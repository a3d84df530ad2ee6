/** A trace from its records to lines, a timeline and a picture. */

import { describe, expect, test } from "bun:test";
import { plainStyle } from "../../../src/debug/output/style.ts";
import { formatStep } from "../../../src/debug/trace/lines.ts";
import { arrange, toPerfetto } from "../../../src/debug/trace/perfetto.ts";
import { toSvg } from "../../../src/debug/trace/picture.ts";
import { type Reader, Story } from "../../../src/debug/trace/story.ts";
import { TaskExit, TaskStart } from "../../../src/gen/containerd/events/task.ts";
import type { TraceRecord } from "../../../src/gen/wedge/trace/v1/trace.ts";

const NONE = new Uint8Array(0);
const reader: Reader = {
  request: (_service, method) => ({ asked: method }),
  response: (_service, method) => ({ answered: method }),
  event: () => ({ containerId: "c" }),
};
const task = "containerd.task.v3.Task";

function call(key: bigint, method: string, atUs: bigint): TraceRecord {
  const began = { key, service: task, method, peerPid: 9, request: NONE, requestLength: 0 };
  return { atUs, callBegan: began };
}

function answer(key: bigint, atUs: bigint, code = 0, message = ""): TraceRecord {
  return { atUs, callEnded: { key, code, message, response: NONE, responseLength: 0 } };
}

function event(topic: string, value: Uint8Array, atUs: bigint): TraceRecord {
  return { atUs, event: { topic, event: { typeUrl: "x", value } } };
}

const started = TaskStart.encode({ containerId: "c", pid: 42 }).finish();
const exited = TaskExit.encode({
  ...TaskExit.decode(NONE),
  containerId: "c",
  id: "c",
  pid: 42,
  exitStatus: 3,
}).finish();

const records: readonly TraceRecord[] = [
  { atUs: 0n, watching: { shimPid: 5, namespace: "ns" } },
  call(1n, "Start", 1000n),
  { atUs: 1500n, runtimeBegan: { pid: 77, verb: "start", id: "c" } },
  call(2n, "State", 2000n),
  answer(2n, 2100n),
  { atUs: 9000n, runtimeEnded: { pid: 77, exitStatus: 0, error: "" } },
  event("/tasks/start", started, 9100n),
  answer(1n, 9500n),
  { atUs: 9600n, lost: 3n },
  call(3n, "Kill", 10_000n),
  answer(3n, 10_500n, 5, "process already finished"),
  event("/tasks/exit", exited, 2_000_000n),
];

function told(): { story: Story; lines: string } {
  const story = new Story(reader);
  const lines = records
    .map((record) => story.take(record))
    .map((step) => (step === undefined ? "" : formatStep(step, plainStyle)))
    .join("");
  return { story, lines };
}

describe("a trace", () => {
  test("is a line for each thing that begins, ends or happens", () => {
    const withoutTimes = told().lines.replace(/^\d\d:\d\d:\d\d\.\d{6}/gm, "TIME");
    expect(withoutTimes).toBe(`watching shim 5, namespace ns
TIME  > Start {"asked":"Start"} from 9
TIME  + runtime start (pid 77)
TIME  > State {"asked":"State"} from 9
TIME  < State 0.10 ms {"answered":"State"}
TIME  - runtime start (pid 77) 7.50 ms exit 0
TIME  * /tasks/start {"containerId":"c"}
TIME  < Start 8.50 ms {"answered":"Start"}
3 records were lost here: they came faster than they were read
TIME  > Kill {"asked":"Kill"} from 9
TIME  < Kill 0.50 ms process already finished
TIME  * /tasks/exit {"containerId":"c"}
`);
  });

  test("an end whose beginning was not seen is passed over", () => {
    const story = new Story(reader);
    expect(story.take(answer(7n, 1n))).toBeUndefined();
    expect(story.spans).toEqual([]);
  });

  test("knows the life of the container's process by its events", () => {
    const life = told().story.spans.find(({ kind }) => kind === "process");
    expect(life).toMatchObject({ name: "c", startUs: 9100, endUs: 2_000_000, outcome: "exit 3" });
  });

  test("gives calls that overlap lanes of their own", () => {
    const lanes = arrange(told().story.spans, 3_000_000).map(
      ({ span, lane }) => `${span.name}: ${lane}`,
    );
    expect(lanes).toEqual([
      "Start: shim",
      "runtime start: runtime start 77",
      "State: shim 2",
      "c: process 42",
      "Kill: shim",
    ]);
  });

  test("is a timeline with a named lane for every span and moment", () => {
    const document: { traceEvents: { ph: string; tid: number; name: string; dur?: number }[] } =
      JSON.parse(JSON.stringify(toPerfetto(told().story, 3_000_000)));
    const lanes = document.traceEvents.filter(({ ph }) => ph === "M").map(({ tid }) => tid);
    const others = document.traceEvents.filter(({ ph }) => ph !== "M");
    expect(others.map(({ tid }) => lanes.includes(tid))).not.toContain(false);
    expect(others.find(({ name }) => name === "runtime start")).toMatchObject({
      ph: "X",
      dur: 7500,
    });
    expect(others.filter(({ ph }) => ph === "i").map(({ name }) => name)).toEqual([
      "/tasks/start",
      "/tasks/exit",
    ]);
  });

  test("is a picture with a bar for each span, and its words are escaped", () => {
    const svg = toSvg(told().story, "a <b> & c", 3_000_000);
    expect(svg).toStartWith("<svg ");
    expect(svg).toContain("a &lt;b> &amp; c");
    expect(svg.match(/<rect x=/g)).toHaveLength(5);
    expect(svg.match(/<circle/g)).toHaveLength(2);
    expect(svg).not.toContain("NaN");
  });

  test("of nothing is an empty picture", () => {
    expect(toSvg(new Story(reader), "t", 1)).not.toContain("NaN");
  });
});
