import { afterAll, describe, expect, test } from "bun:test";
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { writeFileAtomically } from "../../src/bundle/atomic-file.ts";
import { DELETION_FILE, forgetDeletion, saveDeletion } from "../../src/bundle/deletion-record.ts";
import { type ExitRecord, loadExitRecord, saveExitRecord } from "../../src/bundle/exit-record.ts";
import {
  defaultOptions,
  loadOptions,
  type RuncOptions,
  saveOptions,
} from "../../src/container/options.ts";
import { toRuntimeOptions } from "../../src/container/runtime-options.ts";
import { withoutDescriptors } from "../linux/no-descriptors.ts";

const root = mkdtempSync(join(tmpdir(), "wedge-"));
afterAll(() => rmSync(root, { recursive: true }));
const makeDirectory = () => mkdtempSync(join(root, "b"));

const options: RuncOptions = {
  noPivotRoot: true,
  noNewKeyring: false,
  shimCgroup: "",
  ioUid: 1000,
  ioGid: 0,
  binaryName: "crun",
  root: "/run/mine",
  systemdCgroup: true,
  criuImagePath: "",
  criuWorkPath: "/work",
};

describe("saveOptions()", () => {
  test("writes what containerd's own shim would, for the owner alone", () => {
    const bundle = makeDirectory();
    saveOptions(bundle, options);
    expect(JSON.parse(readFileSync(join(bundle, "options.json"), "utf8"))).toEqual({
      no_pivot_root: true,
      io_uid: 1000,
      binary_name: "crun",
      root: "/run/mine",
      systemd_cgroup: true,
      criu_work_path: "/work",
    });
    expect(readFileSync(join(bundle, "runtime"), "utf8")).toBe("crun");
    for (const file of ["options.json", "runtime"]) {
      expect(statSync(join(bundle, file)).mode & 0o777).toBe(0o600);
    }
    expect(readdirSync(bundle)).toHaveLength(2);
  });

  test("has each option by the name that containerd's own shim has for it", () => {
    const bundle = makeDirectory();
    const given = { noNewKeyring: true, shimCgroup: "/s", ioGid: 5, criuImagePath: "/image" };
    saveOptions(bundle, { ...options, ...given });
    const document: unknown = JSON.parse(readFileSync(join(bundle, "options.json"), "utf8"));
    expect(Object.keys(document ?? {}).sort()).toEqual([
      ...["binary_name", "criu_image_path", "criu_work_path", "io_gid", "io_uid"],
      ...["no_new_keyring", "no_pivot_root", "root", "shim_cgroup", "systemd_cgroup"],
    ]);
  });

  test.each([[options], [defaultOptions]])("is undone by loadOptions() (%#)", (saved) => {
    const bundle = makeDirectory();
    saveOptions(bundle, saved);
    expect(loadOptions(bundle)).toEqual(saved);
  });
});

describe("loadOptions()", () => {
  test("a bundle without files has the defaults", () => {
    expect(loadOptions(makeDirectory())).toEqual(defaultOptions);
  });

  test("the runtime file alone names the runtime", () => {
    const bundle = makeDirectory();
    writeFileSync(join(bundle, "runtime"), "crun\n");
    expect(loadOptions(bundle)).toEqual({ ...defaultOptions, binaryName: "crun" });
  });

  test("fields of an older shim are passed over", () => {
    const bundle = makeDirectory();
    writeFileSync(join(bundle, "options.json"), '{"criu_path":"/criu","root":"/r","io_uid":"x"}');
    expect(loadOptions(bundle)).toEqual({ ...defaultOptions, root: "/r" });
  });

  test.each(["{", "null", "5"])("options.json with %s is refused by path", (text) => {
    const bundle = makeDirectory();
    writeFileSync(join(bundle, "options.json"), text);
    expect(() => loadOptions(bundle)).toThrow(`Cannot parse ${bundle}/options.json: `);
  });
});

describe("toRuntimeOptions()", () => {
  const place = { namespace: "k8s.io", bundle: "/b", environment: ["A=b"] };
  test("runc and its usual root are the defaults", () => {
    expect(toRuntimeOptions(defaultOptions, place)).toEqual({
      command: "runc",
      root: "/run/containerd/runc/k8s.io",
      systemdCgroup: false,
      bundle: "/b",
      environment: ["A=b"],
    });
  });

  test("what was given is taken", () => {
    expect(toRuntimeOptions(options, place)).toMatchObject({
      command: "crun",
      root: "/run/mine/k8s.io",
      systemdCgroup: true,
    });
  });
});

