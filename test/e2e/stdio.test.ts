/** Bytes: every one arrives, in both directions. */

import { expect, test } from "bun:test";
import { createHash } from "node:crypto";
import { chmodSync, readFileSync, writeFileSync } from "node:fs";
import { USER_IMAGE } from "./containerd.ts";
import { LONG_LIMIT_MS, matrix } from "./matrix.ts";
import { poll } from "./poll.ts";

const MEGABYTE = 1 << 20;

matrix("stdio", {}, (scene) => {
  test(
    "100 MB of stdin come back through cat unchanged",
    async () => {
      const input = scene.daemon.outside("input");
      const block = Buffer.alloc(MEGABYTE);
      const sent = createHash("sha256");
      writeFileSync(input, "");
      for (let index = 0; index < 100; index++) {
        crypto.getRandomValues(new Uint8Array(block.buffer, block.byteOffset, 65536));
        block.writeUInt32LE(index, 0);
        sent.update(block);
        writeFileSync(input, block, { flag: "a" });
      }
      const received = createHash("sha256");
      let count = 0;
      const client = scene.daemon.open(scene.run(scene.id(), ["cat"], { flags: ["--rm"] }), {
        stdin: Bun.file(input),
        onStdout: (chunk) => {
          received.update(chunk);
          count += chunk.length;
        },
        limitMs: LONG_LIMIT_MS,
      });
      expect((await client.finish()).code).toBe(0);
      expect(count).toBe(100 * MEGABYTE);
      expect(received.digest("hex")).toBe(sent.digest("hex"));
    },
    LONG_LIMIT_MS,
  );

  test(
    "1 GB of stdout arrives whole, and stderr beside it",
    async () => {
      const received = createHash("sha256");
      let count = 0;
      const script = "dd if=/dev/zero bs=1M count=1024; echo end >&2";
      const client = scene.daemon.open(
        scene.run(scene.id(), ["sh", "-c", script], { flags: ["--rm"] }),
        {
          onStdout: (chunk) => {
            received.update(chunk);
            count += chunk.length;
          },
          limitMs: LONG_LIMIT_MS,
        },
      );
      const { code, stderr } = await client.finish();
      expect({ code, count }).toEqual({ code: 0, count: 1024 * MEGABYTE });
      expect(stderr).toContain("1024+0 records out");
      expect(stderr).toEndWith("end\n");
      const expected = createHash("sha256");
      for (let index = 0; index < 1024; index++) expected.update(Buffer.alloc(MEGABYTE));
      expect(received.digest("hex")).toBe(expected.digest("hex"));
    },
    LONG_LIMIT_MS,
  );

  test("another user's process can open its streams by name", async () => {
    const script = "id -u; echo out >/dev/stdout; echo err >/dev/stderr";
    const args = scene.run(scene.id(), ["sh", "-c", script], {
      flags: ["--rm"],
      image: USER_IMAGE,
    });
    const { code, stdout, stderr } = await scene.daemon.call(args);
    expect({ code, stdout, stderr }).toEqual({ code: 0, stdout: "1000\nout\n", stderr: "err\n" });
  });

  test("input reaches a process that opens it by name, and ends when the client ends it", async () => {
    const args = scene.run(scene.id(), ["cat", "/dev/stdin"], {
      flags: ["--rm"],
      image: USER_IMAGE,
    });
    const client = scene.daemon.open(args, { stdin: "pipe" });
    await client.write("in\n");
    await client.waitFor(/in\n/);
    await client.end();
    expect(await client.finish()).toMatchObject({ code: 0, stdout: "in\n" });
  });

  test("what init leaves in the background keeps no client waiting longer than it lives", async () => {
    const args = scene.run(scene.id(), ["sh", "-c", "(sleep 1; echo late) & exit 0"], {
      flags: ["--rm"],
    });
    expect((await scene.daemon.call(args)).code).toBe(0);
  });

  test("a log file takes both streams", async () => {
    const path = scene.daemon.inside(`log-${scene.kind}`);
    const id = await scene.start(["sh", "-c", "echo out; echo err >&2"], {
      flags: ["--log-uri", `file://${path}`],
    });
    await scene.daemon.waitForStatus(id, "STOPPED");
    await scene.remove(id);
    // The stock shim may end with one of them unread.
    if (scene.kind === "runc") return;
    expect(readFileSync(scene.daemon.sandbox.path(path), "utf8").split("\n").sort()).toEqual([
      "",
      "err",
      "out",
    ]);
  });
});

// The stock shim kills a logger that still writes.
matrix("stdio", { runtimes: ["wedge"] }, (scene) => {
  test("a logger of the user's gets both streams and its arguments", async () => {
    const script = scene.daemon.inside(`logger-${scene.kind}`);
    const result = scene.daemon.inside(`logged-${scene.kind}`);
    writeFileSync(
      scene.daemon.sandbox.path(script),
      `#!/bin/sh\nexec 5>&-\n(echo "$@ $CONTAINER_ID"; cat <&3; cat <&4) > ${result}.part; mv ${result}.part ${result}\n`,
    );
    chmodSync(scene.daemon.sandbox.path(script), 0o755);
    const id = await scene.start(["sh", "-c", "echo out; echo err >&2"], {
      flags: ["--log-uri", `binary://${script}?k=v`],
    });
    await scene.daemon.waitForStatus(id, "STOPPED");
    await scene.remove(id);
    const written = () => {
      try {
        return readFileSync(scene.daemon.sandbox.path(result), "utf8");
      } catch {
        return "";
      }
    };
    await poll("the logger has ended", () => written() !== "");
    expect(written()).toBe(`k v ${id}\nout\nerr\n`);
  });
});
