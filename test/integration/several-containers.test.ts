/** Containers that share a shim. */

import { beforeAll, expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { buildExecutable } from "../compiled.ts";
import { LiveShim } from "./live-shim.ts";

const TIMEOUT_MS = 60_000;

beforeAll(buildExecutable, TIMEOUT_MS);

test(
  "where the shim listens is in each one's bundle until its Delete, after which there is only an answer",
  async () => {
    await using shim = await LiveShim.start();
    using one = shim.bundle({ args: ["true"] });
    using other = shim.bundle({ args: ["true"] });
    const left = () =>
      [one, other].map(({ path }) =>
        ["address", "deleted"].filter((file) => existsSync(join(path, file))),
      );
    for (const { id } of [one, other]) {
      await shim.create(id === one.id ? one : other);
      await shim.task.start({ id, execId: "" });
      await shim.task.wait({ id, execId: "" });
    }
    expect(left()).toEqual([["address"], ["address"]]);
    await shim.task.delete({ id: one.id, execId: "" });
    expect(left()).toEqual([["deleted"], ["address"]]);
    await shim.task.delete({ id: other.id, execId: "" });
    expect(left()).toEqual([["deleted"], ["deleted"]]);
  },
  TIMEOUT_MS,
);
