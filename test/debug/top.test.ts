import { describe, expect, test } from "bun:test";
import { plainStyle } from "../../src/debug/output/style.ts";
import { formatTop } from "../../src/debug/top-loop.ts";
import { type Look, type Looked, usageBetween } from "../../src/debug/top-rates.ts";

function lookedAt(
  id: string,
  given: { cpuMs?: number; readBytes?: number; shimPid?: number },
): Looked {
  return {
    namespace: "default",
    id,
    status: "running",
    shimPid: given.shimPid ?? 100,
    shimCpuMs: 50,
    shimPssBytes: 3_145_728,
    figures: {
      cpuMs: given.cpuMs ?? 0,
      throttledMs: 0,
      memoryBytes: 5_242_880,
      workingSetBytes: 1_048_576,
      memoryLimitBytes: undefined,
      oomKills: 0,
      pids: 2,
      pidsLimit: undefined,
      readBytes: given.readBytes ?? 0,
      writtenBytes: 0,
    },
  };
}

describe("usageBetween()", () => {
  const before: Look = {
    atMs: 1000,
    rows: [
      lookedAt("idle", {}),
      lookedAt("busy", { cpuMs: 100 }),
      lookedAt("moved", { cpuMs: 900 }),
    ],
  };
  const after: Look = {
    atMs: 3000,
    rows: [
      lookedAt("idle", { readBytes: 4096 }),
      lookedAt("busy", { cpuMs: 3100 }),
      lookedAt("moved", { cpuMs: 5, shimPid: 200 }),
    ],
  };

  test("is per second and per core, the greediest first; what is new has no rates", () => {
    const usage = usageBetween(before, after, "cpu");
    expect(usage.map(({ id, cpu, readRate }) => [id, cpu, readRate])).toEqual([
      ["busy", 1.5, 0],
      ["idle", 0, 2048],
      ["moved", undefined, undefined],
    ]);
    expect(usageBetween(before, after, "io")[0]?.id).toBe("idle");
  });

  test("is shown as a table", () => {
    const text = formatTop(usageBetween(before, after, "cpu"), {
      style: plainStyle,
      width: undefined,
    });
    expect(text).toMatchInlineSnapshot(`
      "NAMESPACE  ID     STATUS    CPU   MEMORY  PIDS   READ/S  WRITE/S  SHIM   CPU   MEMORY
      default    busy   running  150%  1.0 MiB     2      0 B      0 B   100  0.0%  3.0 MiB
      default    idle   running  0.0%  1.0 MiB     2  2.0 KiB      0 B   100  0.0%  3.0 MiB
      default    moved  running     -  1.0 MiB     2        -        -   200     -  3.0 MiB
      "
    `);
  });
});
