/** A task whose bundle somebody has removed while it ran, over real runc. */

import { expect, test } from "bun:test";
import { existsSync, rmSync } from "node:fs";
import { join } from "node:path";
import { callOf, ServicePlace } from "./kit.ts";

test.each(["running", "paused"])(
  "a %s task without a bundle is ended and deleted",
  async (kind) => {
    await using place = new ServicePlace();
    const { id, path } = await place.running();
    if (kind === "paused") await place.service.pause({ id });
    rmSync(path, { recursive: true });
    const ended = place.service.wait({ id, execId: "" }, callOf());
    await place.service.kill({ id, execId: "", signal: 9, all: true });
    expect((await ended).exitStatus).toBe(137);
    const deleted = await place.service.delete({ id, execId: "" }, callOf());
    expect(deleted.exitStatus).toBe(137);
    expect(place.topics.slice(-2)).toEqual(["/tasks/exit", "/tasks/delete"]);
    expect(place.service.size).toBe(0);
    expect(existsSync(join(place.directory, "root", id))).toBe(false);
    expect(existsSync(path)).toBe(false);
  },
);
