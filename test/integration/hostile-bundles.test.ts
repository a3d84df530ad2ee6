/** Ids and bundles that nobody in their right mind would send, against the compiled shim over real runc. */

import { afterAll, describe, expect, test } from "bun:test";
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { ShimError } from "../../src/base/error.ts";
import { readOr, until } from "../command/shim-process.ts";
import { ShimPlace } from "./shim-place.ts";

const ID_LENGTH_MAX = 200;
/** All that a shim or its runtime writes into a bundle. */
const WRITTEN = [
  "address",
  "options.json",
  "runtime",
  "init.pid",
  "exit.json",
  "events.journal",
  "log.json",
] as const;
const ODD_IDS = [
  ...["x".repeat(ID_LENGTH_MAX + 1), "", ".", "..", "../c0", "a/b", "-flag", "a b", "a\nb"],
  ...["a\0b", "\u00e9", "\u202e", "a;b", "$(a)"],
];
const PRECIOUS = "precious";

const place = new ShimPlace();
afterAll(async () => await place[Symbol.asyncDispose]());

/** A whole life; returns the exit status. The manager is away, so that there is a journal to write. */
async function live({ id, task, created }: Awaited<ReturnType<ShimPlace["create"]>>) {
  const process = { id, execId: "" };
  await created;
  await task.start(process);
  const { exitStatus } = await task.wait(process);
  return { process, exitStatus };
}

describe("an id", () => {
  test(`of ${ID_LENGTH_MAX} characters lives and goes like any other`, async () => {
    const script = "until [ -e /go ]; do sleep 0.02; done; exit 3";
    const shim = await place.create(script, {}, { id: "i".repeat(ID_LENGTH_MAX) });
    await shim.created;
    await shim.task.start({ id: shim.id, execId: "" });
    const exec = { id: shim.id, execId: "e".repeat(ID_LENGTH_MAX) };
    const noStreams = { terminal: false, stdin: "", stdout: "", stderr: "" };
    const spec = { typeUrl: "", value: Buffer.from('{"args":["/bin/touch","/go"],"cwd":"/"}') };
    await shim.task.exec({ ...exec, ...noStreams, spec });
    await shim.task.start(exec);
    expect((await shim.task.wait(exec)).exitStatus).toBe(0);
    await shim.task.delete(exec);
    const process = { id: shim.id, execId: "" };
    expect((await shim.task.wait(process)).exitStatus).toBe(3);
    expect((await shim.task.delete(process)).exitStatus).toBe(3);
    await shim.task.shutdown({ id: shim.id, now: false });
    shim.client.close();
  });

  test("that is not a plain name is refused for a container and an exec, in words, with nothing left", async () => {
    const shim = await place.create("sleep 1000");
    await shim.created;
    const before = readdirSync(place.path).sort();
    const noStreams = { terminal: false, stdin: "", stdout: "", stderr: "" };
    const spec = { typeUrl: "", value: Buffer.from('{"args":["/bin/true"],"cwd":"/"}') };
    const none = { rootfs: [], checkpoint: "", parentCheckpoint: "", options: undefined };
    const bundle = shim.bundle.path;
    for (const odd of ODD_IDS) {
      const answers = await Promise.allSettled([
        shim.task.exec({ id: shim.id, execId: odd, ...noStreams, spec }),
        shim.task.create({ id: odd, bundle, ...none, ...noStreams }),
      ]);
      const reasons = answers.map((answer) =>
        answer.status === "rejected" && answer.reason instanceof ShimError
          ? answer.reason.reason
          : "taken",
      );
      expect({ odd, reasons }).toEqual({ odd, reasons: ["invalidArgument", "invalidArgument"] });
    }
    expect(readdirSync(place.path).sort()).toEqual(before);
    await shim.task.kill({ id: shim.id, execId: "", signal: 9, all: false });
    await shim.task.wait({ id: shim.id, execId: "" });
    await shim.task.delete({ id: shim.id, execId: "" });
    await shim.task.shutdown({ id: shim.id, now: false });
    shim.client.close();
  });
});

describe("a bundle", () => {
  test.each(["/..", "/../x", "/./", "//"])("whose path has %p in it is refused", async (part) => {
    const spoil = (path: string) => `${path}${part}`;
    const shim = await place.create("true", {}, { spoil });
    await expect(shim.created).rejects.toMatchObject({ reason: "invalidArgument" });
    await shim.task.shutdown({ id: shim.id, now: true });
    shim.client.close();
  });

  test("that is reached over a link serves as the directory does", async () => {
    const spoil = (path: string) => {
      renameSync(path, `${path}-real`);
      symlinkSync(`${path}-real`, path);
      return path;
    };
    const shim = await place.create("exit 4", {}, { spoil });
    const { process, exitStatus } = await live(shim);
    expect(exitStatus).toBe(4);
    expect(readOr(join(`${shim.bundle.path}-real`, "exit.json"), "")).toContain('"exitStatus":4');
    await shim.task.delete(process);
    await shim.task.shutdown({ id: shim.id, now: false });
    shim.client.close();
  });

  test("with links in the place of every file that is written there loses none of what they name", async () => {
    const targets = join(place.path, "targets");
    mkdirSync(targets);
    const spoil = (path: string) => {
      for (const name of WRITTEN) {
        writeFileSync(join(targets, name), PRECIOUS);
        symlinkSync(join(targets, name), join(path, name));
      }
      return path;
    };
    const shim = await place.create("exit 5", {}, { spoil });
    const { process, exitStatus } = await live(shim);
    expect(exitStatus).toBe(5);
    const bundle = shim.bundle.path;
    await until(() => readOr(join(bundle, "exit.json"), "").includes('"exitStatus":5'));
    await shim.task.delete(process);
    await shim.task.shutdown({ id: shim.id, now: false });
    shim.client.close();
    for (const name of WRITTEN) {
      expect({ name, text: readFileSync(join(targets, name), "utf8") }).toEqual({
        name,
        text: PRECIOUS,
      });
    }
    expect(existsSync(join(bundle, "rootfs/bin"))).toBe(true);
  });
});