describe("saveExitRecord()", () => {
  const record: ExitRecord = {
    pid: 42,
    exitStatus: 137,
    signal: 9,
    exitedAt: new Date("2026-01-02T03:04:05.678Z"),
    oomKilled: true,
  };

  test("is undone by loadExitRecord(), the last one counts, and nothing else is left", () => {
    const bundle = makeDirectory();
    saveExitRecord(bundle, { ...record, exitStatus: 0, signal: 0 });
    saveExitRecord(bundle, record);
    expect(loadExitRecord(bundle)).toEqual(record);
    expect(readdirSync(bundle)).toEqual(["exit.json"]);
  });

  test("finds its place on a full disk, behind the pid that others read", () => {
    const bundle = makeDirectory();
    const mounted = Bun.spawnSync(["mount", "-t", "tmpfs", "-o", "size=16k", "none", bundle]);
    expect(mounted.success).toBe(true);
    using _mount = { [Symbol.dispose]: () => Bun.spawnSync(["umount", "-l", bundle]) };
    writeFileSync(join(bundle, "init.pid"), "42");
    expect(() => writeFileSync(join(bundle, "filler"), "x".repeat(65536))).toThrow("ENOSPC");
    saveExitRecord(bundle, record);
    expect(loadExitRecord(bundle)).toEqual(record);
    expect(Number.parseInt(readFileSync(join(bundle, "init.pid"), "utf8"), 10)).toBe(42);
    expect(readdirSync(bundle).sort()).toEqual(["filler", "init.pid"]);
  });

  test("needs no descriptor, and may be done again", async () => {
    const bundle = makeDirectory();
    await withoutDescriptors(async () => {
      saveExitRecord(bundle, { ...record, exitStatus: 0 });
      saveExitRecord(bundle, record);
    });
    expect(loadExitRecord(bundle)).toEqual(record);
    expect(readdirSync(bundle)).toEqual(["exit.json"]);
    saveExitRecord(bundle, { ...record, exitStatus: 0 });
    expect(loadExitRecord(bundle)?.exitStatus).toBe(0);
  });

  test("a bundle that is gone is ENOENT", () => {
    expect(() => saveExitRecord(join(root, "gone"), record)).toThrow("ENOENT");
  });

  const whole = {
    version: 1,
    pid: 1,
    exitStatus: 0,
    signal: 0,
    exitedAt: "2026-01-02T03:04:05.678Z",
  };
  test.each([
    ["", "empty"],
    ["{", "cut short"],
    ["[]", "no object"],
    [JSON.stringify({ ...whole, version: 2 }), "of another version"],
    [JSON.stringify({ ...whole, exitedAt: "yesterday" }), "without a time"],
    [JSON.stringify({ ...whole, pid: "1" }), "without a pid"],
  ])("%s is as good as none, being %s", (text) => {
    const bundle = makeDirectory();
    writeFileSync(join(bundle, "exit.json"), text);
    expect(loadExitRecord(bundle)).toBeUndefined();
  });

  test("a record without a word of memory was not killed for it", () => {
    const bundle = makeDirectory();
    writeFileSync(join(bundle, "exit.json"), JSON.stringify(whole));
    expect(loadExitRecord(bundle)?.oomKilled).toBe(false);
  });
});

describe("writeFileAtomically()", () => {
  test("what it cannot replace is left as it was, and nothing beside it", () => {
    const directory = makeDirectory();
    const taken = join(directory, "taken");
    writeFileAtomically(join(directory, "file"), "text", 0o644);
    Bun.spawnSync(["mkdir", "-p", join(taken, "inside")]);
    expect(() => writeFileAtomically(taken, "text", 0o644)).toThrow();
    expect(readdirSync(directory).sort()).toEqual(["file", "taken"]);
  });
});

describe("a link in the place of a file that is written", () => {
  test("is replaced, and so is one at the temporary name", () => {
    const bundle = makeDirectory();
    const target = join(bundle, "target");
    writeFileSync(target, "precious");
    for (const name of ["options.json", `.options.json.${process.pid}`, "runtime"]) {
      symlinkSync(target, join(bundle, name));
    }
    saveOptions(bundle, options);
    expect(loadOptions(bundle)).toEqual(options);
    expect(readFileSync(target, "utf8")).toBe("precious");
    expect(readdirSync(bundle).sort()).toEqual(["options.json", "runtime", "target"]);
  });
});

describe("saveDeletion()", () => {
  const answer = Buffer.from([8, 7]);

  test("leaves the answer until it is forgotten", () => {
    const bundle = makeDirectory();
    saveDeletion(bundle, answer);
    expect(readFileSync(join(bundle, DELETION_FILE))).toEqual(answer);
    forgetDeletion(bundle);
    expect(readdirSync(bundle)).toEqual([]);
  });

  test.each<[what: string, spoil: (bundle: string) => void]>([
    ["a bundle that is gone", (bundle) => rmSync(bundle, { recursive: true })],
    ["something else in its place", (bundle) => mkdirSync(join(bundle, DELETION_FILE))],
  ])("%s is no failure", (_, spoil) => {
    const bundle = makeDirectory();
    spoil(bundle);
    saveDeletion(bundle, answer);
  });
});
