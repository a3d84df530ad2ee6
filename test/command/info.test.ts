import { describe, expect, test } from "bun:test";
import { chmodSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { RuntimeInfo } from "../../src/gen/containerd/types/introspection.ts";
import { Options } from "../../src/gen/containerd/types/runc/options/oci.ts";
import { Any } from "../../src/gen/google/protobuf/any.ts";
import { Place, runShim } from "./shim-process.ts";

const TIMEOUT_MS = 30_000;

/** Options that name a runtime, as containerd sends them. */
function optionsFor(binaryName: string): Uint8Array {
  const value = Options.encode({ ...Options.decode(new Uint8Array(0)), binaryName }).finish();
  return Any.encode({ typeUrl: "containerd.runc.v1.Options", value }).finish();
}

describe("-info", () => {
  test(
    "without options it tells of runc",
    async () => {
      const { stdout, stderr, exitCode } = await runShim(["-info"], { cwd: "/" });
      expect({ stderr, exitCode }).toEqual({ stderr: "", exitCode: 0 });
      const info = RuntimeInfo.decode(stdout);
      expect(info).toMatchObject({ name: "io.containerd.wedge.v2", options: undefined });
      expect(info.version?.version).not.toBe("");
      expect(info.features?.typeUrl).toBe(
        "types.containerd.io/opencontainers/runtime-spec/1/features/Features",
      );
      const features: unknown = JSON.parse(Buffer.from(info.features?.value ?? "").toString());
      expect(features).toMatchObject({ ociVersionMin: "1.0.0" });
    },
    TIMEOUT_MS,
  );

  test(
    "with options it asks the runtime that they name, and gives them back",
    async () => {
      await using place = new Place();
      const runtime = join(place.path, "runtime");
      writeFileSync(runtime, `#!/bin/sh\n[ "$1" = features ] && echo '{"mine":true}'\n`);
      chmodSync(runtime, 0o755);
      const stdin = optionsFor(runtime);
      const { stdout, exitCode } = await runShim(["-info"], { cwd: "/", stdin });
      expect(exitCode).toBe(0);
      const { options, features } = RuntimeInfo.decode(stdout);
      expect(
        Buffer.from(features?.value ?? "")
          .toString()
          .trim(),
      ).toBe('{"mine":true}');
      expect(options).toEqual(Any.decode(stdin));
    },
    TIMEOUT_MS,
  );

  test.each([
    ["knows no features", "/bin/false"],
    ["prints no JSON", "/bin/echo"],
  ])(
    "a runtime that %s has none",
    async (_name, binary) => {
      const { stdout, stderr, exitCode } = await runShim(["-info"], {
        cwd: "/",
        stdin: optionsFor(binary),
      });
      expect({ stderr, exitCode }).toEqual({ stderr: "", exitCode: 0 });
      expect(RuntimeInfo.decode(stdout).features).toBeUndefined();
    },
    TIMEOUT_MS,
  );

  test(
    "a runtime that hangs has the time that WEDGE_DEADLINES gives it",
    async () => {
      await using place = new Place();
      const runtime = join(place.path, "runtime");
      writeFileSync(runtime, "#!/bin/sh\nexec sleep 1000\n", { mode: 0o755 });
      const env = { WEDGE_DEADLINES: "features=100ms" };
      const startedAtMs = performance.now();
      const run = await runShim(["-info"], { cwd: "/", stdin: optionsFor(runtime), env });
      expect(RuntimeInfo.decode(run.stdout).features).toBeUndefined();
      expect(performance.now() - startedAtMs).toBeLessThan(5000);
    },
    TIMEOUT_MS,
  );

  test(
    "a runtime that is not there is an error",
    async () => {
      const stdin = optionsFor("/no/such/runtime");
      const { stdout, stderr, exitCode } = await runShim(["-info"], { cwd: "/", stdin });
      expect({ stdout: stdout.length, exitCode }).toEqual({ stdout: 0, exitCode: 1 });
      expect(stderr).toContain('exec: "/no/such/runtime": stat /no/such/runtime: no such file');
    },
    TIMEOUT_MS,
  );

  test(
    "garbage is refused in one line",
    async () => {
      const run = await runShim(["-info"], { cwd: "/", stdin: Uint8Array.of(0xff, 0xff) });
      expect(run.exitCode).toBe(1);
      expect(run.stdout).toHaveLength(0);
      expect(run.stderr).toStartWith(
        "containerd-shim-wedge-v2: Cannot decode the runtime options on stdin: ",
      );
    },
    TIMEOUT_MS,
  );
});

describe("-v", () => {
  test.each(["-v", "--version"])(
    "%s prints the version for people",
    async (flag) => {
      const { stdout, stderr, exitCode } = await runShim([flag], { cwd: "/" });
      expect({ stderr, exitCode }).toEqual({ stderr: "", exitCode: 0 });
      expect(stdout.toString()).toMatch(
        /^containerd-shim-wedge-v2:\n {2}Version: +\S+\n {2}Revision: \S+\n/,
      );
    },
    TIMEOUT_MS,
  );
});
