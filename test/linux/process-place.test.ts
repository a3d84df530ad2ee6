/** The place of a process: its OOM score, and its cgroup. */

import { describe, expect, test } from "bun:test";
import { readFileSync, writeFileSync } from "node:fs";
import { joinCgroup } from "../../src/linux/cgroup-join.ts";
import { followOomScore } from "../../src/linux/oom-score.ts";

function startSleeper(): Disposable & { readonly pid: number } {
  const child = Bun.spawn(["sleep", "300"], { stdio: ["ignore", "ignore", "ignore"] });
  return { pid: child.pid, [Symbol.dispose]: () => child.kill("SIGKILL") };
}

function scoreOf(pid: number): number {
  return Number(readFileSync(`/proc/${pid}/oom_score_adj`, "utf8"));
}

describe("followOomScore()", () => {
  test.each([
    [100, 101],
    [999, 1000],
    [1000, 1000],
  ])("a parent at %d leads to %d", (parentScore, wanted) => {
    using parent = startSleeper();
    using child = startSleeper();
    writeFileSync(`/proc/${parent.pid}/oom_score_adj`, String(parentScore));
    expect(followOomScore(child.pid, parent.pid)).toBe(true);
    expect(scoreOf(child.pid)).toBe(wanted);
  });

  test("a score that may not be lowered stays, and that is no error", () => {
    using parent = startSleeper();
    using child = startSleeper();
    writeFileSync(`/proc/${child.pid}/oom_score_adj`, "900");
    const before = scoreOf(parent.pid);
    const isLowered = followOomScore(child.pid, parent.pid);
    expect(scoreOf(child.pid)).toBe(isLowered ? before + 1 : 900);
  });

  test("a process that is gone is an error", () => {
    expect(() => followOomScore(2 ** 22 + 1, process.pid)).toThrow("ENOENT");
  });
});

describe("joinCgroup()", () => {
  test.each([
    ["/wedge-no-such-cgroup", "Cannot join cgroup /wedge-no-such-cgroup: there is no such cgroup"],
    ["/../../etc", "Cannot join cgroup /../../etc: it leads upwards"],
  ])("%s is refused", (path, text) => {
    expect(() => joinCgroup(path, process.pid)).toThrow(text);
  });
});
