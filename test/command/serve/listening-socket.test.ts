import { describe, expect, test } from "bun:test";
import { join } from "node:path";
import { claimListener } from "../../../src/linux/listener.ts";
import { Place, runShim } from "../shim-process.ts";

const TIMEOUT_MS = 30_000;

describe("a daemon that is started by hand refuses in one line", () => {
  test(
    "to serve a descriptor 3 that is not a socket",
    async () => {
      await using place = new Place();
      const flags = ["-namespace", place.namespace, "-id", "a"];
      const run = await runShim(flags, { cwd: place.bundle("a") });
      expect(run.exitCode).toBe(1);
      expect(run.stderr).toMatch(
        /^containerd-shim-wedge-v2: Cannot serve: neither -socket is given nor is descriptor 3 a socket \(.+\); to make a shim, use start\n$/,
      );
    },
    TIMEOUT_MS,
  );

  test(
    "to listen where another process does",
    async () => {
      await using place = new Place();
      const socket = join(place.path, "socket");
      const listener = claimListener(socket);
      if (listener === "taken") throw new Error("Nobody else can listen there");
      using _listener = listener;
      const flags = ["-namespace", place.namespace, "-id", "a", "-socket", socket];
      const run = await runShim(flags, { cwd: place.bundle("a") });
      expect(run).toMatchObject({
        exitCode: 1,
        stderr: `containerd-shim-wedge-v2: Cannot listen on ${socket}: another process does; end that one, or give another path with -socket\n`,
      });
    },
    TIMEOUT_MS,
  );
});
