import { afterAll, describe, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { checkCgroups } from "../../src/debug/doctor/cgroups.ts";
import { broken, note, ok } from "../../src/debug/doctor/finding.ts";
import { checkKernel } from "../../src/debug/doctor/kernel.ts";
import {
  checkLostBundles,
  checkMounts,
  checkSocketLength,
} from "../../src/debug/doctor/leftovers.ts";
import { judgeManager, judgeRuntime } from "../../src/debug/doctor/programs.ts";
import { plainStyle } from "../../src/debug/output/style.ts";
import { formatFindings } from "../../src/debug/verb/doctor.ts";
import { bundleOf, processOf, shimOf } from "./host.ts";

const folder = mkdtempSync(join(tmpdir(), "wedge-doctor-"));
afterAll(() => rmSync(folder, { recursive: true }));

function cgroupFixture(name: string, folders: readonly string[], controllers?: string): string {
  const root = join(folder, name);
  for (const each of ["", ...folders]) mkdirSync(join(root, each), { recursive: true });
  if (controllers !== undefined)
    writeFileSync(join(root, "cgroup.controllers"), `${controllers}\n`);
  return root;
}

test("the kernel that the tests run on is good enough for wedge", () => {
  expect(checkKernel().filter(({ level }) => level === "broken")).toEqual([]);
});

describe("checkCgroups()", () => {
  const v1 = ["cpu", "memory", "pids", "blkio", "freezer", "devices"];
  test.each([
    ["v2", [], "cpuset cpu io memory pids", [/v2$/, /cpu, memory, pids, io/], ["ok", "ok"]],
    ["v2 without io", [], "cpu memory pids", [/v2$/, /io are missing/], ["ok", "broken"]],
    ["v1", v1, undefined, [/v1$/, /devices/], ["ok", "ok"]],
    ["hybrid", [...v1, "unified"], undefined, [/hybrid/, /devices/], ["note", "ok"]],
    ["none", [], undefined, [/no cgroup file system/], ["broken"]],
  ] as const)("%s", (name, folders, controllers, messages, levels) => {
    const findings = checkCgroups(cgroupFixture(name, folders, controllers));
    expect(findings.map(({ level }) => level)).toEqual([...levels]);
    for (const [index, message] of messages.entries()) {
      expect(findings[index]?.message).toMatch(message);
    }
  });
});

describe("programs", () => {
  test.each([
    ["runc", "1.1.5+ds1", "ok"],
    ["runc", "1.0.0-rc93", "ok"],
    ["runc", "0.1.1", "broken"],
    ["crun", "1.4.9", "broken"],
    ["crun", "1.12", "ok"],
    ["youki", "0.0.1", "ok"],
    ["runc", undefined, "broken"],
  ] as const)("%s %s is %s", (name, version, level) => {
    expect(judgeRuntime(name, `/usr/bin/${name}`, version).level).toBe(level);
  });

  test.each([
    ["1.5.9", "broken", /older/],
    ["1.6.20~ds1", "ok", /plain address, task API 2/],
    ["1.7.24", "ok", /JSON, task API 2/],
    ["2.1.9", "ok", /JSON, task API 3/],
    ["2.3.0", "ok", /protobuf/],
    ["3.0.0", "ok", /protobuf/],
    [undefined, "note", /does not tell/],
  ] as const)("containerd %s is %s", (version, level, message) => {
    const finding = judgeManager(7, version);
    expect(finding.level).toBe(level);
    expect(finding.message).toMatch(message);
  });
});

describe("leftovers", () => {
  test("a shim without a bundle is one after a minute", () => {
    const lost = shimOf({ bundles: [], process: processOf({ startedAtMs: 0 }) });
    expect(checkLostBundles([lost, shimOf()], 30_000).level).toBe("ok");
    const finding = checkLostBundles([lost, shimOf()], 90_000);
    expect(finding.level).toBe("broken");
    expect(finding.message).toContain("default/web (process 100)");
  });

  test("a mount is one when no shim serves its bundle", () => {
    const { path } = bundleOf();
    const mounts = [{ mountPoint: `${path}/rootfs` }, { mountPoint: "/var/lib" }];
    expect(checkMounts(mounts, [shimOf()]).level).toBe("ok");
    expect(checkMounts(mounts, [])).toMatchObject({ level: "broken" });
  });

  test("a socket's path has its limit", () => {
    const at = (folderLength: number) =>
      checkSocketLength([{ id: "a", socket: `${"/".padEnd(folderLength, "x")}/abc` }]).level;
    expect([at(42), at(43)]).toEqual(["ok", "broken"]);
  });
});

test("findings are shown with their advice below them", () => {
  const findings = [
    ok("a", "all is well"),
    note("b", "know this", "do that"),
    broken("c", "bad", "mend it"),
  ];
  expect(formatFindings(findings, plainStyle)).toBe(
    [
      "ok      all is well",
      "note    know this",
      "        → do that",
      "broken  bad",
      "        → mend it",
      "",
    ].join("\n"),
  );
});
