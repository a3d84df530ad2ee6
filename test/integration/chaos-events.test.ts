/** How `npm run chaos` judges what `ctr events` has printed. */

import { describe, expect, test } from "bun:test";
import {
  type Expectation,
  judgeEvents,
  parseEvents,
  type SeenEvent,
} from "../../scripts/chaos/event-order.ts";

const STARTED: Expectation = {
  id: "c",
  wasStarted: true,
  exitCode: 3,
  execCodes: new Map([["e0", 7]]),
  kills: 0,
};

/** `create start exit:3 exec-added/e0 exit:7/e0`: topic, status, exec. */
function events(text: string): SeenEvent[] {
  return text.split(" ").map((word) => {
    const [, topic = "", status = "0", execId = ""] = /^([a-z-]+):?(\d*)\/?(.*)$/.exec(word) ?? [];
    return { topic, containerId: "c", execId, exitStatus: Number(status), atMs: 0 };
  });
}

const WHOLE = "create start exec-added/e0 exec-started/e0 exit:7/e0 exit:3 delete:3";

test("lines of ctr events are read, and what is no event of a task is left out", () => {
  const atMs = Date.UTC(2026, 0, 1);
  const laterMs = Date.UTC(2026, 2, 1) + 250;
  const output = [
    '2026-01-01 00:00:00 +0000 UTC ns /images/update {"name":"c"}',
    '2026-01-01 00:00:00 +0000 UTC ns /tasks/exec-started {"container_id":"c","exec_id":"e0","pid":7}',
    '2026-01-01 00:00:00 +0000 UTC ns /tasks/exit {"container_id":"c","id":"e0","pid":7,"exit_status":9,"exited_at":"x"}',
    '2026-03-01 00:00:00.25 +0000 UTC ns /tasks/exit {"container_id":"c","id":"c","pid":6,"exited_at":"x"}',
    '2026-01-01 00:00:00 +0000 UTC ns /tasks/delete {"container_id":"c","pid":',
  ].join("\n");
  expect(parseEvents(output)).toEqual([
    { topic: "exec-started", containerId: "c", execId: "e0", exitStatus: 0, atMs },
    { topic: "exit", containerId: "c", execId: "e0", exitStatus: 9, atMs },
    { topic: "exit", containerId: "c", execId: "", exitStatus: 0, atMs: laterMs },
  ]);
});

describe("a life is as it has to be", () => {
  test.each([
    [WHOLE, 0],
    ["create start exec-added/e0 exec-started/e0 exit:137/e0 exit:3 delete:3", 0],
    ["create start exec-added/e0 exit:3 delete:3", 0],
    // Told once more after the restart, and what was taken before the kill told to nobody.
    ["create start start exit:3 delete:3", 1],
    ["create delete:3", 1],
    ["exit:3 delete:3", 1],
    ["create exit:3", 2],
  ])("%s, containerd killed %d times", (text, kills) => {
    expect(judgeEvents(events(text), { ...STARTED, kills })).toEqual([]);
  });

  test("one that never began may be told of or not", () => {
    const refused = { ...STARTED, wasStarted: false };
    for (const text of ["oom", "create exit:137 delete:137"]) {
      expect(judgeEvents(events(text), refused)).toEqual([]);
    }
  });
});

describe("found are", () => {
  test.each([
    ["an exit twice", "create start exit:3 exit:3 delete:3", 0, "exit is told 2 times"],
    ["more than a kill explains", "create start exit:3 exit:3 exit:3 delete:3", 1, "told 3 times"],
    ["a lost exit", "create start delete:3", 0, "exit is not told"],
    ["a lost end", "create start", 0, "exit, delete is not told"],
    ["more gaps than kills", "start delete:3", 1, "create, exit is not told"],
    ["a lost exit of an exec", WHOLE.replace(" exit:7/e0", ""), 0, "exit e0 is not told"],
    ["an exit before the start", "create exit:3 start delete:3", 0, "exit comes before start"],
    ["a late exec", "create start exec-started/e0 exit:3 exit:7/e0 delete:3", 1, "after that of"],
    ["a wrong status", "create start exit:137 delete:3", 0, "exit tells 137 instead of 3"],
    ["a wrong status of an exec", WHOLE.replace("exit:7", "exit:8"), 0, "tells 8 instead of 7"],
  ])("%s", (_what, text, kills, words) => {
    expect(judgeEvents(events(text), { ...STARTED, kills }).join("\n")).toContain(words);
  });
});
